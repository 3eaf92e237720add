"""Whether a store directory is its owner's alone: nobody else can have a hand in it.

The seal of a stored file tells damage, not malice. And who could put a link into the
store could have allenfs read, write or remove a file anywhere, as the user who mounts.

`require_own` looks through a store before it is used. While it is used, somebody may
remove it and put another in its place, if it lies where others can write: so every
directory is looked at again when something is kept (`require_private`), and every
file when it is opened (`signature_of`, in ``sealed.py``).
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
        It belongs to somebody else, others can write to it, or something in it is
        a link that leads out of it.
    """
    found = _look(directory, follow=True)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return
    # An empty directory is made 0700 when the store begins, see `Layout.prepare`;
    # a mode of 0775 is what `mkdir` gives where each user has a group of his own.
    bad_bits = stat.S_IWOTH if _is_empty(directory) else stat.S_IWOTH | stat.S_IWGRP
    _require_mine(directory, found, bad_bits)
    for path in _parts(directory):
        _require_no_trick(path)


def require_private(directory: Path) -> None:
    """Refuse a directory of a store into which others can have put something.

    Raises
    ------
    OSError
        It is not there, no directory, somebody else's, or can be written by all.
    """
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(directory))
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise PermissionError(EPERM, "others own or can write it", str(directory))


def make_private(directory: Path) -> None:
    """Make a directory of a store, where it is missing; raises as `require_private`."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    require_private(directory)


def _parts(directory: Path) -> Iterator[Path]:
    """Name what the store consists of, down to what thousands of files are in."""
    yield from (directory / name for name in _FILES + _TREES)
    for tree in ("images", "records"):
        for path in _listed(directory / tree):
            yield path
            yield from _listed(path)


def _listed(directory: Path) -> list[Path]:
    # pathlib's glob raises below a folder that cannot be read
    with contextlib.suppress(OSError):
        return list(directory.iterdir())
    return []


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
    _require_mine(path, found, stat.S_IWOTH)
    if path.name in _FILES and not stat.S_ISREG(found.st_mode):
        _refuse(path, "is no file: remove it")
    if path.name == "journal" and found.st_nlink > 1:  # it is written to
        _refuse(path, "has a second name (a hard link): remove it")


def _require_mine(path: Path, found: os.stat_result, bad_bits: int) -> None:
    if found.st_uid != os.geteuid():
        _refuse(path, f"belongs to {_name(found.st_uid)}: chown it")
    if found.st_mode & bad_bits:
        mode = stat.filemode(found.st_mode)
        _refuse(path, f"can be written by others ({mode}): chmod go-w it")


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
    place = in_one_line(str(path), 1000)
    msg = f"the store is not safe: {place} {why}, or use another with --cache-dir"
    raise UnsafeStoreError(msg)
