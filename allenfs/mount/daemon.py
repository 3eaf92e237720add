"""Mount: build the object graph, wait until it answers, say what failed."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.errors import (
    AllenFSError,
    ConfigError,
    MountError,
    NetworkSettingError,
    ProcessLimitError,
)
from allenfs.filesystem.recent_log import RecentLog
from allenfs.filesystem.status_reporter import Mounted
from allenfs.mount import notify, verbosity
from allenfs.mount.claim import claimed, clear_dead
from allenfs.mount.mount_table import SUBTYPE, is_automount, is_mounted
from allenfs.mount.probe import serving_pid
from allenfs.service import threads
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from allenfs.config import MountSettings
    from allenfs.mount.log_output import LogOutput

log = safe_logger(__name__)

_DEVICE = Path("/dev/fuse")
_LOOK_S = 0.01
# mallopt(3); above what one read of a download takes, 256 KiB
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 2**20
_M_ARENA_MAX, _ARENAS = -8, 2
# A mount takes 0.3 s; a machine under load may need much longer.
_START_S = 30.0
_END_S = 2.0
# Prefix of the daemon's lines that are meant for the user who mounts.
WARNING = "allenfs: warning: "


def run(
    settings: MountSettings,
    log_output: LogOutput | None = None,
    *,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Mount, and serve until unmounted.

    Parameters
    ----------
    log_output : LogOutput, optional
        What the status tells about the log.
    warn : callable, optional
        Called with a message, before mounting, if the store cannot be written.

    Raises
    ------
    MountError
        It cannot be mounted, and why.
    ProcessLimitError
    """
    operations = _operations_module()
    _allow_many_files()
    _give_memory_back()
    from allenfs.assembly import assemble  # noqa: PLC0415 - after what fails early

    # libfuse 2 gives this signal its deadly meaning back before it has ended
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    with ExitStack() as stack:
        recent_log = stack.enter_context(RecentLog.of("allenfs"))
        verbosity.follow()
        allow_nonempty = "nonempty" in settings.fuse_options
        let_go = stack.enter_context(
            claimed(settings.mountpoint, allow_nonempty=allow_nonempty)
        )
        if settings.sample:
            settings = _with_sample(settings, stack)
        mounted = Mounted(
            settings.mountpoint,
            is_sample=settings.sample,
            log=recent_log,
            log_file=log_output.file if log_output else None,
            log_failure=(lambda: log_output.failure) if log_output else None,
            readahead_images=settings.readahead_images,
        )
        try:
            house = assemble(
                settings.service,
                settings.store,
                readahead_images=settings.readahead_images,
                mounted=mounted,
            )
        except NetworkSettingError as error:
            raise MountError(str(error)) from error
        store = house.store
        failure = house.trouble.check()
        if failure and warn is not None:
            warn(
                f"the store cannot be written: {failure}: images can be read but are "
                "not kept, so every open downloads again; run allenfs doctor"
            )
        stack.callback(notify.stopping)
        has_started = threading.Event()

        def started() -> None:
            has_started.set()
            url, place = settings.service.api_url, settings.mountpoint
            let_go()
            log.info("mounted %s on %s (%s)", url, place, operations.versions())
            notify.ready(settings.mountpoint, settings.source)
            threads.start(threading.Thread(target=store.load, daemon=True))

        try:
            operations.serve(
                operations.Operations(
                    house.filesystem,
                    house.attributes,
                    usage=lambda: (store.used_bytes, store.capacity_bytes),
                    started=started,
                ),
                settings.mountpoint,
                _fuse_options(settings),
            )
        except RuntimeError as error:
            msg = f"libfuse could not mount on {settings.mountpoint} ({error})"
            raise MountError(msg) from error
        if not has_started.is_set():
            # libfuse 3 ends so, without an error, where it can start no thread
            msg = f"libfuse stopped before it mounted {settings.mountpoint}"
            raise MountError(msg)


