"""Keep the interpreter state of libfuse's threads from one call to the next.

Python does not know the threads that libfuse creates, so ctypes creates a state for
each call and destroys it afterwards. Measured without this module: a quarter to a half
more CPU time in the daemon for each file of ``ls -l``.
"""

from __future__ import annotations

import ctypes
import threading

# libfuse ends idle threads above ten, whose kept states leak: some 20 kB each, at most
# 4 MB. Threads of a burst end after a call or two, so a state is kept after several.
_MAX_STATES = 200
_MIN_CALLS = 8


class ThreadStates:
    """Counts the calls of each thread, and keeps the states of those that stay."""

    def __init__(self) -> None:
        self._states = 0
        self._calls: dict[int, int] = {}  # by thread
        # Ends with the thread: a new thread may get the same ID.
        self._local = threading.local()

    def count_call(self) -> None:
        """Count a call that the current thread serves."""
        if getattr(self._local, "is_kept", False):
            return
        thread = threading.get_ident()
        calls = self._calls[thread] = self._calls.get(thread, 0) + 1
        if calls >= _MIN_CALLS and self._states < _MAX_STATES:
            self._states += 1
            self._calls[thread] = 0
            self._local.is_kept = True
            # never released, so the state survives the end of the call
            ctypes.pythonapi.PyGILState_Ensure()
