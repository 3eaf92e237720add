"""A limit of processes that is reached."""

from __future__ import annotations

import contextlib
import threading
from unittest import mock


@contextlib.contextmanager
def no_threads(*, after=0):
    """Let so many threads start in the block, and then no more; yield the refused."""
    start, started, refused = threading.Thread.start, 0, []

    def start_or_fail(thread):
        nonlocal started
        if started >= after:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        started += 1
        start(thread)

    with mock.patch.object(threading.Thread, "start", start_or_fail):
        yield refused
