"""Whether a directory and its files are their owner's alone.

The checksum of a stored file detects damage, not malice; and who could put a link into
the store could make allenfs read, write or remove any file of the user who mounts.

`require_own` checks the root of a store before it is used: nobody else can change what
is below. While it is used, the root may be replaced if others can write to its parent:
so every directory is checked again when something is stored (`require_private`), and
every file when it is opened (`open_own` and `DiskCache`).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from errno import EINVAL, ENOTDIR, EPERM
from typing import TYPE_CHECKING

from allenfs.errors import UnsafeStoreError
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def require_own(directory: Path) -> None:
    """Refuse a store that belongs to, or can be written by, another user.

    A directory that is missing or cannot be read is not refused: using it fails.
    Raises UnsafeStoreError.
    """
    try:
        found = directory.stat()
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode):
        return
    # `StoreDirectory.prepare` makes an empty directory 0700; `mkdir` gives 0775 where
    # each user has a group of their own.
    bad_bits = stat.S_IWOTH if _is_empty(directory) else stat.S_IWOTH | stat.S_IWGRP
    if found.st_uid != os.geteuid():
        why = f"belongs to {_user_name(found.st_uid)}: chown it"
    elif found.st_mode & bad_bits:
        mode = stat.filemode(found.st_mode)
        why = f"can be written by others ({mode}): chmod go-w it"
    else:
        return
    place = in_one_line(str(directory), 1000)
    msg = f"the store is not safe: {place} {why}, or use another with --cache-dir"
    raise UnsafeStoreError(msg)


def require_private(directory: Path) -> None:
    """Refuse a directory inside a store that other users own or can write to.

    Raises OSError if it is missing, no directory, another user's, or can be written by
    all.
    """
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(directory))
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise PermissionError(EPERM, "others own or can write it", str(directory))


def make_private(directory: Path) -> None:
    """Make a directory of a store if it is missing; raises as `require_private`."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    require_private(directory)


def open_own(path: Path, flags: int = 0) -> int:
    """Open a journal or lock to read and write, made if missing; return its descriptor.

    Raises OSError also if it is not a regular file, another user's, or a hard link:
    what is written would be in a file outside the store.
    """
    fd = os.open(path, _FLAGS | flags, 0o600)
    found = os.fstat(fd)
    is_file = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
    if is_file and found.st_uid == os.geteuid():
        return fd
    os.close(fd)
    raise OSError(EINVAL, "not a file of the store", str(path))


def is_at(fd: int, path: Path) -> bool:
    """Whether an open file still has its name: only then others open the same one."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def _is_empty(directory: Path) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"
