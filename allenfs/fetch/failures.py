"""Remembered failures, and whether the service is in trouble."""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from cachetools import TLRUCache, TTLCache

from allenfs.errors import (
    BusyError,
    ImageNotFoundError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.config import ServiceSettings
    from allenfs.model.sheets import Request

# More than four connections bring in the longest memory, of 60 s, where an answer takes
# 15 ms or more; 1 kB each.
_REMEMBERED = 16_384
# How long the last failure of an image can be read from the mount.
_REASON_MEMORY_S = 3600.0


class _Failure(NamedTuple):
    error: ServiceError
    memory_s: float


def _forget_at(_request: Request, failure: _Failure, now_s: float) -> float:
    return now_s + failure.memory_s


class Failures:
    """The failures of images. Safe to use from many threads.

    Parameters
    ----------
    settings : ServiceSettings
        How long they are remembered.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: TLRUCache[Request, _Failure, float] = TLRUCache(
            _REMEMBERED, _forget_at, timer=clock
        )
        self._reasons: TTLCache[Request, str, float] = TTLCache(
            _REMEMBERED, _REASON_MEMORY_S, timer=clock
        )
        self._calm_from_s = -1.0

    @property
    def is_calm(self) -> bool:
        """Whether the service had no trouble with any image for a while."""
        return self._clock() >= self._calm_from_s

    def note(self, error: ServiceError) -> None:
        """Look whether a failure is the service's trouble, not the image's."""
        if not isinstance(error, (BusyError, ServiceTimeoutError, UnreachableError)):
            return
        memory_s = self._settings.failure_memory_s
        asked_s = error.retry_after_s if isinstance(error, BusyError) else None
        calm_from_s = self._clock() + max(memory_s, asked_s or 0)
        with self._lock:
            self._calm_from_s = max(self._calm_from_s, calm_from_s)

    def remember(self, request: Request, error: ServiceError) -> None:
        """Keep a failure for as long as it shall be the answer."""
        memory_s = self._settings.failure_memory_s
        if isinstance(error, ImageNotFoundError):
            memory_s = self._settings.not_found_memory_s
        with self._lock:
            # a copy: the traceback holds all that the download used
            self._failures[request] = _Failure(copy.copy(error), memory_s)
            self._reasons[request] = str(error)

    def forget(self, request: Request) -> None:
        """Forget the failure of an image that is here now."""
        with self._lock:
            if request in self._reasons:
                del self._reasons[request]
                self._failures.pop(request, None)

    def remembered(self, request: Request) -> ServiceError | None:
        """Return a failure that is the answer still."""
        with self._lock:
            failure = self._failures.get(request)
        # a copy: each raising adds to an exception's traceback
        return copy.copy(failure.error) if failure is not None else None

    def reason(self, request: Request) -> str | None:
        """Why the last download of an image failed, in words; None if it did not."""
        with self._lock:
            reason: str | None = self._reasons.get(request)
        return reason
