"""Unmount, whatever the daemon does or does not do."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from allenfs.errors import UnmountError
from allenfs.mountpoint import is_mounted, resolved, serving_pid

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# Unmounting ends within 5 s: 2 for the daemon to say its process id, 2 to end.
_END_S = 2.0
_MNT_DETACH = 2  # umount(2)


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
    refusal = _detach(mountpoint)
    if refusal and pid is not None:
        # busy: readers wait for downloads, or hold files open; on SIGTERM the
        # daemon wakes the first and detaches from the others
        _signal(pid, signal.SIGTERM)
    elif refusal:
        refusal = _detach(mountpoint, lazily=True)
        if refusal:
            raise UnmountError(refusal)
    if pid is not None and not _has_ended(pid, _END_S):
        _signal(pid, signal.SIGKILL)
        _has_ended(pid, _END_S)
        if is_mounted(mountpoint):
            _detach(mountpoint, lazily=True)
    if is_mounted(mountpoint):
        raise UnmountError(refusal or f"{mountpoint} is still mounted")


def _detach(mountpoint: Path, *, lazily: bool = False) -> str | None:
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
