"""Mountpoints, looked at without touching a mount that may be dead."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from allenfs.errors import MountError

SUBTYPE = "allenfs"

_MOUNT_TABLE = Path("/proc/self/mountinfo")


def is_mounted(mountpoint: Path) -> bool:
    """Whether an allenfs, alive or dead, is what is mounted there last.

    Reads the mount table: touching a dead mount fails, or hangs.
    """
    wanted = os.fsencode(resolved(mountpoint))
    kind = b""
    for line in _MOUNT_TABLE.read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        place = re.sub(
            rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), fields.split()[4]
        )
        if place == wanted:
            kind = rest.split()[0]
    return kind == f"fuse.{SUBTYPE}".encode()


def check_mountpoint(mountpoint: Path, *, allow_nonempty: bool) -> None:
    """Look whether `mountpoint` can be mounted on.

    Raises
    ------
    MountError
        It is missing, no directory, not empty, mounted already, or a dead mount.
    """
    try:
        names = os.listdir(mountpoint)
    except FileNotFoundError as error:
        msg = f"mountpoint {mountpoint} does not exist: create it with mkdir"
        raise MountError(msg) from error
    except NotADirectoryError as error:
        msg = f"mountpoint {mountpoint} is not a directory"
        raise MountError(msg) from error
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            msg = (
                f"mountpoint {mountpoint} is a dead mount (Transport endpoint is not "
                f"connected): first run allenfs umount {mountpoint}"
            )
        else:
            msg = f"mountpoint {mountpoint}: {error.strerror}"
        raise MountError(msg) from error
    if is_mounted(mountpoint):
        msg = f"{mountpoint} is mounted already"
        raise MountError(msg)
    if names and not allow_nonempty:
        msg = f"mountpoint {mountpoint} is not empty"
        raise MountError(msg)


def resolved(mountpoint: Path) -> Path:
    """Absolute path without symlinks, without a `stat` of a mount that may be dead."""
    place = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    try:
        os.readlink(place)
    except OSError:
        return place
    return Path(os.path.realpath(place))
