"""A limit of processes that is reached."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def no_threads(*, after: int = 0) -> Iterator[None]:
    """Let so many threads start in the block, and then no more."""
    start, started = threading.Thread.start, 0

    def start_or_fail(thread: threading.Thread) -> None:
        nonlocal started
        if started >= after:
            raise RuntimeError("can't start new thread")
        started += 1
        start(thread)

    with mock.patch.object(threading.Thread, "start", start_or_fail):
        yield
