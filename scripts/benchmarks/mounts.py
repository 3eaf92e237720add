"""Mounts of allenfs, and of other programs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from processes import BenchError, end, run

from allenfs.mount.mount_table import is_mounted
from allenfs.mount.probe import serving_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALLENFS = (sys.executable, "-m", "allenfs")
_CACHE_SIZE = "10GiB"
_START_S = 30
_LOOK_S = 0.01
_READ_BYTES = 2**20
_LOG_LINES = 3


@dataclass(frozen=True)
class Mount:
    """A mount of allenfs that answers.

    Attributes
    ----------
    root : Path
        The mountpoint.
    started_s : float
        Seconds from the start of ``allenfs mount`` to its exit.
    """

    root: Path
    started_s: float

    def memory_bytes(self, kind: str) -> int:
        """Return what the kernel says of the serving process: VmRSS, VmHWM."""
        status = Path(f"/proc/{serving_pid(self.root)}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields[kind].split()[0]) * 1024


def timed_read(path: Path) -> tuple[float, int]:
    """Open, read to the end and close; return seconds and bytes."""
    size_bytes = 0
    started_s = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    try:
        while chunk := os.read(fd, _READ_BYTES):
            size_bytes += len(chunk)
    finally:
        os.close(fd)
    return time.perf_counter() - started_s, size_bytes


@contextlib.contextmanager
def mounted(folder: Path, *flags: object, store: Path | None = None) -> Iterator[Mount]:
    """Mount with these flags, and with an empty store unless one is given."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        root = Path(own, "mnt")
        root.mkdir()
        log = Path(own, "log")
        command = [
            *(*_ALLENFS, "mount", *map(str, flags)),
            *("--cache-dir", str(store or Path(own, "store"))),
            *("--cache-size", _CACHE_SIZE, "--log-file", str(log)),
            str(root),
        ]
        try:
            started_s = time.perf_counter()
            mounting = subprocess.Popen(  # noqa: S603 - no shell
                command, start_new_session=True
            )
            _wait_for(mounting)
            yield Mount(root, time.perf_counter() - started_s)
        except BenchError as error:
            said = log.read_text().splitlines() if log.exists() else []
            raise BenchError("; ".join([str(error), *said[-_LOG_LINES:]])) from error
        finally:
            if is_mounted(root):
                run(*_ALLENFS, "umount", root)


def _wait_for(mounting: subprocess.Popen[bytes]) -> None:
    try:
        mounting.wait()
    except BaseException:
        mounting.wait()  # a mount that appears later would stay
        raise
    if mounting.returncode:
        raise BenchError(f"allenfs mount ended with {mounting.returncode}")


@contextlib.contextmanager
def mounted_by(root: Path, *command: object) -> Iterator[None]:
    """Let another program mount on `root`, and serve in the foreground."""
    root.mkdir()
    with (root.parent / "said").open("w+") as said:
        process = subprocess.Popen(  # noqa: S603 - no shell
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            ends_s = time.monotonic() + _START_S
            while not root.is_mount():
                if process.poll() is not None or time.monotonic() > ends_s:
                    said.seek(0)
                    raise BenchError(
                        f"{command[0]} does not mount: {said.read()[-300:].strip()}"
                    )
                time.sleep(_LOOK_S)
            yield
        finally:
            end(process)
            if root.is_mount():
                run("fusermount", "-uz", root)
