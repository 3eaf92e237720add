"""Answers of the catalog: asked once, kept for a while, older ones better than none."""

from __future__ import annotations

import copy
import functools
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from cachetools import TLRUCache, TTLCache

from allenfs.errors import (
    BusyError,
    PathNotFoundError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
)
from allenfs.shelf import Kept, Key
from allenfs.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol

    from allenfs.config import ServiceSettings
    from allenfs.questions import Question
    from allenfs.rma import Query, Row
    from allenfs.turns import Turns

    class Service(Protocol):
        """Where answers come from."""

        def page(
            self,
            query: Query,
            *,
            start_row: int,
            num_rows: int,
            turn: AbstractContextManager[object],
        ) -> list[Row | None]:
            """Return one page of rows in `turn`, or raise a ServiceError."""

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


log = logging.getLogger(__name__)

_Record = TypeVar("_Record")

# A data set of 2600 images takes about 1 MB as records; most take 30 kB.
_REMEMBERED = 256
_REMEMBERED_FAILURES = 4096


@dataclass(frozen=True, slots=True)
class Held(Generic[_Record]):
    """A record and when it was fetched (nanoseconds since the epoch)."""

    record: _Record
    fetched_ns: int
    good_until_s: float


def _good_until(_key: Key, held: Held[Any], _now_s: float) -> float:
    return held.good_until_s


class Archive:
    """Answers from memory, from the shelf, or from the service. Thread-safe.

    An answer older than the time to live is asked again, and used as it is while
    the service cannot be reached.

    Parameters
    ----------
    service, shelf
        What it stands on.
    settings : ServiceSettings
        Time to live; how long failures are remembered.
    clock, clock_ns : callable
        Monotonic seconds; nanoseconds since the epoch.
    """

    def __init__(
        self,
        service: Service,
        shelf: Shelf,
        settings: ServiceSettings,
        turns: Turns,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._shelf = shelf
        self._settings = settings
        self._clock = clock
        self._clock_ns = clock_ns
        self._page = functools.partial(service.page, turn=turns.for_query)
        self._flights: SingleFlight[Key, Held[Any]] = SingleFlight()
        self._lock = threading.Lock()
        self._memory: TLRUCache[Key, Held[Any], float] = TLRUCache(
            _REMEMBERED, _good_until, timer=clock
        )
        self._failures: TTLCache[Key, ServiceError, float] = TTLCache(
            _REMEMBERED_FAILURES, settings.failure_memory_s, timer=clock
        )
        self._out_of_reach_until_s = -1.0
        self._last_failure: str | None = None

    def get(
        self, question: Question[_Record], interrupted: Callable[[], bool]
    ) -> Held[_Record]:
        """Return the record that answers `question`; wait for the service.

        Raises
        ------
        ServiceError
            It could not be asked, now or a short while ago, and there is no
            older answer.
        InterruptedWaitError
            `interrupted` said so. The asking goes on.
        """
        held = self.held(question)
        if held is None:
            self._raise_remembered(question.key)
            held = self._flights.run(
                question.key, lambda: self._kept_or_asked(question), interrupted
            )
        return held

    def existing(
        self, question: Question[_Record | None], interrupted: Callable[[], bool]
    ) -> Held[_Record]:
        """Return a record that there must be; raises as `get` does.

        Raises
        ------
        PathNotFoundError
            The service says that there is none.
        """
        held = self.get(question, interrupted)
        if held.record is None:
            msg = f"the service has no {' '.join(question.key)}"
            raise PathNotFoundError(msg)
        return cast("Held[_Record]", held)

    def held(self, question: Question[_Record]) -> Held[_Record] | None:
        """Return a record that is in memory and not too old."""
        with self._lock:
            held = self._memory.get(question.key)
        return cast("Held[_Record] | None", held)

    def kept(self, question: Question[_Record]) -> Held[_Record] | None:
        """Return a record that is here, in memory or on the shelf, however old."""
        held = self.held(question)
        if held is None:
            kept = self._shelf.get(question.key)
            # what is too old is not held
            held = kept and self._hold(question, kept, self._left_s(kept))
        return held

    def known(self, kind: str) -> list[str]:
        """Return the names of the questions of a kind that have an answer here."""
        with self._lock:
            in_memory = [(key, self._memory.get(key)) for key in list(self._memory)]
        names = set(self._shelf.names(kind))
        names.update(
            key[1] for key, held in in_memory if key[0] == kind and held and held.record
        )
        return sorted(names)

    def last_failure(self) -> str | None:
        """Why the service could not be asked, the last time it was; else None."""
        return self._last_failure

    def is_out_of_reach(self) -> bool:
        """Whether the service could not be asked a moment ago."""
        return self._clock() < self._out_of_reach_until_s

    def set_out_of_reach(self) -> None:
        """Note that the service could not be asked just now."""
        self._out_of_reach_until_s = self._clock() + self._settings.failure_memory_s

    def _raise_remembered(self, key: Key) -> None:
        with self._lock:
            failure = self._failures.get(key)
        if failure is not None:
            # a copy: each raising adds to an exception's traceback
            raise copy.copy(failure)

    def _kept_or_asked(self, question: Question[_Record]) -> Held[_Record]:
        # What was answered between the caller's look and this one.
        held = self.held(question)
        if held is not None:
            return held
        kept = self._shelf.get(question.key)
        if kept is not None:
            left_s = self._left_s(kept)
            if left_s > 0:
                return self._hold(question, kept, left_s)
            if self.is_out_of_reach():
                return self._hold(question, kept, self._settings.failure_memory_s)
        try:
            answer = question.ask(self._page)
        except ServiceError as error:
            self._failed(question.key, error, is_kept=kept is not None)
            if kept is None:
                raise
            return self._hold(question, kept, self._settings.failure_memory_s)
        self._out_of_reach_until_s = -1.0
        self._last_failure = None
        fresh = Kept(answer, self._clock_ns())
        if question.read(answer):
            self._shelf.put(question.key, fresh)
            return self._hold(question, fresh, self._settings.catalog_ttl_s)
        self._shelf.remove(question.key)
        return self._hold(question, fresh, self._settings.not_found_memory_s)

    def _left_s(self, kept: Kept) -> float:
        age_s = (self._clock_ns() - kept.fetched_ns) / 1e9
        # a clock that was put back makes an answer old, not new
        return self._settings.catalog_ttl_s - age_s if age_s >= 0 else 0

    def _hold(
        self, question: Question[_Record], kept: Kept, good_s: float
    ) -> Held[_Record]:
        good_until_s = self._clock() + good_s
        held = Held(question.read(kept.answer), kept.fetched_ns, good_until_s)
        with self._lock:
            self._memory[question.key] = held
        return held

    def _failed(self, key: Key, error: ServiceError, *, is_kept: bool) -> None:
        instead = "; an older answer is used" if is_kept else ""
        log.warning("%s: %s%s", "/".join(key), error, instead)
        if isinstance(error, (UnreachableError, ServiceTimeoutError, BusyError)):
            self.set_out_of_reach()
        self._last_failure = f"{'/'.join(key)}: {error}"
        if not is_kept:
            with self._lock:
                # a copy: the traceback holds all that the asking used
                self._failures[key] = copy.copy(error)