def start(mountpoint: Path, arguments: list[str]) -> list[str]:
    """Mount in the background; return when the mountpoint answers.

    Parameters
    ----------
    arguments : list of str
        Of ``allenfs``, for the process that serves in the foreground.

    Returns
    -------
    list of str
        The warnings of that process, one line each.

    Raises
    ------
    MountError
        The process ended, or the mountpoint does not answer within 30 s.
    ProcessLimitError
    """
    verbosity.hold()  # and in the process, from its first moment on
    with _started(mountpoint, arguments) as process:
        try:
            _wait_until_mounted(mountpoint, process)
            return _warnings(process)
        except BaseException:
            _give_up(mountpoint, process)
            raise
        finally:
            # it lives on, or hangs in a file system that does; leaving the block must
            # neither wait for it nor warn
            process.returncode = 0


def _started(mountpoint: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "allenfs", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # what is to be mounted on an automount can look at it in this group alone
            start_new_session=not is_automount(mountpoint),
            # neither keep the current directory busy, nor take its modules for ours
            cwd="/",
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
    except BlockingIOError as error:
        raise ProcessLimitError(error.strerror) from error


def _give_up(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    """End the process, and leave no dead mount behind."""
    for end in (process.terminate, process.kill):  # on the first it unmounts
        end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
            break
    with contextlib.suppress(AllenFSError):  # why it is given up matters more
        clear_dead(mountpoint)


def _python_path() -> str:
    """Where the process finds this allenfs, also one that is not installed."""
    package = Path(__file__).resolve().parent.parent
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [os.path.abspath(place) for place in given if place]
    if package.name not in ("site-packages", "dist-packages"):
        places.append(str(package))
    return os.pathsep.join(places)


def _wait_until_mounted(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    ends_s = time.monotonic() + _START_S
    while process.poll() is None:
        if time.monotonic() > ends_s:
            msg = (
                f"{mountpoint} does not answer after {_START_S:.0f} s: is the store on "
                "a file system that hangs? See allenfs doctor"
            )
            raise MountError(msg)
        if is_mounted(mountpoint) and serving_pid(mountpoint) == process.pid:
            return
        time.sleep(_LOOK_S)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    said = [line for line in said if not line.startswith(WARNING)]
    if any(line.startswith("Traceback") for line in said):
        said = said[-1:]
    words = "; ".join(line.removeprefix("allenfs: ") for line in said if line.strip())
    kind = ConfigError if process.returncode == ConfigError.exit_code else MountError
    raise kind(words or f"the process ended with {process.returncode}")


def _warnings(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the warnings that the daemon printed before it was ready."""
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    said = (process.stderr.read() or b"").decode(errors="replace").splitlines()
    return [line for line in said if line.startswith(WARNING)]


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
        return importlib.import_module("allenfs.adapters.fuse_operations")
    except AttributeError as error:
        # python-fuse has a module fuse, too
        place = getattr(error.obj, "__file__", "the module fuse")
        msg = (
            f"{place} is not of the package fusepy or mfusepy ({error}): give allenfs "
            "a Python environment of its own"
        )
        raise MountError(msg) from error
    except (OSError, ImportError) as error:
        msg = f"a package that allenfs needs cannot be used ({error}): install it anew"
        raise MountError(msg) from error


def _allow_many_files() -> None:
    """Raise the soft limit: each open image takes a descriptor, 1024 is the default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _give_memory_back() -> None:
    """Let the C library return large buffers, and share what it keeps.

    By default it keeps them, in a heap of its own for nearly every thread: 77 MiB
    after eleven minutes of storm, and growing, where 46 MiB and flat were measured so.
    """
    with contextlib.suppress(AttributeError):  # only glibc has it
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def _with_sample(settings: MountSettings, stack: ExitStack) -> MountSettings:
    """Start the embedded sample service for as long as `stack` lasts."""
    from allenfs.assembly import on_sample  # noqa: PLC0415 - as above

    try:
        service, store = stack.enter_context(
            on_sample(settings.service, settings.store)
        )
    except AllenFSError as error:
        raise MountError(str(error)) from error
    return replace(settings, service=service, store=store)


def _fuse_options(settings: MountSettings) -> dict[str, str | bool]:
    return {
        "ro": True,
        "nosuid": True,
        "nodev": True,
        "fsname": settings.source,
        "subtype": SUBTYPE,
        # every look asks for the size: see kernel_view.py
        "attr_timeout": "0",
        # libfuse's own numbers are new after each remount: see byte_paths.py
        "use_ino": True,
        # measured on three parallel readers: twice as fast as the default 128 KiB
        "max_readahead": "1048576",
        **settings.fuse_options,
    }
