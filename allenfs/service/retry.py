"""Retry transient failures only, and pause after a refused proxy login."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from allenfs.errors import (
    BusyError,
    ProxyLoginError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
)
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from allenfs.config import ServiceSettings

log = safe_logger(__name__)

_Result = TypeVar("_Result")


class Retry:
    """Makes the attempts of each request. Safe to use from many threads.

    After a proxy has refused the log-in, one request in `failure_memory_s` tries it
    again; all others fail at once. Many failed log-ins may lock an account.

    Parameters
    ----------
    settings : ServiceSettings
    heard : callable
        Told of each attempt's end: its error, or None for an answer.
    clock, sleep, jitter : callable
        Monotonic seconds; wait seconds; a number from 0 to 1.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        heard: Callable[[ServiceError | None], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._heard = heard
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._lock = threading.Lock()
        # why no log-in is tried, and until when; None while none was refused
        self._lockout: tuple[str, float] | None = None

    def run(
        self,
        url: str,
        attempt: Callable[[str, float], _Result],
        slot: AbstractContextManager[object],
        goes_on: Callable[[ServiceError], bool],
    ) -> _Result:
        """Return what an `attempt` returns that is given `url` and its deadline.

        Parameters
        ----------
        slot : context manager
            Entered for each attempt, not for the pauses between them. The
            deadline counts from its first entering.
        goes_on : callable
            Told of each transient failure: whether to try again.

        Raises
        ------
        ServiceError
            With url, attempts and elapsed_s.
        """
        started_s = ends_s = 0.0
        attempts = 0
        while True:
            with slot:
                if not attempts:
                    started_s = self._clock()
                    ends_s = started_s + self._settings.deadline_s
                self._raise_if_locked_out(url, attempts, started_s)
                attempts += 1
                try:
                    result = attempt(url, ends_s)
                except ServiceError as error:
                    error.url, error.attempts = url, attempts
                    error.elapsed_s = self._clock() - started_s
                    # before the slot is free: the next request should know
                    self._failed(error)
                    if not error.transient or not goes_on(error):
                        raise
                    delay_s = self._delay_s(error, attempts)
                    if attempts > error.retries or self._clock() + delay_s >= ends_s:
                        raise
                    log.info("trying again in %.1f s: %s", delay_s, error)
                else:
                    self._lockout = None
                    self._heard(None)
                    return result
            self._sleep(delay_s)

    def _failed(self, error: ServiceError) -> None:
        if isinstance(error, ProxyLoginError):
            self._lock_out(error.cause)
        elif not isinstance(error, (UnreachableError, ServiceTimeoutError)):
            self._lockout = None  # it got past the proxy
        self._heard(error)

    def _lock_out(self, cause: str) -> None:
        self._lockout = cause, self._clock() + self._settings.failure_memory_s

    def _raise_if_locked_out(self, url: str, attempts: int, started_s: float) -> None:
        with self._lock:
            if self._lockout is None:
                return
            cause, until_s = self._lockout
            if self._clock() >= until_s:
                self._lock_out(cause)  # this one tries; others wait for its result
                return
        error = ProxyLoginError(cause)
        error.url, error.attempts = url, attempts
        error.elapsed_s = self._clock() - started_s
        raise error

    def _delay_s(self, error: ServiceError, attempt: int) -> float:
        backoff_s = self._settings.first_backoff_s * float(2 ** (attempt - 1))
        backoff_s *= 0.5 + self._jitter()
        asked_s = error.retry_after_s if isinstance(error, BusyError) else None
        return max(backoff_s, asked_s or 0)
