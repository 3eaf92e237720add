"""What `stat` and `statfs` tell, in C's fields, and whether a binding knows these."""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING, Any

from allenfs.errors import MountError

if TYPE_CHECKING:
    from allenfs.catalog.entries import Attributes

# Programs that go by st_blksize then read what the kernel asks at most at once.
_PREFERRED_READ_BYTES = 128 * 1024
_BLOCK_BYTES = 4096
_NAME_MAX = 255
# A file that is there wherever a program is mounting.
_A_FILE = "/proc/self/exe"


def fill(fields: Any, attributes: Attributes, owner: tuple[int, int]) -> None:
    """Fill a ``struct stat``, which libfuse hands over as zeros."""
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


def statfs_fields(used_bytes: int, capacity_bytes: int) -> dict[str, int]:
    """Return the fields of a ``struct statvfs`` of a store."""
    free_blocks = max(0, capacity_bytes - used_bytes) // _BLOCK_BYTES
    return {
        "f_bsize": _BLOCK_BYTES,
        "f_frsize": _BLOCK_BYTES,
        "f_blocks": capacity_bytes // _BLOCK_BYTES,
        "f_bfree": free_blocks,
        "f_bavail": free_blocks,
        "f_namemax": _NAME_MAX,
    }


def check_layout(fields: Any) -> None:
    """Compare a binding's ``struct stat`` with what this machine's C library fills.

    A binding has a table of some machines, and takes all others for 32-bit PCs:
    files would come with random modes and sizes.

    Parameters
    ----------
    fields : ctypes.Structure
        The binding's, empty; it is filled.

    Raises
    ------
    MountError
        The fields are not where the C library has them.
    """
    libc = ctypes.CDLL(None)
    # glibc before 2.33 has neither outside of programs
    look = getattr(libc, "stat64", None) or getattr(libc, "stat", None)
    if look is None:
        is_right = os.uname().machine in ("x86_64", "aarch64")
    else:
        # a wrong layout may be the shorter one
        room = (ctypes.c_char * (ctypes.sizeof(fields) + 256)).from_buffer(
            bytearray(ctypes.sizeof(fields) + 256)
        )
        look(_A_FILE.encode(), room)
        ctypes.memmove(ctypes.byref(fields), room, ctypes.sizeof(fields))
        is_right = _as_found(fields) == _as_it_is()
    if not is_right:
        msg = (
            "the FUSE bindings of Python do not know the processor of this machine "
            f"({os.uname().machine}): allenfs runs on x86_64 and aarch64"
        )
        raise MountError(msg)


def _as_found(fields: Any) -> tuple[int, ...]:
    return (
        *(fields.st_mode, fields.st_nlink, fields.st_uid, fields.st_gid),
        *(fields.st_size, fields.st_blocks, fields.st_blksize),
        *(fields.st_mtimespec.tv_sec, fields.st_mtimespec.tv_nsec),
    )


def _as_it_is() -> tuple[int, ...]:
    found = os.stat(_A_FILE)
    return (
        *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid),
        *(found.st_size, found.st_blocks, found.st_blksize),
        *divmod(found.st_mtime_ns, 10**9),
    )
