"""Open files of a store: flags, locks, and what a forked child does with them.

A ``flock`` lock belongs to the open file, which a forked child shares: it would keep
the locks of a parent that was killed. So the child replaces every file that may be
locked by /dev/null. It never unlocks or removes one: the parent still uses them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import threading
from pathlib import Path

# Only Linux has it. Elsewhere, reading sets the access time, as `DiskCache._touch` does
# anyway.
NO_ATIME = getattr(os, "O_NOATIME", 0)
# Errnos of opening a link with O_NOFOLLOW, or a socket; they depend on the system.
NOT_A_FILE = (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EOPNOTSUPP)
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK

# Held from opening a file until its descriptor is in the set, and while forking.
# Otherwise a child may have descriptors that are not in its set: 6 of 500 children did,
# beside four threads that polled for locks. Reentrant for signal handlers that fork.
_opening = threading.RLock()
_lockable_fds: set[int] = set()


class OpenFile:
    """An open file, closed with its last reference.

    It is not closed earlier at process exit: threads could then write to another file
    that reuses the descriptor.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class LockableFile(OpenFile):
    """An open file that a forked child gives up; unlock it before it is closed."""

    __slots__ = ()

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        _lockable_fds.add(fd)

    def __del__(self) -> None:
        _lockable_fds.discard(self.fd)
        super().__del__()


def open_lockable(path: Path, flags: int) -> OpenFile:
    """Open a file to lock it; raises OSError."""
    with _opening:
        return LockableFile(os.open(path, flags | os.O_CLOEXEC, 0o600))


def keep_in_children(file: OpenFile) -> None:
    """Let forked children read a file, whose lock is not used any more."""
    _lockable_fds.discard(file.fd)


def _give_up_locks() -> None:
    try:
        null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        while _lockable_fds:  # the garbage collector may remove some meanwhile
            os.dup2(null_fd, _lockable_fds.pop(), inheritable=False)
        os.close(null_fd)
    finally:
        _opening.release()


# At import, not at the first use: a fork in progress would release a lock that it has
# not acquired, and one child of six hung.
os.register_at_fork(
    before=_opening.acquire,
    after_in_parent=_opening.release,
    after_in_child=_give_up_locks,
)


def open_own(path: Path, flags: int = 0) -> OpenFile:
    """Open a journal or lock for reading and writing; create it if missing.

    Raises OSError also if it is not a regular file, another user's, or a hard link:
    writes would go to a file outside the store.
    """
    file = open_lockable(path, _OPEN_FLAGS | flags)
    found = os.fstat(file.fd)
    is_file = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
    if not is_file or found.st_uid != os.geteuid():
        raise OSError(errno.EINVAL, "not a file of the store", str(path))
    return file


def is_at(file: OpenFile, path: Path) -> bool:
    """Whether an open file still has its name, so that others open the same file."""
    try:
        return os.path.samestat(os.fstat(file.fd), path.lstat())
    except FileNotFoundError:
        return False


def try_lock(file: OpenFile) -> bool:
    """Lock a file if it is free; the kernel unlocks it when the process ends."""
    try:
        fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: OpenFile) -> None:
    """Unlock a file at once: a forked child may have it open, too."""
    with contextlib.suppress(OSError):
        fcntl.flock(file.fd, fcntl.LOCK_UN)


def unnamed(name: str) -> OpenFile:
    """Return a new file in memory, or without a name where the system has none."""
    if hasattr(os, "memfd_create"):
        return OpenFile(os.memfd_create(name))
    with tempfile.TemporaryFile() as file:
        return OpenFile(os.dup(file.fileno()))


def try_file(directory: Path, size_bytes: int) -> None:
    """Write an unnamed file of this size, as if storing an image; raises OSError."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(size_bytes))
        file.flush()
        os.fsync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.fcntl(file, fcntl.F_SETFL, NO_ATIME)  # only the owner may
