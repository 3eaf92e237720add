"""Retry transient failures only, and pause after a refused proxy login."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
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


@dataclass
class Retry:
    """Makes the attempts of each request. Safe to use from many threads.

    After a proxy has refused the login, one request in `failure_memory_s` tries it
    again; all others fail at once. Many failed logins may lock an account.

    Attributes
    ----------
    heard : callable
        Called at the end of each attempt with its error, or None for an answer.
    clock, sleep, jitter : callable
        Monotonic seconds; wait seconds; a number from 0 to 1.
    """

    settings: ServiceSettings
    heard: Callable[[ServiceError | None], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    # the proxy's words, and until when no login is tried; None if none was refused
    _lockout: tuple[str, float] | None = field(default=None, init=False)

    def run(
        self,
        url: str,
        attempt: Callable[[str, float], _Result],
        slot: AbstractContextManager[object],
        goes_on: Callable[[ServiceError], bool],
    ) -> _Result:
        """Return what `attempt` returns, called with `url` and the remaining seconds.

        Parameters
        ----------
        slot : context manager
            Entered for each attempt, not for the pauses between them. The
            deadline counts from its first entering.
        goes_on : callable
            Called, in the slot, with each transient failure: whether to try again.

        Raises
        ------
        ServiceError
            With url, attempts and elapsed_s.
        """
        started_s = ends_s = 0.0
        attempts = 0

        def stamped(error: ServiceError) -> ServiceError:
            error.url, error.attempts = url, attempts
            error.elapsed_s = self.clock() - started_s
            return error

        while True:
            with slot:
                if not attempts:
                    started_s = self.clock()
                    ends_s = started_s + self.settings.deadline_s
                if (refusal := self._refusal()) is not None:
                    raise stamped(ProxyLoginError(refusal))
                attempts += 1
                try:
                    result = attempt(url, ends_s - self.clock())
                except ServiceError as error:
                    # before the slot is free: the next request should know
                    self._failed(stamped(error))
                    if not error.transient or not goes_on(error):
                        raise
                    delay_s = self._delay_s(error)
                    if attempts > error.retries or self.clock() + delay_s >= ends_s:
                        raise
                    log.info("trying again in %.1f s: %s", delay_s, error)
                else:
                    self._lockout = None
                    self.heard(None)
                    return result
            self.sleep(delay_s)

    def _failed(self, error: ServiceError) -> None:
        if isinstance(error, ProxyLoginError):
            self._lock_out(error.cause)
        elif not isinstance(error, (UnreachableError, ServiceTimeoutError)):
            self._lockout = None  # it got past the proxy
        self.heard(error)

    def _lock_out(self, refusal: str) -> None:
        self._lockout = refusal, self.clock() + self.settings.failure_memory_s

    def _refusal(self) -> str | None:
        """Return why the proxy refused the last login; None if it may be tried."""
        with self._lock:
            if self._lockout is None:
                return None
            refusal, until_s = self._lockout
            if self.clock() < until_s:
                return refusal
            self._lock_out(refusal)  # this one tries; others wait for its result
            return None

    def _delay_s(self, error: ServiceError) -> float:
        backoff_s = self.settings.first_backoff_s * 2.0 ** (error.attempts - 1)
        backoff_s *= 0.5 + self.jitter()
        retry_after_s = error.retry_after_s if isinstance(error, BusyError) else None
        return max(backoff_s, retry_after_s or 0)
