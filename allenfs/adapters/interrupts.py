"""Ctrl-C for threads that wait in ``allen://``.

KeyboardInterrupt is raised in the main thread only. zarr, dask and pools wait in other
threads, and Python waits for these before it ends: for a download, up to 600 s.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

from allenfs.errors import InterruptedWaitError
from allenfs.service.single_flight import Caller


def _is_interrupted() -> bool:
    # No public function tells whether Python is ending before it waits for pools.
    is_ending: bool = getattr(threading, "_SHUTTING_DOWN", False)
    return (
        is_ending
        and getattr(sys, "last_type", None) is KeyboardInterrupt
        and threading.current_thread() is not threading.main_thread()
    )


#: interrupted when Ctrl-C has ended the program, but not its pools of threads
CALLER: Final = Caller(is_interrupted=_is_interrupted)


def check() -> None:
    """Raise InterruptedWaitError in a thread of a program that Ctrl-C has ended."""
    if _is_interrupted():
        raise InterruptedWaitError("the program was interrupted")
