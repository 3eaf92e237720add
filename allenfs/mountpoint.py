"""Mountpoints, looked at without touching a mount that may be dead."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from allenfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

SUBTYPE = "allenfs"
PID_ATTRIBUTE = "user.allenfs.pid"

_KIND = f"fuse.{SUBTYPE}"
_ANSWER_S = 2.0
# Recovering a dead mount takes 10 ms.
_LOCK_S, _LOOK_S = 2.0, 0.01
_MNT_DETACH = 2  # umount(2)

_MOUNT_TABLE = Path("/proc/self/mountinfo")


class _Mount(NamedTuple):
    kind: str
    source: str
    owner: int | None  # the user who mounted it, where it is FUSE


def is_mounted(mountpoint: Path) -> bool:
    """Whether an allenfs, alive or dead, is what is mounted there last.

    Reads the mount table: touching a dead mount fails, or hangs.
    """
    return resolved(mountpoint) in mounted()


def mounted() -> list[Path]:
    """Return where an allenfs is mounted and not covered by another mount."""
    return [place for place, mount in _table().items() if mount.kind == _KIND]


def is_automount(mountpoint: Path) -> bool:
    """Whether the kernel waits there, to have something mounted when it is needed.

    Whoever opens it waits for that, but for the process group of who mounts.
    """
    mount = _table().get(resolved(mountpoint))
    return mount is not None and mount.kind == "autofs"


def source(mountpoint: Path) -> str | None:
    """Return what the mount table calls the allenfs that is mounted there, if any."""
    mount = _table().get(resolved(mountpoint))
    return mount.source if mount and mount.kind == _KIND else None


def own_mounts() -> list[Path]:
    """Return those of `mounted` that this user has mounted, in order of their names."""
    table = _table()
    return sorted(place for place in mounted() if table[place].owner == os.geteuid())


def _table() -> dict[Path, _Mount]:
    """Read proc_pid_mountinfo(5): what is mounted where last."""
    mounts: dict[Path, _Mount] = {}
    for line in _MOUNT_TABLE.read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        place = _unescaped(fields.split()[4])
        kind, source, *_, options = rest.split(b" ")
        owner = re.search(rb"\buser_id=(\d+)", options)
        mounts[Path(place)] = _Mount(
            kind.decode("latin-1"),
            _unescaped(source),
            int(owner[1]) if owner else None,
        )
    return mounts


def _unescaped(field: bytes) -> str:
    return os.fsdecode(
        re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
    )


def serving_pid(mountpoint: Path) -> int | None:
    """Ask the mount for the process that serves it.

    None where it says nothing within 2 s: it is dead, or stopped. None, too, where it
    names a process of another user than who mounted it: that one would be ended by
    whoever unmounts.
    """
    said = _answer(mountpoint)
    if not isinstance(said, int):
        return None
    mount = _table().get(resolved(mountpoint))
    try:
        owner = os.stat(f"/proc/{said}").st_uid
    except OSError:
        return None
    return said if mount is not None and owner == mount.owner else None


def is_dead(mountpoint: Path) -> bool:
    """Whether the process that served a mount has ended, and left it behind."""
    said = _answer(mountpoint)
    return isinstance(said, OSError) and said.errno == errno.ENOTCONN


def _answer(mountpoint: Path) -> int | Exception | None:
    """Return the process that serves, what was raised instead, or None for nothing."""
    return in_time(lambda: int(os.getxattr(mountpoint, PID_ATTRIBUTE)))


def in_time(ask: Callable[[], _Answer]) -> _Answer | Exception | None:
    """Ask a mount something; None where it says nothing within 2 s.

    Returns
    -------
    What `ask` returned, or the OSError or ValueError that it raised.
    """
    answers: list[_Answer | Exception] = []

    def answer() -> None:
        try:
            answers.append(ask())
        except (OSError, ValueError) as error:
            answers.append(error)

    # in a thread that may be left behind: a stopped daemon never answers
    asking = threading.Thread(target=answer, daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    return answers[0] if answers else None


def detach(mountpoint: Path, *, lazily: bool = False) -> str | None:
    """Take the mount out of the tree; return what was said against it."""
    place = resolved(mountpoint)
    if os.geteuid() == 0:
        # not umount(8): it looks at the mountpoint first, and a stopped daemon
        # does not answer
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(place), _MNT_DETACH if lazily else 0) == 0:
            return None
        return f"{mountpoint}: {os.strerror(ctypes.get_errno())}"
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    if helper is None:
        return "neither fusermount3 nor fusermount is installed"
    done = subprocess.run(  # noqa: S603 - no shell
        [helper, "-uz" if lazily else "-u", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip() or "it cannot be"


@contextlib.contextmanager
def claimed(mountpoint: Path, *, allow_nonempty: bool) -> Iterator[None]:
    """Hold a mountpoint that can be mounted on, against others that want to.

    What a process that was killed has left mounted there is cleared away.

    Raises
    ------
    MountError
        It is missing, no directory, not empty, mounted already, or being
        mounted on by somebody else.
    """
    if is_mounted(mountpoint):
        with _alone(mountpoint):
            _clear_dead(mountpoint)
    if is_mounted(mountpoint):
        answers = serving_pid(mountpoint) is not None
        but = (
            "" if answers else f", and does not answer: see allenfs umount {mountpoint}"
        )
        msg = f"{mountpoint} is mounted already{but}"
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


def _clear_dead(mountpoint: Path) -> None:
    # one may lie below another
    while is_mounted(mountpoint) and is_dead(mountpoint):
        refusal = detach(mountpoint, lazily=True)
        if refusal:
            msg = (
                f"{mountpoint} is a dead mount (Transport endpoint is not connected), "
                f"and cannot be cleared away: {refusal}"
            )
            raise MountError(msg)
        log.info("cleared a dead mount away from %s", mountpoint)


@contextlib.contextmanager
def _alone(mountpoint: Path) -> Iterator[None]:
    """Look and detach in one step: the second would detach what the first mounts.

    By a lock of the directory that the mountpoint is in; it cannot be reached itself.
    """
    try:
        parent = os.open(resolved(mountpoint).parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield  # not to be read: nobody but its owner gets here
        return
    try:
        ends_s = time.monotonic() + _LOCK_S
        while time.monotonic() < ends_s:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOOK_S)
        else:
            msg = f"{mountpoint} is a dead mount, and somebody else is at it"
            raise MountError(msg)
        yield
    finally:
        os.close(parent)


def _lock(directory: int, mountpoint: Path) -> None:
    """Lock the directory below a mount, as long as the descriptor is open."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = (
            f"{mountpoint} is held by another allenfs: it just mounts there, or was "
            "stopped before it ended"
        )
        raise MountError(msg) from error


def resolved(mountpoint: Path) -> Path:
    """Absolute path without symlinks, without a `stat` of a mount that may be dead."""
    place = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    try:
        os.readlink(place)
    except OSError:
        return place
    return Path(os.path.realpath(place))
