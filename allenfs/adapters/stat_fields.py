"""The C structures of `stat` and `statfs`, inode numbers, and the known machines."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any

from allenfs.errors import MountError

if TYPE_CHECKING:
    from allenfs.catalog.entries import Attributes

# The largest request of the kernel by default; programs read in blocks of this size.
_PREFERRED_READ_BYTES = 128 * 1024
_BLOCK_BYTES = 4096
_NAME_MAX = 255
_ROOT_INODE, _OTHERS = 1, 1 << 62
# Images in a listing: section number and ID.
_NUMBERED = re.compile("([0-9]{4})_")
# Both bindings have the right layout for these: tests compare it with the kernel's.
_MACHINES = ("x86_64", "aarch64")


def fill(fields: Any, attributes: Attributes, owner: tuple[int, int]) -> None:
    """Fill a ``struct stat``, which libfuse passes zeroed."""
    if attributes.is_dir:
        fields.st_mode, fields.st_nlink = stat.S_IFDIR | 0o555, 2
    elif attributes.is_link:
        fields.st_mode, fields.st_nlink = stat.S_IFLNK | 0o777, 1
    else:
        fields.st_mode, fields.st_nlink = stat.S_IFREG | 0o444, 1
    fields.st_uid, fields.st_gid = owner
    fields.st_size = attributes.size_bytes
    fields.st_blocks = attributes.blocks
    fields.st_blksize = _PREFERRED_READ_BYTES
    seconds, nanoseconds = divmod(attributes.modified_ns, 10**9)
    for time in (fields.st_atimespec, fields.st_mtimespec, fields.st_ctimespec):
        time.tv_sec, time.tv_nsec = seconds, nanoseconds


def inode(path: str, name: str = ".") -> int:
    """Return the inode number of a path from the kernel, or of a name in it.

    It depends only on the path, so it survives the kernel's caches and a remount:
    backup programs read a file again if its number has changed.

    `cp -r` and file managers open the files of a directory in inode order, and
    read-ahead needs files opened in listing order. So the images of a listing have
    ascending numbers, below those of all other names.
    """
    directory, last = os.path.split(os.path.normpath(os.path.join(path, name)))
    if not last:
        return _ROOT_INODE
    numbered = _NUMBERED.match(last)
    if numbered is None:
        return _OTHERS | _digest(os.path.join(directory, last), bits=62)
    # also 62 bits; up to 63 are positive in programs that use a signed number
    number = int(numbered[1]) << 17 | _digest(last, bits=17)
    return max(_ROOT_INODE + 1, _digest(directory, bits=31) << 31 | number)


def _digest(text: str, *, bits: int) -> int:
    digest = hashlib.blake2b(text.encode("latin-1"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 64 - bits


def statfs_fields(used_bytes: int, capacity_bytes: int) -> dict[str, int]:
    """Return the fields of a ``struct statvfs`` for the store."""
    free_blocks = max(0, capacity_bytes - used_bytes) // _BLOCK_BYTES
    return {
        "f_bsize": _BLOCK_BYTES,
        "f_frsize": _BLOCK_BYTES,
        "f_blocks": capacity_bytes // _BLOCK_BYTES,
        "f_bfree": free_blocks,
        "f_bavail": free_blocks,
        "f_namemax": _NAME_MAX,
    }


def require_known_machine() -> None:
    """Refuse a processor for which the bindings have a wrong ``struct stat``.

    They take any machine that they do not know for a 32-bit PC: files would have random
    modes and sizes.
    """
    machine, is_64_bit = os.uname().machine, sys.maxsize > 2**32
    if machine not in _MACHINES or not is_64_bit:
        bits = "" if is_64_bit else " with a 32-bit Python"
        msg = (
            f"the FUSE bindings of Python do not support {machine}{bits}: allenfs runs "
            f"on {' and '.join(_MACHINES)}"
        )
        raise MountError(msg)
