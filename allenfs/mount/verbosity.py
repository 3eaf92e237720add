"""Switch debug logging of a running mount: ``kill -USR2 PID``.

A thread waits for the signal: Python runs no signal handlers while the main thread is
inside libfuse.
"""

from __future__ import annotations

import logging
import signal
import threading

from allenfs.service import threads
from allenfs.text import safe_logger

_SWITCH = signal.SIGUSR2

log = safe_logger(__name__)


def block() -> None:
    """Block the signal, in this thread and those that it starts, until `follow`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {_SWITCH})


def follow() -> None:
    """Switch at each signal from now on; call it before other threads start.

    Raises
    ------
    ProcessLimitError
    """
    block()
    threads.start(threading.Thread(target=_follow, daemon=True))


def _follow() -> None:
    while True:
        signal.sigwait({_SWITCH})
        switch()


def switch() -> None:
    """Toggle between the levels INFO and DEBUG, and log the new one."""
    root = logging.getLogger("allenfs")
    level = logging.DEBUG if root.getEffectiveLevel() > logging.DEBUG else logging.INFO
    root.setLevel(level)
    log.info("log level is now %s", logging.getLevelName(level))
