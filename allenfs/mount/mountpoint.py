"""Claim a mountpoint, clear a dead mount from it, and unmount it.

Unmounting works whether or not the daemon responds.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allenfs.adapters.processes import PROCESS_ATTRIBUTE, Process
from allenfs.errors import MountError, UnmountError
from allenfs.mount.mount_table import (
    is_mounted,
    mount_at,
    mounts,
    other_mount_of,
    resolved,
)
from allenfs.mount.probe import Liveness, ask, liveness, liveness_of, serving_pid
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.mount.mount_table import Mount

log = safe_logger(__name__)

# 2 s; clearing a dead mount takes 10 ms.
_LOCK_ATTEMPTS, _POLL_S = 200, 0.01
# Unmounting takes at most 5 s: 2 to identify the daemon, 2 for it to end.
_END_S = 2.0
_MNT_DETACH = 2  # umount(2)


@contextlib.contextmanager
def claimed(mountpoint: Path, *, allow_nonempty: bool) -> Iterator[Callable[[], None]]:
    """Lock a mountpoint against other processes that mount on it.

    A dead mount is cleared first. Yields a function that releases the lock, to be
    called once mounted: the process may outlive this mount if it is also mounted
    elsewhere, and must not block a new mount here.

    Raises MountError if the mountpoint is missing, not a directory, not empty, already
    mounted, or locked by another process.
    """
    clear_dead(mountpoint)
    _require_unmounted(mountpoint)
    with contextlib.ExitStack() as stack:
        try:
            directory = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, directory)
            if os.listdir(directory) and not allow_nonempty:
                raise MountError(f"mountpoint {mountpoint} is not empty")
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reasons = {
                errno.ENOENT: " does not exist: create it with mkdir",
                errno.ENOTDIR: " is not a directory",
                errno.EAGAIN: ": another allenfs is mounting on it",
            }
            reason = reasons.get(error.errno or 0, f": {error.strerror}")
            raise MountError(f"mountpoint {mountpoint}{reason}") from error
        _require_unmounted(mountpoint)  # another process may have mounted and unlocked
        yield stack.close


def _require_unmounted(mountpoint: Path) -> None:
    if is_mounted(mountpoint):
        msg = f"{mountpoint} is already mounted"
        if serving_pid(mountpoint) is None:
            msg += f" and does not answer: run allenfs umount {mountpoint}"
        raise MountError(msg)


def clear_dead(mountpoint: Path) -> None:
    """Unmount the dead mount of a process that has ended; raises MountError."""
    if not is_mounted(mountpoint):
        return
    with _locked_parent(mountpoint):
        # there may be several, one below another
        while is_mounted(mountpoint) and liveness(mountpoint) is Liveness.DEAD:
            refusal = detach(mountpoint, lazily=True)
            if refusal:
                raise MountError(
                    f"{mountpoint} is a dead mount (Transport endpoint is not "
                    f"connected) and cannot be unmounted: {refusal.reason}"
                )
            log.info("cleared a dead mount from %s", mountpoint)


@contextlib.contextmanager
def _locked_parent(mountpoint: Path) -> Iterator[None]:
    """Lock out other processes between the check for a dead mount and its unmounting.

    Otherwise one could unmount another's new mount. The parent directory is
    locked, because a dead mountpoint cannot be opened.
    """
    try:
        parent = os.open(resolved(mountpoint).parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield  # unreadable: only its owner gets this far
        return
    try:
        for _ in range(_LOCK_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_POLL_S)
        else:
            raise MountError(
                f"{mountpoint} is a dead mount, and another process is already "
                "cleaning it up"
            )
        yield
    finally:
        os.close(parent)


class Refusal(NamedTuple):
    """Why a mount could not be detached; a busy one can be detached lazily."""

    reason: str
    is_busy: bool = False


def unmount(mountpoint: Path) -> str | None:
    """Unmount and wait for the daemon to end; return why it may still run, or nothing.

    Running downloads are cancelled; processes waiting for them get EINTR. A daemon
    that also serves another mount, or cannot be identified, is not killed: the mount
    is only detached.

    Raises UnmountError if no allenfs is mounted there, or it cannot be unmounted.
    """
    mount = mount_at(mountpoint)
    if mount is None:
        raise UnmountError(f"no allenfs is mounted on {mountpoint}")
    reply = ask(lambda: Process.parse(os.getxattr(mountpoint, PROCESS_ATTRIBUTE)))
    with contextlib.ExitStack() as stack:
        pidfd = None
        if isinstance(reply, Process):
            pidfd = stack.enter_context(reply.pidfd(mount.owner))
        other = other_mount_of(mount)
        refusal = detach(mountpoint)
        if refusal and not refusal.is_busy:
            raise UnmountError(refusal.reason)
        if pidfd is None or (refusal and other):
            if refusal:
                _detach_lazily(mountpoint)
            return _still_running(mountpoint, reply, other, was_busy=bool(refusal))
        if refusal:
            # busy: on SIGTERM the daemon cancels downloads and detaches
            _signal(pidfd, signal.SIGTERM)
        if not _has_ended(pidfd):
            other = other_mount_of(mount)  # namespaces may have changed
            if other:
                return _still_running(mountpoint, reply, other, was_busy=False)
            _signal(pidfd, signal.SIGKILL)
            _has_ended(pidfd)
    left = mount_at(mountpoint)
    if left and left.number == mount.number:
        _detach_lazily(mountpoint)
    return None


def detach(mountpoint: Path, *, lazily: bool = False) -> Refusal | None:
    """Detach a mount from the tree, without waiting for its daemon."""
    place = resolved(mountpoint)
    if os.geteuid() == 0:
        # umount(8) would stat the mountpoint, and hang if the daemon is stopped
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(place), _MNT_DETACH if lazily else 0) == 0:
            return None
        error = ctypes.get_errno()
        return Refusal(f"{mountpoint}: {os.strerror(error)}", error == errno.EBUSY)
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    if helper is None:
        return Refusal("neither fusermount3 nor fusermount is installed")
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [helper, "-uz" if lazily else "-u", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as failure:
        return Refusal(f"{helper} cannot be started: {failure.strerror}")
    if done.returncode == 0:
        return None
    reason = done.stderr.strip() or f"{mountpoint} cannot be unmounted"
    return Refusal(reason, is_busy=os.strerror(errno.EBUSY) in reason)


def _detach_lazily(mountpoint: Path) -> None:
    refusal = detach(mountpoint, lazily=True)
    if refusal:
        raise UnmountError(refusal.reason)


def _still_running(
    mountpoint: Path,
    reply: Process | Exception | None,
    other: Mount | None,
    *,
    was_busy: bool,
) -> str | None:
    unmounted = f"unmounted {mountpoint};"
    if liveness_of(reply) is Liveness.SILENT:
        return f"{unmounted} its process does not respond and may still be running"
    if not isinstance(reply, Process):
        return None  # dead
    is_visible = reply.is_visible()
    name = (
        f"process {reply.pid}" if is_visible else "a process in another PID namespace"
    )
    if other is not None:
        where = "" if other in mounts() else " in another mount namespace"
        return f"{unmounted} {name} still serves it on {other.place}{where}"
    if was_busy or not is_visible:
        return f"{unmounted} {name} ends when nothing uses it any more"
    return None


def _signal(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # already ended
        signal.pidfd_send_signal(pidfd, number)


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], _END_S)[0])
