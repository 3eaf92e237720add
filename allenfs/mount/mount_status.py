"""What a mount tells of itself, asked from another process."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

from allenfs.errors import StatusError
from allenfs.model import tree
from allenfs.mount.mountpoint import in_time, is_mounted
from allenfs.text import printable

if TYPE_CHECKING:
    from pathlib import Path

# A page has 2 kB, and 400 bytes for each download under way.
_MAX_BYTES = 2**24


def read(mountpoint: Path) -> bytes:
    """Return the ``status.json`` of a mount.

    Raises
    ------
    StatusError
        It gives none, and why: nothing is mounted, it is dead, stopped, somebody
        else's, or of another version.
    """
    if not is_mounted(mountpoint):
        msg = f"no allenfs is mounted on {_shown(mountpoint)}"
        raise StatusError(msg)
    said = in_time(lambda: _read(mountpoint / tree.OWN_DIRECTORY / tree.STATUS_FILE))
    if isinstance(said, bytes):
        return said
    msg = f"{_shown(mountpoint)} {_why(said, mountpoint)}"
    raise StatusError(msg)


def parse(data: bytes, mountpoint: Path) -> dict[str, Any]:
    """Return what a mount has told.

    Raises
    ------
    StatusError
        It is no JSON object in ASCII.
    """
    try:
        status = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict):
        raise unreadable(mountpoint)
    return status


def unreadable(mountpoint: Path) -> StatusError:
    """Return the error for a status that is none."""
    return StatusError(
        f"{_shown(mountpoint)} tells a status that this version cannot read"
    )


def _read(file: Path) -> bytes:
    with open(file, "rb", buffering=0) as opened:
        data = bytearray()
        while chunk := opened.read(_MAX_BYTES - len(data)):
            data += chunk
    if len(data) == _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return bytes(data)


def _why(said: Exception | None, mountpoint: Path) -> str:
    if said is None:
        return "does not answer: its process is stopped, or hangs"
    number = said.errno if isinstance(said, OSError) else None
    if number == errno.ENOTCONN:
        return (
            f"is a dead mount: clear it away with allenfs umount {_shown(mountpoint)}"
        )
    if number in (errno.EACCES, errno.EPERM):
        return "is another user's, and mounted without --allow-other"
    if number == errno.ENOENT:
        return "tells no status: another version of allenfs serves it"
    return f"tells no status: {said}"


def _shown(mountpoint: Path) -> str:
    return printable(str(mountpoint))
