"""Fetch records: single flight, a time limit, and stale answers if a query fails."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cachetools import TTLCache

from allenfs.catalog.pages_ahead import PagesAhead
from allenfs.catalog.queries import WithRecords
from allenfs.catalog.record_cache import CachedRecord, shown
from allenfs.errors import (
    PathNotFoundError,
    ProcessLimitError,
    ServiceError,
    ServiceTimeoutError,
    WaitTimeoutError,
    copied,
)
from allenfs.service.health import CircuitBreaker, FailureMemory, is_outage
from allenfs.service.single_flight import SingleFlight
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.catalog.paging import Page
    from allenfs.catalog.queries import Question
    from allenfs.catalog.record_cache import RecordCache
    from allenfs.config import ServiceSettings
    from allenfs.service.client import AllenService
    from allenfs.service.rma import NumRows, Query, Rows
    from allenfs.service.single_flight import Caller
    from allenfs.service.slots import Priority, Slots
    from allenfs.store.record_files import Key

log = safe_logger(__name__)

_Record = TypeVar("_Record")

# The longest wait for a newer answer.
_REFRESH_PATIENCE_S = 2.0
# The live service answers in about half a second; a directory needs up to four answers.
_OPTIONAL_PATIENCE_S = 5.0
# More than a person opens; in further listings, a crawler gets no optional names.
_DIRECTORIES, _AN_HOUR_S = 300, 3600.0


class Repository:
    """Answers from memory, from the store, or from the service. Thread-safe.

    An answer older than its time to live is requested again, and remains in use while
    the service is unreachable. `last_failure` says why the last query failed; None if
    it succeeded.
    """

    def __init__(
        self,
        service: AllenService,
        cache: RecordCache,
        settings: ServiceSettings,
        slots: Slots,
        *,
        on_failure: Callable[[str, ServiceError], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last_failure: str | None = None
        self._settings = settings
        self._on_failure = on_failure
        self._clock = clock
        self._service = service
        self._cache = cache
        self._slots = slots
        self._flights: SingleFlight[Key, CachedRecord[Any]] = SingleFlight(clock)
        self._failures: FailureMemory[Key] = FailureMemory(settings, clock=clock)
        self._breaker = CircuitBreaker(settings.failure_memory_s, clock=clock)
        self._lock = threading.Lock()
        # images for whose directories optional records were queried
        self._queried: TTLCache[int, None, float] = TTLCache(
            _DIRECTORIES, _AN_HOUR_S, timer=clock
        )

    def get(
        self,
        question: Question[_Record],
        caller: Caller,
        patience_s: float | None = None,
    ) -> CachedRecord[_Record]:
        """Return the record that answers `question`; wait for the service.

        `patience_s` replaces the question's longest wait; a timeout is then not
        remembered as a failure of the query. ServiceError if the query failed, now or a
        short while ago, and no older answer is cached; after InterruptedWaitError the
        query goes on.
        """
        cached = self._cache.any(question)
        if cached is None:
            self._raise_remembered(question.key)
            return self._query(question, caller, patience_s)
        if self._cache.is_fresh(cached):
            return cached
        if not self.is_out_of_reach():
            # if that fails, the stale answer is used
            with contextlib.suppress(ServiceError, ProcessLimitError):
                return self._query(question, caller, _REFRESH_PATIENCE_S)
        # prefer an answer that arrived in the meantime
        return self._cache.fresh(question) or self._cache.extend(
            question, cached, self._settings.failure_memory_s
        )

    def existing(
        self, question: Question[_Record | None], caller: Caller
    ) -> CachedRecord[_Record]:
        """Return a record as `get` does; raises PathNotFoundError if there is none."""
        cached = self.get(question, caller)
        if cached.record is None:
            raise PathNotFoundError(f"the service has no {' '.join(question.key)}")
        return cast("CachedRecord[_Record]", cached)

    def optional(
        self, question: Question[_Record], image_id: int, caller: Caller
    ) -> _Record | None:
        """Return a record of any age for the listing of an image's directory, or None.

        Such a listing has `info.json`, `nissl` and the like for people, but must not
        wait for a service that is slow, busy or unreachable, nor must a crawler's
        thousands of listings. So the service is queried only if it is idle and was
        reachable, for 5 s at most, and for at most 300 directories an hour.
        """
        cached = self._cache.any(question)
        is_fresh = cached is not None and self._cache.is_fresh(cached)
        if not is_fresh and self._may_query_for(image_id):
            # without it, the listing omits names
            with contextlib.suppress(ServiceError, ProcessLimitError):
                cached = self.get(question, caller, _OPTIONAL_PATIENCE_S)
        return None if cached is None else cached.record

    def _may_query_for(self, image_id: int) -> bool:
        if self.is_out_of_reach() or not self._slots.is_one_free:
            return False
        with self._lock:
            if image_id not in self._queried and len(self._queried) >= _DIRECTORIES:
                return False
            self._queried[image_id] = None
        return True

    def is_out_of_reach(self) -> bool:
        """Whether the service was unreachable or too slow a moment ago."""
        return self._breaker.is_open

    def _raise_remembered(self, key: Key) -> None:
        error = self._failures.remembered(key)
        if error is not None:
            raise error

    def _query(
        self, question: Question[_Record], caller: Caller, patience_s: float | None
    ) -> CachedRecord[_Record]:
        """Query the service, or join the query in progress."""
        key, wait_s = question.key, patience_s or question.patience_s
        work = functools.partial(self._answer, question)
        try:
            return self._flights.run(key, work, caller, wait_s)
        except WaitTimeoutError as error:
            self._breaker.failed()
            failure = ServiceTimeoutError("timed out; still fetching in the background")
            failure.elapsed_s = wait_s
            if patience_s is None:
                self._failures.remember(key, failure)
                self._on_failure(shown(key), failure)
            raise failure from error

    def _answer(self, question: Question[_Record]) -> CachedRecord[_Record]:
        # It may have been answered, or have failed, since the caller's check.
        cached = self._cache.fresh(question)
        if cached is not None:
            return cached
        self._raise_remembered(question.key)
        pages = _Pages(
            PagesAhead(self._page, self._slots.limit),
            self._settings.deadline_s,
            self._clock,
        )
        try:
            answer = question.ask(pages)
        except ServiceError as error:
            # a copy: the traceback of the one raised below would keep the query alive
            failure = copied(error)
        else:
            self._breaker.answered()
            self.last_failure = None
            if isinstance(answer, WithRecords):
                for part, record in answer.records:
                    self._cache.add_part(part, record)
                answer = answer.answer
            return self._cache.add(question, answer, cut=pages.cut)
        name = shown(question.key)
        has_older = self._cache.any(question) is not None
        instead = "; an older answer is used" if has_older else ""
        log.warning("%s: %s%s", name, failure, instead)
        if is_outage(failure):
            self._breaker.failed()
        self.last_failure = f"{name}: {failure}"
        self._on_failure(name, failure)
        self._failures.remember(question.key, failure)
        raise failure

    def _page(
        self, query: Query, start_row: int, num_rows: NumRows, priority: Priority
    ) -> Rows:
        return self._service.page(
            query,
            start_row=start_row,
            num_rows=num_rows,
            slot=self._slots.at(priority),
            # one attempt: crawlers send many queries to an unreachable service
            once=self.is_out_of_reach(),
        )


class _Pages:
    """Requests the pages of one question, within one deadline.

    `cut` says which rows are missing; "" if none are known to be. With most includes
    this is unknown: joined rows may count in `total_rows`.
    """

    def __init__(
        self,
        page: Page,
        deadline_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.cut = ""
        self._page = page
        self._deadline_s = deadline_s
        self._clock = clock
        self._ends_s = clock() + deadline_s
        self._total_rows: dict[Query, int] = {}

    def __call__(self, query: Query, start_row: int, num_rows: NumRows) -> Rows:
        if self._clock() > self._ends_s:
            error = ServiceTimeoutError("the list was not complete before the deadline")
            error.elapsed_s = self._deadline_s
            raise error
        rows = self._page(query, start_row, num_rows)
        if query.counts_rows:
            # the empty page at the end may have no total
            total_rows = max(rows.total_rows, self._total_rows.get(query, 0))
            self._total_rows[query] = total_rows
            if not rows and start_row < total_rows:
                self.cut = f"{start_row} of {total_rows} rows of {query.model}"
        return rows
