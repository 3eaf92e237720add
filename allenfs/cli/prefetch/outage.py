"""A circuit breaker: few requests while the service does not answer, then none."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A few images may fail while the service works.
_IN_A_ROW = 4


class Outage:
    """Lets many threads send requests while the service answers. Thread-safe.

    After 4 consecutive failures of the service, one thread at a time sends a request,
    with a pause before each, for `patience_s`. An answer resets it.

    Parameters
    ----------
    pause_s : float
        Longer than failures are remembered; an earlier request gets the same failure.
    patience_s : float
        Counted from the last of the 4 failures.

    Attributes
    ----------
    reason : str or None
        Why no more requests are sent; None while they are.
    """

    def __init__(
        self,
        *,
        pause_s: float,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause_s = pause_s
        self._patience_s = patience_s
        self._clock = clock
        self._changed = threading.Condition()  # its lock is reentrant
        self._in_a_row = 0
        self._is_asking = False
        self._next_s = self._ends_s = 0.0
        self.reason: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether the service does not answer."""
        return self._in_a_row >= _IN_A_ROW

    def may_ask(self) -> bool:
        """Wait until this thread may send a request; False after giving up.

        The caller must then report the result: `answered`, `failed` or `unasked`.
        """
        with self._changed:
            while self.reason is None and self.is_on:
                now_s = self._clock()
                if not self._is_asking and now_s >= self._next_s:
                    self._is_asking = True
                    return True
                self._changed.wait(
                    None if self._is_asking else max(0.0, self._next_s - now_s)
                )
            return self.reason is None

    def unasked(self) -> None:
        """Record that no request was sent."""
        with self._changed:
            self._is_asking = False
            self._changed.notify_all()

    def answered(self) -> None:
        """Record an answer."""
        with self._changed:
            self._in_a_row = 0
            self.unasked()

    def failed(self, cause: str) -> bool:
        """Record a failure; return whether to retry later."""
        with self._changed:
            self._in_a_row += 1
            now_s = self._clock()
            if self._in_a_row == _IN_A_ROW:
                self._ends_s = now_s + self._patience_s
            if self._in_a_row == _IN_A_ROW or self._is_asking:
                self._next_s = min(now_s + self._pause_s, self._ends_s)
            if self._is_asking and now_s >= self._ends_s:
                self.give_up(f"the service does not answer: {cause}")
            self.unasked()
            return self.is_on and self.reason is None

    def give_up(self, reason: str) -> None:
        """Send no more requests."""
        with self._changed:
            self.reason = self.reason or reason
            self._changed.notify_all()
