"""Stores, images whose bytes name themselves, and looks at the disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import subprocess

from allenfs.config import StoreSettings
from allenfs.model.images import ImageRequest, ImageService
from allenfs.store.image_files import ImageFiles

KIB, MIB = 2**10, 2**20
PAGE = 4096
FOOTER_BYTES = 320
STARTED_NS = 1_700_000_000 * 10**9


def store_at(directory, capacity_bytes=MIB, service="test", **options):
    return ImageFiles(StoreSettings(directory, capacity_bytes, service), **options)


def section(number):
    return ImageRequest(ImageService.SECTION, number)


def image_bytes(number, size):
    """Bytes in which every 32 say whose they are and where."""
    blocks = (
        hashlib.sha256(b"%d %d %d" % (number, size, at)).digest()
        for at in range(0, size, 32)
    )
    return b"".join(blocks)[:size]


def put(store, image, data, modified_ns=None):
    """Store an image, or that of a number; readers get its bytes, kept or not."""
    temp_file = store.temp_file()
    for at in range(0, len(data), 10_000):
        temp_file.write(data[at : at + 10_000])
    request = section(image) if isinstance(image, int) else image
    added = store.add(request, temp_file, modified_ns)
    assert content(added) == data
    return added


def content(image):
    return None if image is None else image.read(0, image.facts.size_bytes + 1)


def found(store, number):
    return content(store.find(section(number)))


def stored_files(directory):
    return sorted((directory / "images").rglob("*.jpg"))


def stored_file(directory, number, service="test"):
    (path,) = (directory / "images" / service / "section" / str(number)).iterdir()
    return path


def downloads(directory):
    return list((directory / "incoming").iterdir())


@contextlib.contextmanager
def held_still(directory):
    """Hold the store's lock: no process changes anything meanwhile."""
    with (directory / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def disk_usage(directory):
    """Bytes, and bytes in whole blocks, of all files but downloads under way."""
    with held_still(directory):
        sizes = [
            path.stat().st_size
            for path in directory.rglob("*")
            if path.is_file() and path.parent.name != "incoming"
        ]
    return sum(sizes), sum(-(-size // PAGE) * PAGE for size in sizes)


def warnings_in(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("allenfs") and record.levelno >= logging.WARNING
    ]


def verify_all(directory):
    """Verify every stored image with another store: read, damaged, removed."""
    return store_at(directory).verify()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def as_root(*command):
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, *command], check=True)


@contextlib.contextmanager
def read_only(place):
    """A read-only bind mount of the same files."""
    as_root("mount", "--bind", str(place), str(place))
    try:
        as_root("mount", "-o", "remount,bind,ro", str(place))
        yield
    finally:
        as_root("umount", "-l", str(place))


def free_pages(place):
    stat = os.statvfs(place)
    return stat.f_bavail * stat.f_frsize // PAGE


def fill(place, *, leave_pages):
    ballast = place / "ballast"
    ballast.write_bytes(b"x" * PAGE * (free_pages(place) - leave_pages))
    assert free_pages(place) == leave_pages
    return ballast
