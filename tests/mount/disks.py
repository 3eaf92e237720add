"""Disks on which a store fails."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from command import run
from mounted import until

_FAT = Path(__file__).with_name("fat.py")


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[None]:
    run("mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", folder)
    yield
    run("umount", "-l", folder)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    yield
    filler.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """By another mount: a process may have a file open for writing."""
    run("mount", "--bind", folder, folder)
    run("mount", "-o", "remount,bind,ro", folder)
    yield
    run("umount", "-l", folder)


@contextlib.contextmanager
def on_fat(directory: Path, disk: Path) -> Iterator[subprocess.Popen[bytes]]:
    serving = subprocess.Popen([sys.executable, _FAT, directory, disk])
    try:
        until(lambda: f" {disk} " in Path("/proc/self/mountinfo").read_text())
        yield serving
    finally:
        serving.kill()
        serving.wait()
        run("umount", "-l", disk)
