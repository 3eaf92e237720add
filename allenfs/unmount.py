"""Unmount, whatever the daemon does or does not do."""

from __future__ import annotations

import logging
import os
import select
import signal
from typing import TYPE_CHECKING

from allenfs.errors import UnmountError
from allenfs.mountpoint import detach, is_mounted, serving_pid

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# Unmounting ends within 5 s: 2 for the daemon to say its process id, 2 to end.
_END_S = 2.0


def unmount(mountpoint: Path) -> None:
    """Unmount, and wait until the process that served, if it answers, is gone.

    Downloads under way are given up: who waits for them gets EINTR.

    Raises
    ------
    UnmountError
        Nothing of allenfs is mounted there, or it cannot be unmounted.
    """
    if not is_mounted(mountpoint):
        msg = f"no allenfs is mounted on {mountpoint}"
        raise UnmountError(msg)
    pid = serving_pid(mountpoint)
    refusal = detach(mountpoint)
    if refusal and pid is not None:
        # busy: readers wait for downloads, or hold files open; on SIGTERM the
        # daemon wakes the first and detaches from the others
        _signal(pid, signal.SIGTERM)
    elif refusal:
        refusal = detach(mountpoint, lazily=True)
        if refusal:
            raise UnmountError(refusal)
    if pid is not None and not _has_ended(pid, _END_S):
        _signal(pid, signal.SIGKILL)
        _has_ended(pid, _END_S)
        if is_mounted(mountpoint):
            detach(mountpoint, lazily=True)
    if is_mounted(mountpoint):
        raise UnmountError(refusal or f"{mountpoint} is still mounted")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("process %d had ended", pid)
    except PermissionError as error:
        msg = f"process {pid} serves the mount and is somebody else's"
        raise UnmountError(msg) from error


def _has_ended(pid: int, timeout_s: float) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], timeout_s)[0])
    finally:
        os.close(process)
