"""Stores, images whose bytes name themselves, and looks at the disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import subprocess
from typing import TYPE_CHECKING

from allenfs.config import StoreSettings
from allenfs.model.images import ImageRequest, ImageService
from allenfs.store.image_files import ImageFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from allenfs.store.stored_file import Image

KIB, MIB = 2**10, 2**20
PAGE = 4096
FOOTER_BYTES = 320
STARTED_NS = 1_700_000_000 * 10**9


class Clock:
    """Nanoseconds that pass only by looking: 1 s a look."""

    def __init__(self) -> None:
        self.now_ns = STARTED_NS

    def __call__(self) -> int:
        self.now_ns += 10**9
        return self.now_ns


def store_at(
    directory: Path,
    capacity_bytes: int = MIB,
    service: str = "test",
    clock: Callable[[], int] | None = None,
) -> ImageFiles:
    settings = StoreSettings(directory, capacity_bytes, service)
    return (
        ImageFiles(settings) if clock is None else ImageFiles(settings, clock_ns=clock)
    )


def section(number: int) -> ImageRequest:
    return ImageRequest(ImageService.SECTION, number)


def image_bytes(number: int, size: int) -> bytes:
    """Bytes in which every 32 say whose they are and where."""
    blocks = (
        hashlib.sha256(b"%d %d %d" % (number, size, at)).digest()
        for at in range(0, size, 32)
    )
    return b"".join(blocks)[:size]


def put(
    store: ImageFiles,
    image: int | ImageRequest,
    data: bytes,
    modified_ns: int | None = None,
) -> Image:
    temp_file = store.temp_file()
    for at in range(0, len(data), 10_000):
        temp_file.write(data[at : at + 10_000])
    request = section(image) if isinstance(image, int) else image
    added = store.add(request, temp_file, modified_ns)
    assert content(added) == data
    return added


def content(image: Image | None) -> bytes | None:
    return None if image is None else image.read(0, image.facts.size_bytes + 1)


def found(store: ImageFiles, number: int) -> bytes | None:
    return content(store.find(section(number)))


def stored_files(directory: Path) -> list[Path]:
    return sorted((directory / "images").rglob("*.jpg"))


def stored_file(directory: Path, number: int, service: str = "test") -> Path:
    (path,) = (directory / "images" / service / "section" / str(number)).iterdir()
    return path


def downloads(directory: Path) -> list[Path]:
    return list((directory / "incoming").iterdir())


@contextlib.contextmanager
def held_still(directory: Path) -> Iterator[None]:
    """Hold the store's lock: no process changes anything meanwhile."""
    with (directory / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def disk_usage(directory: Path) -> tuple[int, int]:
    """Bytes, and bytes in whole blocks, of all files but downloads under way."""
    with held_still(directory):
        sizes = [
            path.stat().st_size
            for path in directory.rglob("*")
            if path.is_file() and path.parent.name != "incoming"
        ]
    return sum(sizes), sum(-(-size // PAGE) * PAGE for size in sizes)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("allenfs") and record.levelno >= logging.WARNING
    ]


def verify_all(directory: Path) -> tuple[int, int, int]:
    """Read every stored image with a store of its own: checked, damaged, removed."""
    return store_at(directory).verify()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def as_root(*command: str) -> None:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, *command], check=True)


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """A mount over the same files that nobody can write through."""
    as_root("mount", "--bind", str(place), str(place))
    try:
        as_root("mount", "-o", "remount,bind,ro", str(place))
        yield
    finally:
        as_root("umount", "-l", str(place))


def free_pages(place: Path) -> int:
    stat = os.statvfs(place)
    return stat.f_bavail * stat.f_frsize // PAGE


def fill(place: Path, *, leave_pages: int) -> Path:
    ballast = place / "ballast"
    ballast.write_bytes(b"x" * PAGE * (free_pages(place) - leave_pages))
    assert free_pages(place) == leave_pages
    return ballast
