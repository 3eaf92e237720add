"""Whether a store directory is its owner's alone: nobody else can have a hand in it.

The seal of a stored file tells damage, not malice. And who could put a link into the
store could have allenfs read, write or remove a file anywhere, as the user who mounts.
"""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from allenfs.errors import UnsafeStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILES = ("CACHEDIR.TAG", "journal", "lock")
_TREES = ("images", "incoming", "records")


def require_own(directory: Path) -> None:
    """Refuse a store that is, or may be, somebody else's work.

    A directory that is not there, or cannot be looked at, is trouble with the store,
    and none of safety.

    Raises
    ------
    UnsafeStoreError
        It belongs to somebody else, others can write to it or put another in its
        place, or something in it is a link that leads out of it.
    """
    found = _look(directory, follow=True)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return
    _require_mine(directory, found)
    # An empty directory is made 0700 when the store begins, see `Layout.prepare`;
    # a mode of 0775 is what `mkdir` gives where each user has a group of his own.
    bad_bits = stat.S_IWOTH if _is_empty(directory) else stat.S_IWOTH | stat.S_IWGRP
    if found.st_mode & bad_bits:
        mode = stat.filemode(found.st_mode)
        _refuse(directory, f"can be written by others ({mode}): chmod 700 it")
    above = _look(directory.resolve().parent, follow=True)
    if (
        above is not None
        and above.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
    ):
        _refuse(directory, "is in a directory that all can write to: move it")
    for path in _parts(directory):
        _require_no_trick(path)


def _parts(directory: Path) -> Iterator[Path]:
    """Name what the store consists of, down to what thousands of files are in."""
    yield from (directory / name for name in _FILES + _TREES)
    for tree in ("images", "records"):
        yield from (directory / tree).glob("*")
        yield from (directory / tree).glob("*/*")


def _is_empty(directory: Path) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False


def _require_no_trick(path: Path) -> None:
    found = _look(path, follow=False)
    if found is None:
        return
    if stat.S_ISLNK(found.st_mode):
        _refuse(path, "is a symbolic link: remove it")
    _require_mine(path, found)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        _refuse(path, "has a second name (a hard link): remove it")


def _require_mine(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        _refuse(path, f"belongs to {_name(found.st_uid)}: chown it")


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def _look(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError:
        return None


def _refuse(path: Path, why: str) -> None:
    msg = f"the store is not safe: {path} {why}, or use another with --cache-dir"
    raise UnsafeStoreError(msg)
