"""Claim a mountpoint: check it, lock it, and clear a dead mount from it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from allenfs.errors import MountError
from allenfs.mount.mount_table import is_mounted, resolved
from allenfs.mount.probe import Liveness, liveness, serving_pid
from allenfs.mount.unmount import detach
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = safe_logger(__name__)

# 2 s; clearing a dead mount takes 10 ms.
_LOCK_ATTEMPTS, _POLL_S = 200, 0.01


@contextlib.contextmanager
def claimed(mountpoint: Path, *, allow_nonempty: bool) -> Iterator[Callable[[], None]]:
    """Lock a mountpoint against other processes that mount on it.

    A dead mount is cleared first.

    Yields
    ------
    callable
        Releases the lock, once mounted: the process may outlive this mount if it is
        also mounted elsewhere, and must not block a new mount here.

    Raises
    ------
    MountError
        The mountpoint is missing, not a directory, not empty, already mounted, or
        locked by another process.
    """
    clear_dead(mountpoint)
    _require_unmounted(mountpoint)
    with contextlib.ExitStack() as stack:
        try:
            directory = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, directory)
            if os.listdir(directory) and not allow_nonempty:
                msg = f"mountpoint {mountpoint} is not empty"
                raise MountError(msg)
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError as error:
            msg = f"mountpoint {mountpoint} does not exist: create it with mkdir"
            raise MountError(msg) from error
        except NotADirectoryError as error:
            msg = f"mountpoint {mountpoint} is not a directory"
            raise MountError(msg) from error
        except BlockingIOError as error:
            msg = f"another allenfs is mounting on {mountpoint}"
            raise MountError(msg) from error
        except OSError as error:
            msg = f"mountpoint {mountpoint}: {error.strerror}"
            raise MountError(msg) from error
        _require_unmounted(mountpoint)  # another process may have mounted and unlocked
        yield stack.close


def _require_unmounted(mountpoint: Path) -> None:
    if is_mounted(mountpoint):
        msg = f"{mountpoint} is already mounted"
        if serving_pid(mountpoint) is None:
            msg += f" and does not answer: run allenfs umount {mountpoint}"
        raise MountError(msg)


def clear_dead(mountpoint: Path) -> None:
    """Unmount what a process that has ended left mounted; raises MountError."""
    if not is_mounted(mountpoint):
        return
    with _locked_parent(mountpoint):
        # there may be several, one below another
        while is_mounted(mountpoint) and liveness(mountpoint) is Liveness.DEAD:
            refusal = detach(mountpoint, lazily=True)
            if refusal:
                msg = (
                    f"{mountpoint} is a dead mount (Transport endpoint is not "
                    f"connected) and cannot be unmounted: {refusal.reason}"
                )
                raise MountError(msg)
            log.info("cleared a dead mount from %s", mountpoint)


@contextlib.contextmanager
def _locked_parent(mountpoint: Path) -> Iterator[None]:
    """Lock out other processes between the check for a dead mount and its unmounting.

    Otherwise one could unmount what another has just mounted. The parent directory is
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
            msg = (
                f"{mountpoint} is a dead mount, and another process is already "
                "cleaning it up"
            )
            raise MountError(msg)
        yield
    finally:
        os.close(parent)
