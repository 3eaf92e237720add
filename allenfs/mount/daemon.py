"""The mount daemon: mount, serve, or start a process that does so in the background."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from allenfs.errors import AllenFSError, ConfigError, MountError, ProcessLimitError
from allenfs.filesystem.recent_log import RecentLog
from allenfs.filesystem.status_reporter import Mounted
from allenfs.mount import log_output, notify
from allenfs.mount.mount_table import SUBTYPE, is_automount, is_mounted
from allenfs.mount.mountpoint import claimed, clear_dead
from allenfs.mount.probe import serving_pid
from allenfs.service.single_flight import start_thread
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.config import MountSettings
    from allenfs.mount.log_output import LogOutput

log = safe_logger(__name__)

_DEVICE = Path("/dev/fuse")
_POLL_S = 0.01
# mallopt(3); larger than the 256 KiB buffer of a download
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 2**20
_M_ARENA_MAX, _ARENAS = -8, 2
# Mounting takes 0.3 s, and much longer on a loaded machine.
START_S = 30.0
_END_S = 2.0
# Prefix of the daemon's lines for the user who mounts.
WARNING = "allenfs: warning: "


def run(
    settings: MountSettings,
    output: LogOutput,
    *,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Mount, and serve until unmounted; raises MountError if that is not possible.

    `warn` is called with a message before mounting if the store cannot be written.
    """
    mountpoint, operations = settings.mountpoint, _operations_module()
    _limit_process()
    from allenfs.assembly import assemble, on_sample  # noqa: PLC0415 - checks first

    # libfuse 2 restores the default action, which kills, before the process has ended
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    with contextlib.ExitStack() as stack:
        recent_log = stack.enter_context(RecentLog.of("allenfs"))
        log_output.follow_switch()
        claim = claimed(mountpoint, allow_nonempty="nonempty" in settings.fuse_options)
        release = stack.enter_context(claim)
        mounted = Mounted(
            mountpoint,
            is_sample=settings.sample,
            log=recent_log,
            log_file=output.file,
            log_failure=lambda: output.failure,
            readahead_images=settings.readahead_images,
        )
        try:
            if settings.sample:
                service, store_settings = stack.enter_context(
                    on_sample(settings.service, settings.store)
                )
                settings = replace(settings, service=service, store=store_settings)
            assembly = assemble(
                settings.service,
                settings.store,
                readahead_images=settings.readahead_images,
                mounted=mounted,
            )
        except AllenFSError as error:
            raise MountError(str(error)) from error
        store, failure = assembly.store, assembly.store_directory.check()
        if failure and warn:
            warn(
                f"the store cannot be written: {failure}: images can be read but are "
                "not stored, so every open downloads again; run allenfs doctor"
            )
        stack.callback(notify.stopping)
        has_started = threading.Event()

        def started() -> None:
            has_started.set()
            release()
            url = settings.service.api_url
            log.info("mounted %s on %s (%s)", url, mountpoint, operations.versions())
            notify.ready(mountpoint, settings.source)
            start_thread(threading.Thread(target=store.load, daemon=True))

        try:
            operations.serve(
                operations.Operations(
                    assembly.filesystem,
                    assembly.attributes,
                    usage=lambda: (store.used_bytes, store.capacity_bytes),
                    started=started,
                ),
                mountpoint,
                _fuse_options(settings),
            )
        except RuntimeError as error:
            raise MountError(
                f"libfuse could not mount on {mountpoint} ({error})"
            ) from error
        if not has_started.is_set():
            # libfuse 3 ends without an error if it cannot start a thread
            raise MountError(f"libfuse stopped before it mounted {mountpoint}")


def end_process() -> NoReturn:
    """End the process of a mount that was unmounted, with exit code 0.

    Downloads may still run, in daemon threads. While it finalized beside them, Python
    3.11.2 crashed in 9 of 100 unmounts.
    """
    gc.collect()  # in development mode, reports what was left open
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(0)


