"""Answers that are here: in memory, else on the shelf; how old, and good until when."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from cachetools import TTLCache

from allenfs import safe_log
from allenfs.labels import in_one_line
from allenfs.shelf import Kept, Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.config import ServiceSettings
    from allenfs.questions import Question

log = safe_log.logger(__name__)

_Record = TypeVar("_Record")

# By their weight: a data set of 2600 images weighs 4 MB, most weigh 100 kB, the
# longest lists 8 MB. What goes is still on the shelf.
_REMEMBERED_BYTES = 64 * 2**20


class Shelf(Protocol):
    """Where answers are kept."""

    def get(self, key: Key) -> Kept | None:
        """Return an answer, however old."""

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer."""

    def remove(self, key: Key) -> None:
        """Forget an answer."""

    def names(self, kind: str) -> list[str]:
        """Names of the answers of one kind."""


@dataclass(frozen=True, slots=True)
class Held(Generic[_Record]):
    """A record, and when it was fetched (nanoseconds since the epoch)."""

    record: _Record
    fetched_ns: int
    good_until_s: float = 0.0
    weight_bytes: int = 0


class Stock:
    """Records by question. Safe to use from many threads.

    Parameters
    ----------
    shelf
        What outlives the process.
    settings : ServiceSettings
        Times to live of what there is, and of what there is not.
    clock, clock_ns : callable
        Monotonic seconds; nanoseconds since the epoch.
    """

    def __init__(
        self,
        shelf: Shelf,
        settings: ServiceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._shelf = shelf
        self._settings = settings
        self._clock = clock
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        # old records stay: they are better than none
        self._memory: TTLCache[Key, Held[Any], float] = TTLCache(
            _REMEMBERED_BYTES,
            math.inf,
            timer=clock,
            getsizeof=lambda held: held.weight_bytes,
        )

    def fresh(self, question: Question[_Record]) -> Held[_Record] | None:
        """Return a record that is in memory and not too old."""
        held = self._remembered(question)
        return held if held is not None and self.is_fresh(held) else None

    def any(self, question: Question[_Record]) -> Held[_Record] | None:
        """Return a record that is in memory or on the shelf, however old."""
        held = self._remembered(question)
        if held is not None:
            return held
        kept = self._shelf.get(question.key)
        if kept is None:
            return None
        try:
            weight_bytes = _weight_bytes(kept.answer)
            held = Held(question.read(kept.answer), kept.fetched_ns, 0, weight_bytes)
        except Exception:  # noqa: BLE001 - whatever another version has written
            log.warning("%s: not readable, asked again", shown(question.key))
            self._shelf.remove(question.key)
            return None
        age_s = (self._clock_ns() - kept.fetched_ns) / 1e9
        # a clock that was put back makes an answer old, not new
        left_s = self._settings.catalog_ttl_s - age_s if age_s >= 0 else 0
        return self.hold(question, held, left_s)

    def is_fresh(self, held: Held[Any]) -> bool:
        """Say whether a record is not too old."""
        return self._clock() < held.good_until_s

    def keep(self, question: Question[_Record], answer: Any) -> Held[_Record]:
        """Keep a new answer; that there is no such thing, for a short while."""
        record, weight_bytes = question.read(answer), _weight_bytes(answer)
        held = Held(record, self._clock_ns(), 0, weight_bytes)
        if held.record:
            self._shelf.put(question.key, Kept(answer, held.fetched_ns))
            return self.hold(question, held, self._settings.catalog_ttl_s)
        self._shelf.remove(question.key)
        return self.hold(question, held, self._settings.not_found_memory_s)

    def hold(
        self, question: Question[_Record], held: Held[_Record], good_s: float
    ) -> Held[_Record]:
        """Keep a record in memory, and take it for fresh for `good_s`."""
        held = replace(held, good_until_s=self._clock() + good_s)
        with self._lock:
            self._memory[question.key] = held
        return held

    def names(self, kind: str) -> list[str]:
        """Return the names of the questions of a kind that have an answer here."""
        with self._lock:
            in_memory = [(key, self._memory.get(key)) for key in list(self._memory)]
        names = set(self._shelf.names(kind))
        names.update(
            key[1] for key, held in in_memory if key[0] == kind and held and held.record
        )
        return sorted(names)

    def _remembered(self, question: Question[_Record]) -> Held[_Record] | None:
        with self._lock:
            held: Held[_Record] | None = self._memory.get(question.key)
        if held is None or held.record or self.is_fresh(held):
            return held
        return None  # that there was nothing is no answer any more


def _weight_bytes(answer: Any) -> int:
    """Return how much memory an answer takes, at the most: as text, and its values."""
    text = json.dumps(answer)
    values = sum(map(text.count, ",[{"))
    return min(_REMEMBERED_BYTES, 1000 + 4 * len(text) + 100 * values)


def shown(key: Key) -> str:
    """Return a key for the log: its name is somebody's."""
    return in_one_line("/".join(key), 300)
