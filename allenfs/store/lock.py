"""The lock of a store: one holder among all threads and processes that share it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The lock is held for milliseconds, unless its holder was stopped.
_TIMEOUT_S = 2.0
# After a timeout: otherwise twelve queued readers would wait 24 s.
_STUCK_TIMEOUT_S = 0.05
_POLL_S = 0.001
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileLock:
    """A lock among threads and, by ``flock`` on a file, among processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread_lock = threading.Lock()
        self._is_stuck = False

    @contextlib.contextmanager
    def hold(self, *, at_once: bool = False) -> Iterator[None]:
        """Hold the lock for the block.

        Raises
        ------
        OSError
            The file cannot be opened, or the lock is not free within 2 s; with
            `at_once`, it is not free now.
        """
        if not self._thread_lock.acquire(timeout=0 if at_once else _TIMEOUT_S):
            raise self._not_free()
        try:
            fd = os.open(self._path, _FLAGS, 0o600)
            try:
                self._acquire(fd, at_once=at_once)
                yield
            finally:
                # a forked child has the file open, too
                with contextlib.suppress(OSError):
                    fcntl.flock(fd, fcntl.LOCK_UN)
                os.close(fd)
        finally:
            self._thread_lock.release()

    def _acquire(self, fd: int, *, at_once: bool) -> None:
        wait_s = 0 if at_once else _STUCK_TIMEOUT_S if self._is_stuck else _TIMEOUT_S
        ends_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if at_once or time.monotonic() > ends_s:
                    self._is_stuck |= not at_once
                    raise self._not_free() from None
            time.sleep(_POLL_S)
        self._is_stuck = False

    def _not_free(self) -> BlockingIOError:
        return BlockingIOError(
            errno.EAGAIN, "another process holds the lock", str(self._path)
        )
