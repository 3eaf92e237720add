"""Recent failures, and whether to send no requests for a while."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from cachetools import TLRUCache, TTLCache

from allenfs.errors import (
    BusyError,
    ImageNotFoundError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    copied,
)

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings

_Key = TypeVar("_Key", bound="Hashable")

# More failures than four connections can cause in 60 s, the longest time that one is
# remembered, if an answer takes 15 ms or more; 1 kB each.
_REMEMBERED = 16_384
# How long the last failure of an image can be read from the mount.
_REASON_MEMORY_S = 3600.0


def is_outage(error: ServiceError) -> bool:
    """Whether an error is about the service, not about what was requested."""
    return isinstance(error, (BusyError, ServiceTimeoutError, UnreachableError))


class _Failure(NamedTuple):
    error: ServiceError
    memory_s: float


class FailureMemory(Generic[_Key]):
    """Recent failures by key. Safe to use from many threads."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._failures: TLRUCache[_Key, _Failure, float] = TLRUCache(
            _REMEMBERED, lambda _, failure, now_s: now_s + failure.memory_s, timer=clock
        )
        self._reasons: TTLCache[_Key, str, float] = TTLCache(
            _REMEMBERED, _REASON_MEMORY_S, timer=clock
        )

    def remember(self, key: _Key, error: ServiceError) -> None:
        """Raise a failure again for a while, and remember its reason for an hour."""
        is_absent = isinstance(error, ImageNotFoundError)
        settings = self._settings
        memory_s = (
            settings.not_found_memory_s if is_absent else settings.failure_memory_s
        )
        with self._lock:
            # a copy: the traceback would keep all objects of the request alive
            self._failures[key] = _Failure(copied(error), memory_s)
            self._reasons[key] = str(error)

    def forget(self, key: _Key) -> None:
        """Forget a failure: the request has succeeded."""
        with self._lock:
            if key in self._reasons:
                del self._reasons[key]
                self._failures.pop(key, None)

    def remembered(self, key: _Key) -> ServiceError | None:
        """Return a failure that should still be raised."""
        with self._lock:
            failure = self._failures.get(key)
        # a copy: each raise extends an exception's traceback
        return copied(failure.error) if failure is not None else None

    def reason(self, key: _Key) -> str | None:
        """Return why the last request failed, in words; None if it succeeded."""
        with self._lock:
            reason: str | None = self._reasons.get(key)
        return reason


class CircuitBreaker:
    """Opens after consecutive failures, for a while or until a request succeeds.

    Callers that can do without the service check `is_open`; callers that can wait for
    it send each request in a `turn`. Safe to use from many threads.

    Parameters
    ----------
    pause_s : float
        How long it stays open after the last failure.
    threshold : int
        Consecutive failures that open it.
    patience_s : float
        After a failure this long after it opened, no request gets a turn any more.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        pause_s: float,
        *,
        threshold: int = 1,
        patience_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause_s = pause_s
        self._threshold = threshold
        self._patience_s = patience_s
        self._clock = clock
        self._changed = threading.Condition()
        self._failures = 0
        self._is_probed = False
        self._closes_s = -math.inf
        self._ends_s = math.inf
        self.is_stopped = False

    @property
    def is_open(self) -> bool:
        """Whether to send no requests."""
        return self._clock() < self._closes_s

    @property
    def is_tripped(self) -> bool:
        """Whether enough consecutive requests failed to open it."""
        return self._failures >= self._threshold

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait until the caller may send a request; yield False if it may not.

        At once, unless the last requests failed: then one caller at a time, each after
        the pause. Inside, call `failed` or `answered` if there was a request.
        """
        with self._changed:
            while self.is_tripped and not self.is_stopped:
                wait_s = None if self._is_probed else self._closes_s - self._clock()
                if wait_s is not None and wait_s <= 0:
                    break
                self._changed.wait(wait_s)
            is_probe = self.is_tripped
            self._is_probed = self._is_probed or is_probe
        try:
            yield not self.is_stopped
        finally:
            if is_probe:
                with self._changed:
                    self._is_probed = False
                    self._changed.notify_all()

    def failed(self, pause_s: float | None = None) -> None:
        """Record a failure; `pause_s` is a longer pause that the service requested."""
        with self._changed:
            now_s = self._clock()
            self._failures += 1
            if self._failures == self._threshold:
                self._ends_s = now_s + self._patience_s
            if self.is_tripped:
                closes_s = now_s + max(self._pause_s, pause_s or 0)
                self._closes_s = max(self._closes_s, min(closes_s, self._ends_s))
                if now_s >= self._ends_s:
                    self.stop()

    def answered(self) -> None:
        """Record an answer: closes it."""
        with self._changed:
            self._failures = 0
            self._closes_s = -math.inf
            self._changed.notify_all()

    def stop(self) -> None:
        """Refuse all further turns, and wake all waiting callers."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()
