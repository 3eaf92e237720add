"""Callers that report when they wait."""

from __future__ import annotations

import threading
import time

from allenfs.service.single_flight import Caller

# A waiter that is never woken fails its test, and does not hang the run.
PATIENCE_S = 60
INTERRUPTED = Caller(is_interrupted=lambda: True)


class Waiters:
    """The caller of each thread; knows when so many wait."""

    def __init__(self, count=1):
        self.all_wait = threading.Event()
        self.caller = Caller(is_interrupted=self._is_interrupted)
        self._ends_s = time.monotonic() + PATIENCE_S
        self._count = count
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    def wait(self):
        """Return once all of them wait."""
        assert self.all_wait.wait(PATIENCE_S)

    def _is_interrupted(self):
        with self._lock:
            self._seen.add(threading.get_ident())
            if len(self._seen) == self._count:
                self.all_wait.set()
        return time.monotonic() > self._ends_s
