"""Threads of libfuse that keep their interpreter state from one call to the next.

Python does not know the threads that libfuse makes: ctypes gives each call a new
state and throws it away after it, which takes 15 of the 50 microseconds of a short
call.
"""

from __future__ import annotations

import ctypes
import threading

# Twice what libfuse keeps idle. It ends threads above ten, and their states stay
# behind, some 20 kB each: so many, and not one for each thread that ever was.
_MOST = 20


class LastingThreads:
    """The threads that were told to keep their state."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def add_this(self) -> None:
        """Let the calling thread keep its state, unless there are many already."""
        thread = threading.get_ident()
        if thread not in self._threads and len(self._threads) < _MOST:
            self._threads.add(thread)
            # one more than is given back when the call ends
            ctypes.pythonapi.PyGILState_Ensure()
