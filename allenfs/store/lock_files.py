"""The locks of processes that share a store while they use one service.

::

    DIRECTORY/locks/SERVICE/next, slot-0 … slot-3    see `allenfs.service.slots`
                            image-3f2a…              an image that is being downloaded

They are ``flock`` locks: the kernel releases them when a process ends, even if killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
from typing import TYPE_CHECKING

from allenfs.store.layout import Layout, entries
from allenfs.store.trust import make_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.config import StoreSettings
    from allenfs.store.health import Trouble

    Release = Callable[[], None]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# There are many names of this kind: their files are removed when they are released.
_TEMPORARY = "image-"


def _nothing() -> None:
    pass


class LockFiles:
    """The locks of one service in a store directory. Safe to use from many threads.

    A lock that a stopped process holds (Ctrl-Z) counts as free. Trouble with the
    directory is a warning; every lock then seems free, as if no other process
    used the store.
    """

    def __init__(self, settings: StoreSettings, trouble: Trouble) -> None:
        self._layout = Layout(settings.directory, settings.service_name)
        self._directory = settings.directory / "locks" / settings.service_name
        self._trouble = trouble
        self._is_clean = False

    def try_lock(self, name: str) -> Release | None:
        """Take a lock and return what releases it; None where it is held."""
        try:
            if not self._is_clean:
                self._is_clean = True
                self._remove_litter()
            return self._try_lock(f"{self._directory}/{name}")
        except OSError as error:
            place = str(self._directory)
            self._trouble.say(OSError(error.errno, error.strerror, place))
            return _nothing

    def _try_lock(self, path: str) -> Release | None:
        while True:
            fd = self._open(path)
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, fd)
                if _is_locked(fd):
                    if _is_at(fd, path):
                        with contextlib.suppress(OSError):  # a full disk
                            os.pwrite(fd, b"%-20d" % os.getpid(), 0)
                        stack.pop_all()
                        return functools.partial(_release, fd, path)
                elif _is_holder_stopped(fd):
                    _remove(fd, path)
                else:
                    return None

    def _open(self, path: str) -> int:
        try:
            return os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            self._layout.prepare()
            make_private(self._directory.parent)
            make_private(self._directory)
            return os.open(path, _FLAGS, 0o600)

    def _remove_litter(self) -> None:
        """Remove the files of processes that were killed."""
        for entry in entries(self._directory):
            if entry.name.startswith(_TEMPORARY):
                release = self._try_lock(entry.path)
                if release is not None:
                    release()


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    """Whether an open file still has its name: only then others lock it, too."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _is_holder_stopped(fd: int) -> bool:
    with contextlib.suppress(OSError, ValueError, IndexError):
        process_id = int(os.pread(fd, 20, 0))
        with open(f"/proc/{process_id}/stat", "rb") as stat:
            # the name of the program, in parentheses, may contain anything
            return stat.read().rpartition(b")")[2].split()[0] == b"T"
    return False


def _remove(fd: int, path: str) -> None:
    with contextlib.suppress(OSError):
        if _is_at(fd, path):
            os.unlink(path)


def _release(fd: int, path: str) -> None:
    if os.path.basename(path).startswith(_TEMPORARY):
        _remove(fd, path)
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child has the file open, too
    os.close(fd)
