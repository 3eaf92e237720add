"""What failed recently, and whether to leave the service alone for a while."""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from cachetools import TLRUCache, TTLCache

from allenfs.errors import (
    BusyError,
    ImageNotFoundError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from allenfs.config import ServiceSettings

_Key = TypeVar("_Key", bound="Hashable")

# More than four connections bring in the longest memory, of 60 s, where an answer takes
# 15 ms or more; 1 kB each.
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
        """Remember a failure as the answer for a while, and its reason for an hour."""
        is_absent = isinstance(error, ImageNotFoundError)
        settings = self._settings
        memory_s = (
            settings.not_found_memory_s if is_absent else settings.failure_memory_s
        )
        with self._lock:
            # a copy: the traceback refers to all that the request used
            self._failures[key] = _Failure(copy.copy(error), memory_s)
            self._reasons[key] = str(error)

    def forget(self, key: _Key) -> None:
        """Forget the failure of what is available now."""
        with self._lock:
            if key in self._reasons:
                del self._reasons[key]
                self._failures.pop(key, None)

    def remembered(self, key: _Key) -> ServiceError | None:
        """Return a failure that is still the answer."""
        with self._lock:
            failure = self._failures.get(key)
        # a copy: each raise extends an exception's traceback
        return copy.copy(failure.error) if failure is not None else None

    def reason(self, key: _Key) -> str | None:
        """Return why the last request failed, in words; None if it succeeded."""
        with self._lock:
            reason: str | None = self._reasons.get(key)
        return reason


class CircuitBreaker:
    """Opens after consecutive failures, for a while or until a request succeeds.

    Parameters
    ----------
    pause_s : float
        How long it stays open after the last failure.
    threshold : int
        Consecutive failures that open it.
    """

    def __init__(
        self,
        pause_s: float,
        *,
        threshold: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause_s = pause_s
        self._threshold = threshold
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closes_s = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether to send no requests."""
        return self._clock() < self._closes_s

    def failed(self, pause_s: float | None = None) -> None:
        """Record a failure; `pause_s` is a longer pause that the service requested."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._threshold:
                closes_s = self._clock() + max(self._pause_s, pause_s or 0)
                self._closes_s = max(self._closes_s, closes_s)

    def answered(self) -> None:
        """Record an answer: closes it."""
        with self._lock:
            self._failures = 0
            self._closes_s = float("-inf")
