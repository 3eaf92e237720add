"""Unmount, whether or not the daemon responds."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from allenfs.adapters.serving import PROCESS_ATTRIBUTE, Process
from allenfs.errors import UnmountError
from allenfs.mount.mount_table import mount_at, mounts, other_mount_of, resolved
from allenfs.mount.probe import Liveness, ask, liveness_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allenfs.mount.mount_table import Mount

# Unmounting takes at most 5 s: 2 to identify the daemon, 2 for it to end.
_END_S = 2.0
_MNT_DETACH = 2  # umount(2)


class Refusal(NamedTuple):
    """Why a mount could not be detached.

    Attributes
    ----------
    is_busy : bool
        The mount is in use; it can still be detached lazily.
    """

    reason: str
    is_busy: bool


def unmount(mountpoint: Path) -> str | None:
    """Unmount, and wait for the daemon to end.

    Running downloads are cancelled; processes waiting for them get EINTR. A daemon
    that also serves another mount, or cannot be identified, is not killed: the mount
    is only detached.

    Returns
    -------
    What keeps running, and why; None if nothing does.

    Raises
    ------
    UnmountError
        No allenfs is mounted there, or it cannot be unmounted.
    """
    mount = mount_at(mountpoint)
    if mount is None:
        msg = f"no allenfs is mounted on {mountpoint}"
        raise UnmountError(msg)
    reply = _ask_process(mountpoint)
    with _pidfd(reply, mount.owner) as process:
        other = other_mount_of(mount)
        refusal = detach(mountpoint)
        if refusal and not refusal.is_busy:
            raise UnmountError(refusal.reason)
        if refusal and (process is None or other is not None):
            _detach_lazily(mountpoint)
            return _still_running(mountpoint, reply, other, was_busy=True)
        if process is None:
            return _still_running(mountpoint, reply, other, was_busy=False)
        if refusal:
            # busy: on SIGTERM the daemon cancels downloads and detaches
            _signal(process, signal.SIGTERM)
        if not _has_ended(process, _END_S):
            other = other_mount_of(mount)  # namespaces may have changed
            if other is not None:
                return _still_running(mountpoint, reply, other, was_busy=False)
            _signal(process, signal.SIGKILL)
            _has_ended(process, _END_S)
    left = mount_at(mountpoint)
    if left is not None and left.number == mount.number:
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
        reason = "neither fusermount3 nor fusermount is installed"
        return Refusal(reason, is_busy=False)
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [helper, "-uz" if lazily else "-u", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as failure:
        reason = f"{helper} cannot be started: {failure.strerror}"
        return Refusal(reason, is_busy=False)
    if done.returncode == 0:
        return None
    reason = done.stderr.strip() or f"{mountpoint} cannot be unmounted"
    return Refusal(reason, is_busy=os.strerror(errno.EBUSY) in reason)


def _detach_lazily(mountpoint: Path) -> None:
    refusal = detach(mountpoint, lazily=True)
    if refusal:
        raise UnmountError(refusal.reason)


def _ask_process(mountpoint: Path) -> Process | Exception | None:
    return ask(
        lambda: Process.parse(
            os.getxattr(mountpoint, PROCESS_ATTRIBUTE).decode("ascii")
        )
    )


@contextlib.contextmanager
def _pidfd(reply: object, owner: int | None) -> Iterator[int | None]:
    process = reply.pidfd(owner) if isinstance(reply, Process) else None
    try:
        yield process
    finally:
        if process is not None:
            os.close(process)


def _still_running(
    mountpoint: Path,
    reply: Process | Exception | None,
    other: Mount | None,
    *,
    was_busy: bool,
) -> str | None:
    if liveness_of(reply) is Liveness.SILENT:
        return (
            f"unmounted {mountpoint}; its process does not respond and may still be "
            "running"
        )
    if not isinstance(reply, Process):
        return None  # dead
    name = f"process {reply.pid}"
    if not reply.is_visible():
        name = "a process in another PID namespace"
    if other is not None:
        where = "" if other in mounts() else " in another mount namespace"
        return f"unmounted {mountpoint}; {name} still serves it on {other.place}{where}"
    if was_busy or not reply.is_visible():
        return f"unmounted {mountpoint}; {name} ends when nothing uses it any more"
    return None


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # already ended
        signal.pidfd_send_signal(process, number)


def _has_ended(process: int, timeout_s: float) -> bool:
    return bool(select.select([process], [], [], timeout_s)[0])