def start(mountpoint: Path, arguments: list[str]) -> list[str]:
    """Mount in the background; return warnings when the mountpoint answers.

    `arguments` are those of ``allenfs``, for a process that mounts in the foreground.
    Raises MountError if it ended, or did not answer within 30 s, and ConfigError if it
    ended because of a wrong setting.
    """
    log_output.block_switch()  # inherited by the process: no signal is lost
    with _start_process(mountpoint, arguments) as process:
        try:
            _wait_until_mounted(mountpoint, process)
            return [line for line in _printed(process) if line.startswith(WARNING)]
        except BaseException:
            _give_up(mountpoint, process)
            raise
        finally:
            # the process runs on, or hangs in a file system: do not wait for it, and
            # keep Popen from warning
            process.returncode = 0


def _start_process(mountpoint: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "allenfs", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # only this process group can access an automount while it is triggered
            start_new_session=not is_automount(mountpoint),
            # do not keep the current directory busy, or import modules from it
            cwd="/",
            env={**os.environ, "PYTHONPATH": python_path()},
        )
    except BlockingIOError as error:
        raise ProcessLimitError(error.strerror) from error


def python_path() -> str:
    """Return a PYTHONPATH with this allenfs, which may not be installed."""
    root = Path(__file__).resolve().parents[2]  # contains the package
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [os.path.abspath(place) for place in given if place]
    if root.name not in ("site-packages", "dist-packages"):
        places.append(str(root))
    return os.pathsep.join(places)


def _wait_until_mounted(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    ends_s = time.monotonic() + START_S
    while process.poll() is None:
        if time.monotonic() > ends_s:
            raise MountError(
                f"{mountpoint} did not answer in {START_S:.0f} s: the file system "
                "of the store may hang; run allenfs doctor"
            )
        if is_mounted(mountpoint) and serving_pid(mountpoint) == process.pid:
            return
        time.sleep(_POLL_S)
    lines = [line for line in _printed(process) if not line.startswith(WARNING)]
    if any(line.startswith("Traceback") for line in lines):
        lines = lines[-1:]
    reason = "; ".join(line.removeprefix("allenfs: ") for line in lines)
    kind = ConfigError if process.returncode == ConfigError.exit_code else MountError
    raise kind(reason or f"the process ended with exit code {process.returncode}")


def _printed(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the lines that the daemon has printed, without waiting for more."""
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    lines = (process.stderr.read() or b"").decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()]


def _give_up(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    """End the process, and leave no dead mount behind."""
    for end in (process.terminate, process.kill):  # it unmounts on SIGTERM
        end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
            break
    with contextlib.suppress(AllenFSError):  # the original error matters more
        clear_dead(mountpoint)


def _operations_module() -> ModuleType:
    """Import the adapter, or raise MountError with what is missing."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        msg = f"no permission to use {_DEVICE}"
        if not _DEVICE.exists():
            msg = f"this machine has no {_DEVICE}: load the module with modprobe fuse"
        raise MountError(msg)
    try:
        return importlib.import_module("allenfs.adapters.fuse_operations")
    except AttributeError as error:
        # python-fuse also has a module named fuse
        module = getattr(error.obj, "__file__", "the module fuse")
        raise MountError(
            f"{module} belongs to neither fusepy nor mfusepy ({error}): install "
            "allenfs in a separate Python environment"
        ) from error
    except (OSError, ImportError) as error:
        raise MountError(
            f"a required package cannot be used ({error}): reinstall it"
        ) from error


def _limit_process() -> None:
    """Allow more open files, one for each open image, and limit the heap.

    By default glibc has a heap for almost every thread, and keeps large buffers in it.
    Measured after eleven minutes of load: 77 MiB and growing; now 46 MiB and constant.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(AttributeError):  # glibc only
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def _fuse_options(settings: MountSettings) -> dict[str, str | bool]:
    return {
        "ro": True,
        "nosuid": True,
        "nodev": True,
        "fsname": settings.source,
        "subtype": SUBTYPE,
        # the kernel must ask for the size each time: see kernel_view.py
        "attr_timeout": "0",
        # libfuse's inode numbers change with each mount: see fuse_operations.py
        "use_ino": True,
        # twice as fast as the default 128 KiB, measured with three parallel readers
        "max_readahead": "1048576",
        **settings.fuse_options,
    }
