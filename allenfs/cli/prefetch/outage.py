"""Whether the service still answers: asked seldom while it does not, then no more."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# One image that the service cannot make is not the service.
_IN_A_ROW = 4


class Outage:
    """Lets many threads ask as long as the service answers. Thread-safe.

    After 4 failures in a row that are the service's, one thread asks at a time, and
    each time a pause later than the last one. That goes on for `patience_s`; an
    answer ends it.

    Parameters
    ----------
    pause_s : float
        Longer than a failure is remembered: who asks earlier hears of the same one.
    patience_s : float
        From the last of the 4 on.
    clock : callable
        Monotonic seconds.
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
        self._changed = threading.Condition()
        self._in_a_row = 0
        self._is_asking = False
        self._next_s = self._ends_s = 0.0
        self._reason: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether the service does not answer."""
        return self._in_a_row >= _IN_A_ROW

    @property
    def reason(self) -> str | None:
        """Why nothing is asked any more; None as long as something is."""
        return self._reason

    def may_ask(self) -> bool:
        """Wait until this thread may ask; False when it is over.

        Who may has to say afterwards what came of it: `answered`, `failed`, `unasked`.
        """
        with self._changed:
            while self._reason is None and self.is_on:
                now_s = self._clock()
                if not self._is_asking and now_s >= self._next_s:
                    self._is_asking = True
                    return True
                self._changed.wait(
                    None if self._is_asking else max(0.0, self._next_s - now_s)
                )
            return self._reason is None

    def unasked(self) -> None:
        """Note that the service was not asked after all."""
        with self._changed:
            self._is_asking = False
            self._changed.notify_all()

    def answered(self) -> None:
        """Note that the service answered."""
        with self._changed:
            self._in_a_row = 0
            self._is_asking = False
            self._changed.notify_all()

    def failed(self, cause: str) -> bool:
        """Note that it did not; return whether to try the same again later."""
        with self._changed:
            self._in_a_row += 1
            now_s = self._clock()
            if self._in_a_row == _IN_A_ROW:
                self._ends_s = now_s + self._patience_s
            if self._in_a_row == _IN_A_ROW or self._is_asking:
                self._next_s = min(now_s + self._pause_s, self._ends_s)
            if self._is_asking and now_s >= self._ends_s:
                self._give_up(f"the service does not answer: {cause}")
            self._is_asking = False
            self._changed.notify_all()
            return self.is_on and self._reason is None

    def give_up(self, reason: str) -> None:
        """Let nobody ask any more."""
        with self._changed:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._changed.notify_all()
