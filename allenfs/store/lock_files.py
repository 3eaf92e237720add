"""The locks of processes that share a store while they use one service.

::

    DIRECTORY/locks/SERVICE/next-4, slot-0 … slot-3  see `allenfs.service.slots`
                            image-00 … image-ff      images that are being downloaded

They are ``flock`` locks: the kernel releases them when a process ends, even if killed.
A file that is locked holds the process and the name of the lock, else nothing. Images
share 256 files, so that no download creates or removes one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import stat
import zlib
from typing import TYPE_CHECKING

from allenfs.store.trust import make_private, require_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.config import StoreSettings
    from allenfs.store.directory import StoreDirectory

    Release = Callable[[], None]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_IMAGE = "image-"
_MAX_HOLDER_BYTES = 128


def _nothing() -> None:
    pass


class LockFiles:
    """The locks of one service in a store directory. Safe to use from many threads.

    A lock that a stopped process holds (Ctrl-Z) counts as free. So does one whose
    file is locked for another image, which is rare. Trouble with the directory is a
    warning; every lock is free then, as if no other process used the store.
    """

    def __init__(self, settings: StoreSettings, store: StoreDirectory) -> None:
        self._store = store
        self._directory = settings.directory / "locks" / settings.service_name

    def try_lock(self, name: str) -> Release | None:
        """Take a lock and return what releases it; None where it is held.

        Parameters
        ----------
        name : str
            Short, without blanks; of an image, ``image-`` and what identifies it.
        """
        try:
            return self._try_lock(name)
        except OSError as error:
            place = str(self._directory)
            self._store.report(OSError(error.errno, error.strerror, place))
            return _nothing

    def _try_lock(self, name: str) -> Release | None:
        path = f"{self._directory}/{_file_of(name)}"
        while True:
            fd = self._open(path)
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, fd)
                _require_own(fd, path)
                if _is_locked(fd):
                    if _is_at(fd, path):
                        with contextlib.suppress(OSError):  # a full disk
                            os.pwrite(fd, f"{os.getpid()} {name}\n".encode(), 0)
                        stack.pop_all()
                        return functools.partial(_release, fd)
                    continue
                process_id, held_name = _holder(fd)
                if held_name not in ("", name):
                    return _nothing
                if not _is_stopped(process_id):
                    return None
                if _is_at(fd, path):
                    os.unlink(path)

    def _open(self, path: str) -> int:
        try:
            require_private(self._directory.parent)
            require_private(self._directory)
            return os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            self._store.prepare()
            make_private(self._directory.parent)
            make_private(self._directory)
            return os.open(path, _FLAGS, 0o600)


def _file_of(name: str) -> str:
    if not name.startswith(_IMAGE):
        return name
    return f"{_IMAGE}{zlib.crc32(name.encode()) % 256:02x}"


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_own(fd: int, path: str) -> None:
    """Refuse what is not a lock file of this user: it would be overwritten."""
    found = os.fstat(fd)
    is_file = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
    if not is_file or found.st_uid != os.geteuid():
        raise OSError(errno.EINVAL, "not a lock file of the store", path)


def _is_at(fd: int, path: str) -> bool:
    """Whether an open file still has its name: only then others lock it, too."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


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


def _release(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.truncate(fd, 0)
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child has the file open, too
    os.close(fd)
