"""Unmount, whether or not the daemon responds."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import TYPE_CHECKING

from allenfs.adapters.serving import PROCESS_ATTRIBUTE, Process
from allenfs.errors import UnmountError
from allenfs.mount.mount_table import mounts, other_mount_of
from allenfs.mount.mountpoint import detach, in_time, mount_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allenfs.mount.mount_table import Mount

# Unmounting takes at most 5 s: 2 to identify the daemon, 2 for it to end.
_END_S = 2.0


def unmount(mountpoint: Path) -> str | None:
    """Unmount, and wait for the daemon to end.

    Downloads in flight are cancelled, and processes waiting for them get EINTR. A
    daemon that also serves another mount, or cannot be identified, is not killed: the
    mount is only detached.

    Returns
    -------
    What keeps running, and why; None if nothing does.

    Raises
    ------
    UnmountError
        Nothing of allenfs is mounted there, or it cannot be unmounted.
    """
    mount = mount_at(mountpoint)
    if mount is None:
        msg = f"no allenfs is mounted on {mountpoint}"
        raise UnmountError(msg)
    said = _asked(mountpoint)
    told = said if isinstance(said, Process) else None
    with _opened(told, mount.owner) as process:
        other = other_mount_of(mount)
        refusal = detach(mountpoint)
        if refusal and not refusal.is_busy:
            raise UnmountError(refusal.said)
        if refusal and (process is None or other is not None):
            _detach_lazily(mountpoint)
            return _what_goes_on(mountpoint, said, other, was_busy=True)
        if process is None:
            return _what_goes_on(mountpoint, said, other, was_busy=False)
        if refusal:
            # busy: on SIGTERM the daemon cancels downloads and detaches
            _signal(process, signal.SIGTERM)
        if not _has_ended(process, _END_S):
            other = other_mount_of(mount)  # namespaces may have changed
            if other is not None:
                return _what_goes_on(mountpoint, said, other, was_busy=False)
            _signal(process, signal.SIGKILL)
            _has_ended(process, _END_S)
    left = mount_at(mountpoint)
    if left is not None and left.number == mount.number:
        _detach_lazily(mountpoint)
    return None


def _asked(mountpoint: Path) -> Process | Exception | None:
    """Ask the mount which process serves it: an error if it is dead, None if silent."""
    return in_time(
        lambda: Process.told(os.getxattr(mountpoint, PROCESS_ATTRIBUTE).decode("ascii"))
    )


@contextlib.contextmanager
def _opened(told: Process | None, owner: int | None) -> Iterator[int | None]:
    process = told.opened(owner) if told is not None else None
    try:
        yield process
    finally:
        if process is not None:
            os.close(process)


def _detach_lazily(mountpoint: Path) -> None:
    refusal = detach(mountpoint, lazily=True)
    if refusal:
        raise UnmountError(refusal.said)


def _what_goes_on(
    mountpoint: Path,
    said: Process | Exception | None,
    other: Mount | None,
    *,
    was_busy: bool,
) -> str | None:
    if said is None:
        return (
            f"unmounted {mountpoint}; its process does not respond and may still be "
            "running"
        )
    if isinstance(said, Exception):
        return None  # dead
    who = f"process {said.pid}"
    if not said.is_visible():
        who = "a process in another PID namespace"
    if other is not None:
        where = "" if other in mounts() else " in another mount namespace"
        return f"unmounted {mountpoint}; {who} still serves it on {other.place}{where}"
    if was_busy or not said.is_visible():
        return f"unmounted {mountpoint}; {who} ends when nothing uses it any more"
    return None


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # already ended
        signal.pidfd_send_signal(process, number)


def _has_ended(process: int, timeout_s: float) -> bool:
    return bool(select.select([process], [], [], timeout_s)[0])
