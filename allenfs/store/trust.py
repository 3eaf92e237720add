"""Whether a directory is its owner's alone.

The checksum of a stored file detects damage, not malice; and who could put a link into
the store could make allenfs read, write or remove any file of the user who mounts.

`require_own` checks the root of a store before it is used: nobody else can change what
is below. While it is used, the root may be replaced if others can write to its parent:
so every directory is checked again when something is stored (`require_private`), and
every file when it is opened (`DiskCache`).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from errno import ENOTDIR, EPERM
from typing import TYPE_CHECKING

from allenfs.errors import UnsafeStoreError
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from pathlib import Path


def require_own(directory: Path) -> None:
    """Refuse a store that belongs to, or can be written by, another user.

    A directory that is missing or cannot be read is not refused: using it fails.

    Raises
    ------
    UnsafeStoreError
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
        _refuse(directory, f"belongs to {_user_name(found.st_uid)}: chown it")
    if found.st_mode & bad_bits:
        mode = stat.filemode(found.st_mode)
        _refuse(directory, f"can be written by others ({mode}): chmod go-w it")


def require_private(directory: Path) -> None:
    """Refuse a directory inside a store that other users own or can write to.

    Raises
    ------
    OSError
        It is missing, no directory, another user's, or can be written by all.
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


def _refuse(path: Path, why: str) -> None:
    place = in_one_line(str(path), 1000)
    msg = f"the store is not safe: {place} {why}, or use another with --cache-dir"
    raise UnsafeStoreError(msg)
