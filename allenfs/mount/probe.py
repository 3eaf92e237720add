"""Is a mount alive, and what is its status? A stopped daemon blocks no caller."""

from __future__ import annotations

import enum
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from allenfs.adapters.processes import PID_ATTRIBUTE
from allenfs.errors import StatusError
from allenfs.filesystem.status import MountStatus
from allenfs.model import tree
from allenfs.mount.mount_table import is_mounted
from allenfs.service.single_flight import start_thread
from allenfs.text import printable

_Answer = TypeVar("_Answer")

# A live mount answers within a millisecond.
_TIMEOUT_S = 2.0
# The status takes 2 kB, and 400 bytes for each running download.
_MAX_STATUS_BYTES = 2**24


class Liveness(enum.Enum):
    """Whether a mount answers; each value completes the sentence "the mount ..."."""

    ALIVE = "answers"
    DEAD = "is a dead mount: its process has ended"
    SILENT = "does not answer: its process is stopped or hangs"
    FOREIGN = "belongs to another user and was mounted without --allow-other"


def liveness(mountpoint: Path) -> Liveness:
    """Ask a mount for its process; takes at most 2 s."""
    return liveness_of(_ask_pid(mountpoint))


def serving_pid(mountpoint: Path) -> int | None:
    """Return the process that serves a mount, or None if it does not answer.

    The PID belongs to the PID namespace of that process; here, it may be another one.
    """
    reply = _ask_pid(mountpoint)
    return reply if isinstance(reply, int) else None


def _ask_pid(mountpoint: Path) -> int | Exception | None:
    return ask(lambda: int(os.getxattr(mountpoint, PID_ATTRIBUTE)))


def liveness_of(reply: object) -> Liveness:
    """Derive from what `ask` returned whether the mount is alive."""
    if reply is None:
        return Liveness.SILENT
    match reply.errno if isinstance(reply, OSError) else None:
        case errno.ENOTCONN:
            return Liveness.DEAD
        case errno.EACCES | errno.EPERM:
            return Liveness.FOREIGN
        case _:
            return Liveness.ALIVE


def ask(question: Callable[[], _Answer]) -> _Answer | Exception | None:
    """Call a function that uses a mount; None if it takes longer than 2 s.

    Returns the result of `question`, or the OSError or ValueError that it raised.
    """
    replies: list[_Answer | Exception] = []

    def reply() -> None:
        try:
            replies.append(question())
        except (OSError, ValueError) as error:
            replies.append(error)

    # if the daemon is stopped, this thread stays blocked
    asking = threading.Thread(target=reply, daemon=True)
    start_thread(asking)
    asking.join(_TIMEOUT_S)
    return replies[0] if replies else None


def status_json(mountpoint: Path) -> bytes:
    """Return the ``status.json`` of a mount, unchecked.

    Raises StatusError if nothing is mounted there, or the mount does not answer.
    """
    shown = printable(str(mountpoint))
    if not is_mounted(mountpoint):
        raise StatusError(f"no allenfs is mounted on {shown}")
    reply = ask(lambda: _read(mountpoint / tree.OWN_DIRECTORY / tree.STATUS_FILE))
    if isinstance(reply, bytes):
        return reply
    found = liveness_of(reply)
    msg = f"{shown} {found.value}"
    if found is Liveness.DEAD:
        msg += f"; run allenfs umount {shown}"
    elif isinstance(reply, FileNotFoundError):
        msg = f"{shown} has no status: it is served by another version of allenfs"
    elif found is Liveness.ALIVE:
        msg = f"{shown} has no readable status: {reply}"
    raise StatusError(msg)


def status(mountpoint: Path) -> MountStatus:
    """Return the status of a mount; raises StatusError also if it is unreadable."""
    try:
        return MountStatus.from_json(status_json(mountpoint))
    except ValueError as error:
        raise unreadable(mountpoint) from error


def unreadable(mountpoint: Path) -> StatusError:
    """Return the error for a status in an unknown format."""
    shown = printable(str(mountpoint))
    return StatusError(f"this version of allenfs cannot read the status of {shown}")


def _read(file: Path) -> bytes:
    with open(file, "rb") as opened:
        data = opened.read(_MAX_STATUS_BYTES)
    if len(data) == _MAX_STATUS_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return data
