"""Fetch records: single flight, a time limit, and stale answers if a query fails."""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cachetools import TTLCache

from allenfs.catalog.record_cache import Held, RecordCache, shown
from allenfs.errors import (
    BusyError,
    InterruptedWaitError,
    PathNotFoundError,
    ProcessLimitError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
)
from allenfs.service.single_flight import Patience, SingleFlight
from allenfs.service.slots import Priority
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol

    from allenfs.catalog.queries import Question
    from allenfs.config import ServiceSettings
    from allenfs.service.rma import Query, Rows
    from allenfs.service.slots import Slots
    from allenfs.store.record_files import Key, RecordFiles

    class Service(Protocol):
        """The service that answers queries."""

        def page(
            self,
            query: Query,
            *,
            start_row: int,
            num_rows: int,
            slot: AbstractContextManager[object],
            once: bool,
        ) -> Rows:
            """Return one page of rows in `slot`, or raise a ServiceError."""


log = safe_logger(__name__)

_Record = TypeVar("_Record")

_REMEMBERED_FAILURES = 4096
# An older answer is available.
_PATIENCE_FOR_NEWS_S = 2.0


def _nobody(_what: str, _error: ServiceError) -> None:
    pass


class Repository:
    """Answers from memory, from the store, or from the service. Thread-safe.

    An answer older than its time to live is requested again, and remains in use while
    the service is unreachable.

    Parameters
    ----------
    service, files
        Source and storage of answers.
    settings : ServiceSettings
        Time to live; how long failures are remembered.
    told : callable
        Called with each failed query and its error.
    clock, clock_ns : callable
        Monotonic seconds; nanoseconds since the epoch.

    Attributes
    ----------
    cache : RecordCache
        The cached records.
    """

    def __init__(
        self,
        service: Service,
        files: RecordFiles,
        settings: ServiceSettings,
        slots: Slots,
        *,
        told: Callable[[str, ServiceError], None] = _nobody,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.cache = RecordCache(files, settings, clock=clock, clock_ns=clock_ns)
        self._settings = settings
        self._told = told
        self._clock = clock
        self._service = service
        self._slots = slots
        self._flights: SingleFlight[Key, Held[Any]] = SingleFlight()
        self._lock = threading.Lock()
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
            The query failed, now or a short while ago, and there is no older
            answer.
        InterruptedWaitError
            `interrupted` returned true. The query goes on.
        """
        held = self.cache.any(question)
        if held is None:
            self._raise_remembered(question.key)
            held = self._asked_in_time(question, question.patience_s, interrupted)
            if held is None:
                raise self._out_of_patience(question)
        elif not self.cache.is_fresh(held):
            held = self._news(question, interrupted) or self._extended(question, held)
        return held

    def existing(
        self, question: Question[_Record | None], interrupted: Callable[[], bool]
    ) -> Held[_Record]:
        """Return a record that must exist; raises as `get` does.

        Raises
        ------
        PathNotFoundError
            The service has no such record.
        """
        held = self.get(question, interrupted)
        if held.record is None:
            msg = f"the service has no {' '.join(question.key)}"
            raise PathNotFoundError(msg)
        return cast("Held[_Record]", held)

    def last_failure(self) -> str | None:
        """Why the last query failed; None if it succeeded."""
        return self._last_failure

    def is_out_of_reach(self) -> bool:
        """Whether the service was unreachable a moment ago."""
        return self._clock() < self._out_of_reach_until_s

    def set_out_of_reach(self) -> None:
        """Record that the service is unreachable."""
        self._out_of_reach_until_s = self._clock() + self._settings.failure_memory_s

    def _raise_remembered(self, key: Key) -> None:
        with self._lock:
            failure = self._failures.get(key)
        if failure is not None:
            # a copy: each raise extends an exception's traceback
            raise copy.copy(failure)

    def _asked_in_time(
        self,
        question: Question[_Record],
        patience_s: float,
        interrupted: Callable[[], bool],
    ) -> Held[_Record] | None:
        """Ask, or join the query in progress; None after the question's time limit."""
        patience = Patience(patience_s, self._clock)
        try:
            return self._flights.run(
                question.key,
                lambda: self._asked(question),
                lambda: interrupted() or patience.is_over(),
            )
        except InterruptedWaitError:
            if interrupted():
                raise
            self.set_out_of_reach()
            return None

    def _news(
        self, question: Question[_Record], interrupted: Callable[[], bool]
    ) -> Held[_Record] | None:
        """Refresh an expired answer; None if that fails."""
        if self.is_out_of_reach():
            return None
        try:
            return self._asked_in_time(question, _PATIENCE_FOR_NEWS_S, interrupted)
        except (ServiceError, ProcessLimitError):
            return None  # the stale answer is used

    def _extended(
        self, question: Question[_Record], held: Held[_Record]
    ) -> Held[_Record]:
        # prefer an answer that arrived in the meantime
        return self.cache.fresh(question) or self.cache.hold(
            question, held, self._settings.failure_memory_s
        )

    def _out_of_patience(self, question: Question[_Record]) -> ServiceError:
        error = ServiceTimeoutError("timed out; still fetching in the background")
        error.elapsed_s = question.patience_s
        with self._lock:
            self._failures[question.key] = error
        self._told(shown(question.key), error)
        return copy.copy(error)

    def _asked(self, question: Question[_Record]) -> Held[_Record]:
        # It may have been answered, or have failed, since the caller's check.
        held = self.cache.fresh(question)
        if held is not None:
            return held
        self._raise_remembered(question.key)
        pages = _Pages(self._page, self._settings.deadline_s, self._clock)
        try:
            answer = question.ask(pages)
        except ServiceError as error:
            # a copy: the traceback of the one raised below references the query
            failure = copy.copy(error)
        else:
            self._out_of_reach_until_s = -1.0
            self._last_failure = None
            return self.cache.keep(question, answer, cut=pages.cut)
        has_older = self.cache.any(question) is not None
        self._failed(question.key, failure, has_older=has_older)
        raise failure

    def _page(self, query: Query, start_row: int, num_rows: int) -> Rows:
        return self._service.page(
            query,
            start_row=start_row,
            num_rows=num_rows,
            slot=self._slots.at(Priority.QUERY),
            # crawlers send many queries to an unreachable service
            once=self.is_out_of_reach(),
        )

    def _failed(self, key: Key, error: ServiceError, *, has_older: bool) -> None:
        instead = "; an older answer is used" if has_older else ""
        log.warning("%s: %s%s", shown(key), error, instead)
        if isinstance(error, (UnreachableError, ServiceTimeoutError, BusyError)):
            self.set_out_of_reach()
        self._last_failure = f"{shown(key)}: {error}"
        self._told(shown(key), error)
        with self._lock:
            # a copy: the traceback references the query
            self._failures[key] = copy.copy(error)


class _Pages:
    """Fetches the pages of one question, within one deadline.

    Attributes
    ----------
    cut : str
        The missing rows, as text; "" if none are known to be missing. With an include
        this is never known: joined rows may count in `total_rows`.
    """

    def __init__(
        self,
        page: Callable[[Query, int, int], Rows],
        deadline_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.cut = ""
        self._page = page
        self._deadline_s = deadline_s
        self._clock = clock
        self._ends_s = clock() + deadline_s
        self._total_rows: dict[Query, int] = {}

    def __call__(self, query: Query, *, start_row: int, num_rows: int) -> Rows:
        if self._clock() > self._ends_s:
            error = ServiceTimeoutError("the list did not end before the deadline")
            error.elapsed_s = self._deadline_s
            raise error
        rows = self._page(query, start_row, num_rows)
        if not query.include:
            # the empty page at the end may have no total
            total_rows = max(rows.total_rows, self._total_rows.get(query, 0))
            self._total_rows[query] = total_rows
            if not rows and start_row < total_rows:
                self.cut = f"{start_row} of {total_rows} rows of {query.model}"
        return rows
