"""Threads of libfuse that keep their interpreter state from one call to the next.

Python does not know the threads that libfuse makes: ctypes gives each call a new
state and throws it away after it, which takes 15 of the 50 microseconds of a short
call.
"""

from __future__ import annotations

import ctypes
import threading

# libfuse ends threads when more than ten are idle, and their states stay behind, some
# 20 kB each: 4 MB at the most. The threads of a burst serve a call or two and end, so
# that a thread must have served some before its state is worth keeping.
_MOST_STATES = 200
_CALLS = 8


class LastingThreads:
    """Counts the calls of threads, and lets those that stay keep their state."""

    def __init__(self) -> None:
        self._states = 0
        self._calls: dict[int, int] = {}  # by thread
        # As long as the state: a number may come again with another thread.
        self._of_this = threading.local()

    def add_this(self) -> None:
        """Count a call of this thread; to be called once in each."""
        if getattr(self._of_this, "is_kept", False):
            return
        thread = threading.get_ident()
        calls = self._calls[thread] = self._calls.get(thread, 0) + 1
        if calls >= _CALLS and self._states < _MOST_STATES:
            self._states += 1
            self._calls[thread] = 0
            self._of_this.is_kept = True
            # one more than is given back when the call ends
            ctypes.pythonapi.PyGILState_Ensure()
