"""Unmount, whether or not the daemon responds."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import shutil
import signal
import subprocess
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, NamedTuple

from allenfs.adapters.processes import PROCESS_ATTRIBUTE, Process
from allenfs.errors import UnmountError
from allenfs.mount.mount_table import mount_at, mounts, other_mount_of, resolved
from allenfs.mount.probe import Liveness, ask, liveness_of

if TYPE_CHECKING:
    from pathlib import Path

    from allenfs.mount.mount_table import Mount

# Unmounting takes at most 5 s: 2 to identify the daemon, 2 for it to end.
_END_S = 2.0
_MNT_DETACH = 2  # umount(2)


class Refusal(NamedTuple):
    """Why a mount could not be detached; lazily, a busy one still can be."""

    reason: str
    is_busy: bool = False


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
    reply = ask(lambda: Process.parse(os.getxattr(mountpoint, PROCESS_ATTRIBUTE)))
    daemon = reply.pidfd(mount.owner) if isinstance(reply, Process) else nullcontext()
    with daemon as pidfd:
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
    with suppress(ProcessLookupError):  # already ended
        signal.pidfd_send_signal(pidfd, number)


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], _END_S)[0])
