"""Mountpoints, looked at without touching a mount that may be dead."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from allenfs.adapters.serving import PID_ATTRIBUTE
from allenfs.errors import MountError
from allenfs.mount import mount_table
from allenfs.service import threads
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allenfs.mount.mount_table import Mount

log = safe_logger(__name__)

_Answer = TypeVar("_Answer")

SUBTYPE = "allenfs"

_KIND = f"fuse.{SUBTYPE}"
_ANSWER_S = 2.0
# Recovering a dead mount takes 10 ms.
_LOCK_S, _LOOK_S = 2.0, 0.01
_MNT_DETACH = 2  # umount(2)


class Refusal(NamedTuple):
    """Why a mount could not be detached.

    Attributes
    ----------
    is_busy : bool
        Somebody uses it: it can be detached lazily.
    """

    said: str
    is_busy: bool


def is_mounted(mountpoint: Path) -> bool:
    """Whether an allenfs, alive or dead, is what is mounted there last.

    Reads the mount table: touching a dead mount fails, or hangs.
    """
    return mount_at(mountpoint) is not None


def mount_at(mountpoint: Path) -> Mount | None:
    """Return the allenfs that is mounted there last, alive or dead."""
    mount = _table().get(resolved(mountpoint))
    return mount if mount is not None and mount.kind == _KIND else None


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
    mount = mount_at(mountpoint)
    return mount.source if mount else None


def own_mounts() -> list[Path]:
    """Return those of `mounted` that this user has mounted, in order of their names."""
    table = _table()
    return sorted(place for place in mounted() if table[place].owner == os.geteuid())


def _table() -> dict[Path, Mount]:
    """Return what is mounted where last."""
    return {mount.place: mount for mount in mount_table.mounts()}


def serving_pid(mountpoint: Path) -> int | None:
    """Ask the mount for the process that serves it, by its number there.

    None where it says nothing within 2 s: it is dead, or stopped. The number is of the
    PID namespace of that process, and may be another process here.
    """
    said = _answer(mountpoint)
    return said if isinstance(said, int) else None


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

    Raises
    ------
    ProcessLimitError
    """
    answers: list[_Answer | Exception] = []

    def answer() -> None:
        try:
            answers.append(ask())
        except (OSError, ValueError) as error:
            answers.append(error)

    # in a thread that may be left behind: a stopped daemon never answers
    asking = threading.Thread(target=answer, daemon=True)
    threads.start(asking)
    asking.join(_ANSWER_S)
    return answers[0] if answers else None


def detach(mountpoint: Path, *, lazily: bool = False) -> Refusal | None:
    """Take the mount out of the tree; return what was said against it."""
    place = resolved(mountpoint)
    if os.geteuid() == 0:
        # not umount(8): it looks at the mountpoint first, and a stopped daemon
        # does not answer
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(place), _MNT_DETACH if lazily else 0) == 0:
            return None
        error = ctypes.get_errno()
        return Refusal(f"{mountpoint}: {os.strerror(error)}", error == errno.EBUSY)
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    if helper is None:
        return Refusal("neither fusermount3 nor fusermount is installed", is_busy=False)
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [helper, "-uz" if lazily else "-u", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        said = f"{helper} cannot be started: {error.strerror}"
        return Refusal(said, is_busy=False)
    if done.returncode == 0:
        return None
    said = done.stderr.strip() or f"{mountpoint} cannot be unmounted"
    return Refusal(said, is_busy=os.strerror(errno.EBUSY) in said)


@contextlib.contextmanager
def claimed(mountpoint: Path, *, allow_nonempty: bool) -> Iterator[Callable[[], None]]:
    """Hold a mountpoint that can be mounted on, against others that want to.

    What a process that was killed has left mounted there is cleared away.

    Yields
    ------
    callable
        Lets go of it once it is mounted: a process that outlives its mount there, for
        one elsewhere, keeps nobody from mounting again.

    Raises
    ------
    MountError
        It is missing, no directory, not empty, mounted already, or being
        mounted on by somebody else.
    """
    clear_dead(mountpoint)
    _require_unmounted(mountpoint)
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
    with contextlib.ExitStack() as held:
        held.callback(os.close, directory)
        if os.listdir(directory) and not allow_nonempty:
            msg = f"mountpoint {mountpoint} is not empty"
            raise MountError(msg)
        _lock(directory, mountpoint)
        _require_unmounted(mountpoint)  # by who held it a moment ago
        yield held.close


def _require_unmounted(mountpoint: Path) -> None:
    if is_mounted(mountpoint):
        answers = serving_pid(mountpoint) is not None
        but = (
            "" if answers else f", and does not answer: see allenfs umount {mountpoint}"
        )
        msg = f"{mountpoint} is mounted already{but}"
        raise MountError(msg)


def clear_dead(mountpoint: Path) -> None:
    """Unmount what a process that has ended left mounted there.

    Raises
    ------
    MountError
        It cannot be.
    """
    if not is_mounted(mountpoint):
        return
    with _alone(mountpoint):
        # one may lie below another
        while is_mounted(mountpoint) and is_dead(mountpoint):
            refusal = detach(mountpoint, lazily=True)
            if refusal:
                msg = (
                    f"{mountpoint} is a dead mount (Transport endpoint is not "
                    f"connected), and cannot be cleared away: {refusal.said}"
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
        msg = f"another allenfs is just mounting on {mountpoint}"
        raise MountError(msg) from error


def resolved(mountpoint: Path) -> Path:
    """Absolute path without symlinks, without a `stat` of a mount that may be dead."""
    place = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    try:
        os.readlink(place)
    except OSError:
        return place
    return Path(os.path.realpath(place))
