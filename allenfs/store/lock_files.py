"""The locks of a store, among the threads and processes that share it.

They are ``flock`` locks: the kernel releases them when a process ends, even if killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import threading
import time
import zlib
from typing import TYPE_CHECKING

from allenfs.store.stored_file import OpenFile
from allenfs.store.trust import is_at, make_private, open_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from allenfs.config import StoreSettings
    from allenfs.store.directory import StoreDirectory

    Release = Callable[[], None]

# The store's lock is held for milliseconds, unless its holder was stopped.
_TIMEOUT_S = 2.0
# After a timeout: otherwise twelve queued readers would wait 24 s.
_STUCK_TIMEOUT_S = 0.05
_POLL_S = 0.001
_IMAGE = "image-"
_MAX_HOLDER_BYTES = 128


class FileLock:
    """The lock of a store: one holder among all threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread_lock = threading.Lock()
        self._is_stuck = False

    @contextlib.contextmanager
    def hold(self, *, at_once: bool = False) -> Iterator[None]:
        """Hold the lock for the block.

        Raises OSError if the file cannot be opened, or the lock is not free within 2 s;
        with `at_once`, if it is not free now.
        """
        msg = "another process holds the lock"
        not_free = BlockingIOError(errno.EAGAIN, msg, str(self._path))
        if not self._thread_lock.acquire(timeout=0 if at_once else _TIMEOUT_S):
            raise not_free
        with contextlib.ExitStack() as stack:
            stack.callback(self._thread_lock.release)
            fd = open_own(self._path)
            stack.callback(os.close, fd)
            stack.callback(_unlock, fd)
            wait_s = _STUCK_TIMEOUT_S if self._is_stuck else _TIMEOUT_S
            ends_s = time.monotonic() + wait_s
            while not _is_locked(fd):
                if at_once or time.monotonic() > ends_s:
                    self._is_stuck |= not at_once
                    raise not_free
                time.sleep(_POLL_S)
            self._is_stuck = False
            yield


class LockFiles:
    """The locks of processes that use one service. Safe to use from many threads.

    ::

        DIRECTORY/locks/SERVICE/next-4, slot-0 … slot-3  see `allenfs.service.slots`
                                image-00 … image-ff      images being downloaded

    A file that is locked holds the process and the name of the lock, else nothing.
    Images share 256 files, so that no download creates or removes one.

    A lock that a stopped process holds (Ctrl-Z) counts as free. So does one whose
    file is locked for another image, which is rare. Trouble with the directory is a
    warning; every lock is free then, as if no other process used the store.
    """

    def __init__(self, settings: StoreSettings, store: StoreDirectory) -> None:
        self._store = store
        self._directory = settings.directory / "locks" / settings.service_name

    def try_lock(self, name: str) -> Release | None:
        """Lock `name` and return what releases it; None if another process has it.

        `name` is short, without blanks; of an image, ``image-`` and what identifies it.
        """
        is_image = name.startswith(_IMAGE)
        number = f"{zlib.crc32(name.encode()) % 256:02x}"
        path = self._directory / (_IMAGE + number if is_image else name)
        try:
            return self._try_lock(path, name)
        except OSError as error:
            place = str(self._directory)
            self._store.report(OSError(error.errno, error.strerror, place))
            return lambda: None

    def _try_lock(self, path: Path, name: str) -> Release | None:
        self._store.prepare()
        make_private(self._directory.parent)
        make_private(self._directory)
        while True:
            file = OpenFile(open_own(path))
            if _is_locked(file.fd):
                if not is_at(file.fd, path):
                    continue
                with contextlib.suppress(OSError):  # a full disk
                    os.pwrite(file.fd, f"{os.getpid()} {name}\n".encode(), 0)
                return functools.partial(_release, file)
            holder = process_id, held_name = _holder(file.fd)
            if held_name not in ("", name):
                return lambda: None
            if not _is_stopped(process_id):
                return None
            # one process at a time: another one may have replaced the file
            with self._store.lock.hold():
                if is_at(file.fd, path) and _holder(file.fd) == holder:
                    path.unlink()


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> tuple[int, str]:
    """Return the process and the lock; 0 and "" before they are written."""
    try:
        process_id, name = os.pread(fd, _MAX_HOLDER_BYTES, 0).decode().split()[:2]
        return int(process_id), name
    except ValueError:
        return 0, ""


def _is_stopped(process_id: int) -> bool:
    try:
        with open(f"/proc/{process_id}/stat", "rb") as stat:
            # the name of the program, in parentheses, may contain anything
            return stat.read().rpartition(b")")[2].split()[:1] == [b"T"]
    except OSError:
        return False


def _release(file: OpenFile) -> None:
    with contextlib.suppress(OSError):
        os.truncate(file.fd, 0)
    _unlock(file.fd)


def _unlock(fd: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child has the file open, too
