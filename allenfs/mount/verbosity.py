"""How much is logged, switched while a mount runs: ``kill -USR2 PID``.

Not by a signal handler: Python's do not run while the main thread is inside libfuse.
"""

from __future__ import annotations

import logging
import signal
import threading

from allenfs.service import threads
from allenfs.text import safe_logger

_SWITCH = signal.SIGUSR2

log = safe_logger(__name__)


def hold() -> None:
    """Let the signal wait, in this thread and those that it starts, for `follow`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {_SWITCH})


def follow() -> None:
    """Switch at each signal from now on; to be called before other threads start.

    Raises
    ------
    ProcessLimitError
    """
    hold()
    threads.start(threading.Thread(target=_follow, daemon=True))


def _follow() -> None:
    while True:
        signal.sigwait({_SWITCH})
        switch()


def switch() -> None:
    """Log every step, or no longer; and say so in the log."""
    root = logging.getLogger("allenfs")
    level = logging.DEBUG if root.getEffectiveLevel() > logging.DEBUG else logging.INFO
    root.setLevel(level)
    log.info("the log's level is %s from now on", logging.getLevelName(level))
