"""The record cache: answers in memory and in the store, with their age and TTL."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cachetools import TTLCache

from allenfs.model.records import row_count
from allenfs.store.record_files import Kept, Key
from allenfs.text import in_one_line, safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.queries import Question
    from allenfs.config import ServiceSettings
    from allenfs.store.record_files import RecordFiles

log = safe_logger(__name__)

_Record = TypeVar("_Record")

# Estimated sizes: a data set of 2600 images takes 4 MB, most take 100 kB, the longest
# lists 8 MB. Evicted answers remain in the store.
_REMEMBERED_BYTES = 64 * 2**20
_REMEMBERED_WARNINGS = 4096
# A list that never has as many rows as the service announces.
_SHORT_LIST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Held(Generic[_Record]):
    """A record, and when it was fetched (nanoseconds since the epoch).

    Attributes
    ----------
    is_suspect : bool
        Whether rows seem to be missing, so that names not in it may exist.
    """

    record: _Record
    fetched_ns: int
    good_until_s: float = 0.0
    weight_bytes: int = 0
    is_suspect: bool = False


class RecordCache:
    """Records by question. Safe to use from many threads.

    Parameters
    ----------
    files : RecordFiles
        Storage that outlives the process.
    settings : ServiceSettings
        Times to live of records and of absences.
    clock, clock_ns : callable
        Monotonic seconds; nanoseconds since the epoch.
    """

    def __init__(
        self,
        files: RecordFiles,
        settings: ServiceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._files = files
        self._settings = settings
        self._clock = clock
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        # expired records stay, for use while the service is unreachable
        self._memory: TTLCache[Key, Held[Any], float] = TTLCache(
            _REMEMBERED_BYTES,
            math.inf,
            timer=clock,
            getsizeof=lambda held: held.weight_bytes,
        )
        self._warned: TTLCache[Key, None, float] = TTLCache(
            _REMEMBERED_WARNINGS, math.inf, timer=clock
        )

    def fresh(self, question: Question[_Record]) -> Held[_Record] | None:
        """Return a record that is in memory and not expired."""
        held = self._remembered(question)
        return held if held is not None and self.is_fresh(held) else None

    def any(self, question: Question[_Record]) -> Held[_Record] | None:
        """Return a record of any age from memory or the store."""
        held = self._remembered(question)
        if held is not None:
            return held
        kept = self._files.get(question.key)
        if kept is None:
            return None
        try:
            weight_bytes = _weight_bytes(kept.answer)
            record = question.read(kept.answer)
            held = Held(record, kept.fetched_ns, 0, weight_bytes, kept.is_suspect)
        except Exception:  # noqa: BLE001 - whatever another version has written
            log.warning(
                "%s: unreadable in the store, requesting it again", shown(question.key)
            )
            self._files.remove(question.key)
            return None
        age_s = (self._clock_ns() - kept.fetched_ns) / 1e9
        # if the clock was set back, the answer counts as old
        left_s = self._ttl_s(held) - age_s if age_s >= 0 else 0
        return self.hold(question, held, left_s)

    def is_fresh(self, held: Held[Any]) -> bool:
        """Return whether a record has not expired."""
        return self._clock() < held.good_until_s

    def keep(
        self, question: Question[_Record], answer: Any, *, cut: str = ""
    ) -> Held[_Record]:
        """Keep a new answer; an absence only for a short time.

        A suspect answer (an empty list, or one that is `cut`) is also kept for a short
        time, and does not replace an older one with more rows, which is returned. If
        it equals the older one it is kept for an hour: some lists never have as many
        rows as the service announces. The absence of a known record must come twice.

        Parameters
        ----------
        cut : str
            How many rows are missing, in words.
        """
        record, weight_bytes = question.read(answer), _weight_bytes(answer)
        held = Held(record, self._clock_ns(), 0, weight_bytes)
        older, good_s = None, self._settings.catalog_ttl_s
        rows = row_count(record)
        if cut or not rows:
            older = self.any(question)
            good_s = self._settings.not_found_memory_s
        if older is not None and self._is_doubtful(question.key, record, rows, older):
            said = f"the older answer with {row_count(older.record)} stays in use"
            self._warn(question.key, cut or "no rows", said)
            return self.hold(question, older, good_s)
        if cut or (record is not None and not rows):
            held = replace(held, is_suspect=True)
            if rows and older is not None and record == older.record:
                good_s = min(_SHORT_LIST_S, self._settings.catalog_ttl_s)
            elif cut or question.expects_rows:
                said = "it is requested again soon"
                self._warn(question.key, cut or "no rows", said)
        else:
            with self._lock:
                self._warned.pop(question.key, None)
        if record:
            kept = Kept(answer, held.fetched_ns, held.is_suspect)
            self._files.put(question.key, kept)
        else:
            self._files.remove(question.key)
        return self.hold(question, held, good_s)

    def hold(
        self, question: Question[_Record], held: Held[_Record], good_s: float
    ) -> Held[_Record]:
        """Keep a record in memory, and treat it as fresh for `good_s`."""
        held = replace(held, good_until_s=self._clock() + good_s)
        with self._lock:
            self._memory[question.key] = held
        return held

    def names(self, kind: str) -> list[str]:
        """Return the names of the questions of a kind that have a cached answer."""
        with self._lock:
            in_memory = [(key, self._memory.get(key)) for key in list(self._memory)]
        names = set(self._files.names(kind))
        names.update(
            key[1] for key, held in in_memory if key[0] == kind and held and held.record
        )
        return sorted(names)

    def _is_doubtful(self, key: Key, record: Any, rows: int, older: Held[Any]) -> bool:
        """Whether a suspect answer is not to replace an older one."""
        if rows >= row_count(older.record):
            return False
        with self._lock:
            return record is not None or key not in self._warned

    def _ttl_s(self, held: Held[Any]) -> float:
        if held.record and not held.is_suspect:
            return self._settings.catalog_ttl_s
        return self._settings.not_found_memory_s

    def _warn(self, key: Key, has: str, what: str) -> None:
        """Warn once about a suspect answer, until a good one arrives."""
        with self._lock:
            is_known, self._warned[key] = key in self._warned, None
        level = logging.INFO if is_known else logging.WARNING
        log.log(level, "%s: the service's answer has %s; %s", shown(key), has, what)

    def _remembered(self, question: Question[_Record]) -> Held[_Record] | None:
        with self._lock:
            held: Held[_Record] | None = self._memory.get(question.key)
        if held is None or held.record or self.is_fresh(held):
            return held
        return None  # an expired absence is not an answer


def _weight_bytes(answer: Any) -> int:
    """Return an upper bound of an answer's memory, for its text and its values."""
    text = json.dumps(answer)
    values = sum(map(text.count, ",[{"))
    return min(_REMEMBERED_BYTES, 1000 + 4 * len(text) + 100 * values)


def shown(key: Key) -> str:
    """Return a key for the log, escaped, because its name is untrusted."""
    return in_one_line("/".join(key), 300)
