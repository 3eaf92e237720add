"""Mount and unmount: build the object graph, wait until it works, say what failed."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from allenfs.errors import MountError

if TYPE_CHECKING:
    from types import ModuleType

    from allenfs.config import MountSettings

log = logging.getLogger(__name__)

_MOUNT_TABLE = Path("/proc/self/mountinfo")
_DEVICE = Path("/dev/fuse")
_SUBTYPE = "allenfs"
_LOOK_S = 0.01
# A mount takes 0.3 s; a machine under load may need much longer.
_START_S = 30.0
# Unmounting ends within 5 s: 2 for the daemon to say its process id, 2 to end.
_ANSWER_S = 2.0
_END_S = 2.0


def run(settings: MountSettings) -> None:
    """Mount, and serve until unmounted.

    Raises
    ------
    MountError
        It cannot be mounted, and why.
    """
    check_mountpoint(settings.mountpoint, settings.fuse_options)
    operations = _operations_module()
    from allenfs.fetcher import Fetcher  # noqa: PLC0415 - after what fails early
    from allenfs.filesystem import Filesystem  # noqa: PLC0415
    from allenfs.service import AllenService  # noqa: PLC0415
    from allenfs.store import Store  # noqa: PLC0415

    with ExitStack() as stack:
        if settings.sample:
            settings = _with_sample(settings, stack)
        store = Store(settings.store)
        filesystem = Filesystem(
            Fetcher(AllenService(settings.service), store, settings.service),
            api_url=settings.service.api_url,
            max_image_bytes=settings.service.max_image_bytes,
        )

        def started() -> None:
            log.info("mounted %s on %s", settings.service.api_url, settings.mountpoint)
            threading.Thread(target=store.load, daemon=True).start()

        try:
            operations.serve(
                operations.Operations(
                    filesystem,
                    usage=lambda: (store.used_bytes, store.capacity_bytes),
                    started=started,
                ),
                settings.mountpoint,
                _fuse_options(settings),
            )
        except RuntimeError as error:
            msg = f"libfuse could not mount on {settings.mountpoint} ({error})"
            raise MountError(msg) from error


def start(mountpoint: Path, arguments: list[str]) -> None:
    """Mount in the background; return when the mountpoint answers.

    Parameters
    ----------
    arguments : list of str
        Of ``allenfs``, for the process that serves in the foreground.

    Raises
    ------
    MountError
        The process ended, or the mountpoint does not answer within 30 s.
    """
    with subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-m", "allenfs", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # a module of the current directory must not shadow ours
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    ) as process:
        try:
            _wait_until_mounted(mountpoint, process)
        except BaseException:
            process.kill()
            raise
        # it lives on; leaving the block must neither wait for it nor warn
        process.returncode = 0


def _wait_until_mounted(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    ends_s = time.monotonic() + _START_S
    while process.poll() is None:
        if time.monotonic() > ends_s:
            msg = f"{mountpoint} does not answer after {_START_S:.0f} s"
            raise MountError(msg)
        if is_mounted(mountpoint):
            os.listdir(mountpoint)
            return
        time.sleep(_LOOK_S)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    words = "; ".join(line.removeprefix("allenfs: ") for line in said if line.strip())
    raise MountError(words or f"the process ended with {process.returncode}")


def unmount(mountpoint: Path) -> None:
    """Unmount, and wait until the process that served is gone.

    Downloads under way are given up: who waits for them gets EINTR.

    Raises
    ------
    MountError
        Nothing of allenfs is mounted there, or it cannot be unmounted.
    """
    if not is_mounted(mountpoint):
        msg = f"no allenfs is mounted on {mountpoint}"
        raise MountError(msg)
    pid = _serving_pid(mountpoint)
    refusal = _unmount_command(mountpoint, "-u")
    if refusal and pid is not None:
        # busy: readers wait for downloads, or hold files open; on SIGTERM the
        # daemon wakes the first and detaches from the others
        _signal(pid, signal.SIGTERM)
    elif refusal:
        refusal = _unmount_command(mountpoint, "-uz")
        if refusal:
            raise MountError(refusal)
    if pid is not None and not _has_ended(pid, _END_S):
        _signal(pid, signal.SIGKILL)
        _has_ended(pid, _END_S)
        if is_mounted(mountpoint):
            _unmount_command(mountpoint, "-uz")
    if is_mounted(mountpoint):
        raise MountError(refusal or f"{mountpoint} is still mounted")


def is_mounted(mountpoint: Path) -> bool:
    """Whether an allenfs, alive or dead, is what is mounted there last.

    Reads the mount table: touching a dead mount fails, or hangs.
    """
    wanted = os.fsencode(_resolved(mountpoint))
    kind = b""
    for line in _MOUNT_TABLE.read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        place = re.sub(
            rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), fields.split()[4]
        )
        if place == wanted:
            kind = rest.split()[0]
    return kind == f"fuse.{_SUBTYPE}".encode()


def check_mountpoint(mountpoint: Path, fuse_options: object = ()) -> None:
    """Look whether `mountpoint` can be mounted on.

    Raises
    ------
    MountError
        It is missing, no directory, not empty, mounted already, or a dead mount.
    """
    try:
        names = os.listdir(mountpoint)
    except FileNotFoundError as error:
        msg = f"mountpoint {mountpoint} does not exist: create it with mkdir"
        raise MountError(msg) from error
    except NotADirectoryError as error:
        msg = f"mountpoint {mountpoint} is not a directory"
        raise MountError(msg) from error
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            msg = (
                f"mountpoint {mountpoint} is a dead mount (Transport endpoint is not "
                f"connected): first run allenfs umount {mountpoint}"
            )
        else:
            msg = f"mountpoint {mountpoint}: {error.strerror}"
        raise MountError(msg) from error
    if is_mounted(mountpoint):
        msg = f"{mountpoint} is mounted already"
        raise MountError(msg)
    if names and "nonempty" not in fuse_options:  # type: ignore[operator]
        msg = f"mountpoint {mountpoint} is not empty"
        raise MountError(msg)


def _operations_module() -> ModuleType:
    """Import the adapter, or say what the machine lacks for it."""
    if not _DEVICE.exists():
        msg = (
            f"this machine has no {_DEVICE}: load the kernel module with modprobe fuse"
        )
        raise MountError(msg)
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        msg = f"no permission to use {_DEVICE}"
        raise MountError(msg)
    try:
        return importlib.import_module("allenfs.operations")
    except (OSError, ImportError, AttributeError) as error:
        msg = (
            f"libfuse 2 cannot be used ({error}): install the package libfuse2 "
            "(libfuse2t64 since Debian 13 and Ubuntu 24.04, fuse-libs on Fedora)"
        )
        raise MountError(msg) from error


def _with_sample(settings: MountSettings, stack: ExitStack) -> MountSettings:
    """Start the embedded sample service for as long as `stack` lasts."""
    try:
        from allenfs.sample.drawing import DRAWING_VERSION  # noqa: PLC0415
        from allenfs.sample.server import SampleService  # noqa: PLC0415
    except ImportError as error:
        msg = f"the sample service needs allenfs[sample]: {error}"
        raise MountError(msg) from error
    sample = stack.enter_context(SampleService())
    return replace(
        settings,
        service=replace(settings.service, api_url=sample.url),
        store=replace(settings.store, service_name=f"sample-{DRAWING_VERSION}"),
    )


def _fuse_options(settings: MountSettings) -> dict[str, str | bool]:
    host = urlsplit(settings.service.api_url).hostname
    return {
        "ro": True,
        "nosuid": True,
        "nodev": True,
        # a colon in it: df -l and others take the file system for a remote one
        "fsname": "allenfs:sample" if settings.sample else f"allenfs:{host}",
        "subtype": _SUBTYPE,
        # every look-up asks for the size: see filesystem.py
        "attr_timeout": "0",
        # measured on three parallel readers: twice as fast as the default 128 KiB
        "max_readahead": "1048576",
        **settings.fuse_options,
    }


def _serving_pid(mountpoint: Path) -> int | None:
    """Ask the mount for the process that serves it; a dead one says nothing."""
    answers: list[int] = []

    def ask() -> None:
        try:
            answers.append(int(os.getxattr(mountpoint, "user.allenfs.pid")))
        except (OSError, ValueError) as error:
            log.debug("no process id from %s: %s", mountpoint, error)

    # in a thread that may be left behind: a stopped daemon never answers
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    return answers[0] if answers else None


def _unmount_command(mountpoint: Path, flags: str) -> str | None:
    """Unmount; return what was said against it."""
    if os.geteuid() == 0:
        command = ["umount", *(["-l"] if "z" in flags else [])]
    else:
        helper = shutil.which("fusermount3") or shutil.which("fusermount")
        if helper is None:
            return "neither fusermount3 nor fusermount is installed"
        command = [helper, flags]
    done = subprocess.run(  # noqa: S603 - no shell
        [*command, str(_resolved(mountpoint))],
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
        raise MountError(msg) from error


def _has_ended(pid: int, timeout_s: float) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], timeout_s)[0])
    finally:
        os.close(process)


def _resolved(mountpoint: Path) -> Path:
    """Absolute path without symlinks, without a `stat` of a mount that may be dead."""
    place = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    try:
        os.readlink(place)
    except OSError:
        return place
    return Path(os.path.realpath(place))
