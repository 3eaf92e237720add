"""Mountpoints, looked at without touching a mount that may be dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBTYPE = "allenfs"
PID_ATTRIBUTE = "user.allenfs.pid"

_ANSWER_S = 2.0

_MOUNT_TABLE = Path("/proc/self/mountinfo")


def is_mounted(mountpoint: Path) -> bool:
    """Whether an allenfs, alive or dead, is what is mounted there last.

    Reads the mount table: touching a dead mount fails, or hangs.
    """
    return resolved(mountpoint) in mounted()


def mounted() -> list[Path]:
    """Return where an allenfs is mounted and not covered by another mount."""
    kinds: dict[bytes, bytes] = {}
    for line in _MOUNT_TABLE.read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        place = re.sub(
            rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), fields.split()[4]
        )
        kinds[place] = rest.split()[0]
    wanted = f"fuse.{SUBTYPE}".encode()
    return [Path(os.fsdecode(place)) for place in kinds if kinds[place] == wanted]


def serving_pid(mountpoint: Path) -> int | None:
    """Ask the mount for the process that serves it.

    None where it says nothing within 2 s: it is dead, or stopped.
    """
    answers: list[int] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            answers.append(int(os.getxattr(mountpoint, PID_ATTRIBUTE)))

    # in a thread that may be left behind: a stopped daemon never answers
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    return answers[0] if answers else None


@contextlib.contextmanager
def claimed(mountpoint: Path, *, allow_nonempty: bool) -> Iterator[None]:
    """Hold a mountpoint that can be mounted on, against others that want to.

    Raises
    ------
    MountError
        It is missing, no directory, not empty, mounted already, a dead mount,
        or being mounted on by somebody else.
    """
    if is_mounted(mountpoint):
        if serving_pid(mountpoint) is not None:
            msg = f"{mountpoint} is mounted already"
        else:
            msg = (
                f"{mountpoint} is a dead mount (Transport endpoint is not connected): "
                f"first run allenfs umount {mountpoint}"
            )
        raise MountError(msg)
    try:
        directory = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        msg = f"mountpoint {mountpoint} does not exist: create it with mkdir"
        raise MountError(msg) from error
    except NotADirectoryError as error:
        msg = f"mountpoint {mountpoint} is not a directory"
        raise MountError(msg) from error
    except OSError as error:
        msg = f"mountpoint {mountpoint}: {error.strerror}"
        raise MountError(msg) from error
    try:
        if os.listdir(directory) and not allow_nonempty:
            msg = f"mountpoint {mountpoint} is not empty"
            raise MountError(msg)
        _lock(directory, mountpoint)
        yield
    finally:
        os.close(directory)


def _lock(directory: int, mountpoint: Path) -> None:
    """Lock the directory below a mount, as long as the descriptor is open."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"{mountpoint} is mounted already, or just being mounted"
        raise MountError(msg) from error


def resolved(mountpoint: Path) -> Path:
    """Absolute path without symlinks, without a `stat` of a mount that may be dead."""
    place = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    try:
        os.readlink(place)
    except OSError:
        return place
    return Path(os.path.realpath(place))
