"""The filesystem as programs see it: through a real mount, or without FUSE.

Both stand on a real store and a real service, and fail with an errno.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import mmap
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from model_world import Kernel
from mounted import Mounted

from allenfs.catalog.record_cache import RecordCache
from allenfs.catalog.repository import Repository
from allenfs.catalog.resolver import Catalog
from allenfs.config import ServiceSettings, StoreSettings, service_name
from allenfs.errors import AllenFSError
from allenfs.fetch.fetcher import Fetcher
from allenfs.filesystem.filesystem import Filesystem, Opened
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.slots import Slots
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import RecordFiles

CAPACITY_BYTES = 2**28
MAX_IMAGE_BYTES = 4_000_000
# Outside of the ephemeral ports, so that a closed one stays free.
_PORTS = range(20_000, 30_000)
_LOGGER = logging.getLogger("allenfs")
_BAD = ("WARNING", "ERROR", "CRITICAL", "Traceback")


class Seen(NamedTuple):
    """The result of `stat`."""

    size_bytes: int
    blocks: int


def settings_of(
    api_url: str, cache_dir: Path, memory_s: float
) -> tuple[ServiceSettings, StoreSettings]:
    service = ServiceSettings(
        api_url,
        max_image_bytes=MAX_IMAGE_BYTES,
        first_backoff_s=0,
        failure_memory_s=memory_s,
        not_found_memory_s=memory_s,
    )
    return service, StoreSettings(cache_dir, CAPACITY_BYTES, service_name(api_url))


def started_service() -> SampleService:
    """A service that can be closed, and started again on its port."""
    while True:
        # not by random's dice, which hypothesis lets fall alike in every process
        service = SampleService(port=secrets.choice(_PORTS))
        with contextlib.suppress(OSError):
            service.start()
            return service


class MountWorld:
    """A mount, and the system's calls."""

    def __init__(
        self, folder: Path, service: ServiceSettings, store: StoreSettings
    ) -> None:
        self._mounted = Mounted(
            folder,
            cache_dir=store.directory,
            capacity_bytes=store.capacity_bytes,
            # what is read ahead comes sooner or later: no model knows which
            readahead=0,
            **asdict(service),
        )
        self._mounted.start()

    def stat(self, path: str) -> Seen:
        return _seen(os.lstat(self._mounted / path))

    def names(self, path: str) -> list[str]:
        return os.listdir(self._mounted / path)

    def target(self, path: str) -> str:
        return os.readlink(self._mounted / path)

    def open(self, path: str, *, past_cache: bool) -> int:
        return os.open(
            self._mounted / path, os.O_RDONLY | (os.O_DIRECT if past_cache else 0)
        )

    def fstat(self, handle: int) -> Seen:
        return _seen(os.fstat(handle))

    def read(self, handle: int, offset: int, size: int) -> bytes:
        return os.pread(handle, size, offset)

    def whole(self, handle: int, chunk: int) -> bytes:
        os.lseek(handle, 0, os.SEEK_SET)
        return _until_the_end(lambda: os.read(handle, chunk))

    def mapped(self, handle: int) -> bytes:
        with mmap.mmap(handle, 0, prot=mmap.PROT_READ) as pages:
            return bytes(pages)

    def close(self, handle: int) -> None:
        os.close(handle)

    def restart(self, *, kill: bool) -> None:
        self._mounted.kill() if kill else self._mounted.stop()
        self._mounted.start()

    def end(self) -> None:
        self._mounted.stop()

    @property
    def warnings(self) -> list[str]:
        lines = self._mounted.log.splitlines()
        return [line for line in lines if line.startswith(_BAD)]


class _File(NamedTuple):
    kernel: Kernel
    path: str
    opened: Opened


class DirectWorld:
    """What a mount is built of, and a kernel that goes by the kernel's rules."""

    def __init__(
        self, _folder: Path, service: ServiceSettings, store: StoreSettings
    ) -> None:
        self._settings = service, store
        self._files: dict[int, _File] = {}
        self._numbers = itertools.count(1)
        self._log = _Warnings()
        _LOGGER.addHandler(self._log)
        _LOGGER.propagate = False
        self._start()

    def _start(self) -> None:
        settings, of_store = self._settings
        store, slots = ImageFiles(of_store), Slots(settings.connections)
        service = AllenService(settings)
        cache = RecordCache(RecordFiles(of_store), settings)
        repository = Repository(service, cache, settings, slots)
        filesystem = Filesystem(
            Fetcher(service, store, settings, slots=slots),
            Catalog(repository, cache),
            max_image_bytes=MAX_IMAGE_BYTES,
        )
        self._kernel = Kernel(filesystem)
        store.load()

    def stat(self, path: str) -> Seen:
        with _errnos():
            return self._looked_up(path)

    def _looked_up(self, path: str, handle: int | None = None) -> Seen:
        told = self._kernel.filesystem.stat(path, handle)
        self._kernel.sizes[path] = told.size_bytes
        return Seen(told.size_bytes, told.blocks)

    def names(self, path: str) -> list[str]:
        with _errnos():
            self._looked_up(path)
            return self._kernel.filesystem.names(path)

    def target(self, path: str) -> str:
        with _errnos():
            return self._kernel.filesystem.target(path)

    def open(self, path: str, *, past_cache: bool) -> int:
        with _errnos():
            opened, _ = self._kernel.open(path, 1, looks_up=True, past_cache=past_cache)
        number = next(self._numbers)
        self._files[number] = _File(self._kernel, path, opened)
        return number

    def fstat(self, handle: int) -> Seen:
        kernel, path, opened = self._files[handle]
        with _errnos():
            told = kernel.filesystem.stat(path, opened.handle)
            return Seen(told.size_bytes, told.blocks)

    def read(self, handle: int, offset: int, size: int) -> bytes:
        kernel, path, opened = self._files[handle]
        with _errnos():
            return kernel.read(path, opened, offset, size)

    def whole(self, handle: int, chunk: int) -> bytes:
        offsets = itertools.count(0, chunk)
        return _until_the_end(lambda: self.read(handle, next(offsets), chunk))

    def mapped(self, handle: int) -> bytes:
        kernel, path, opened = self._files[handle]
        with _errnos():
            return kernel.read_all(path, opened, 2**17)

    def close(self, handle: int) -> None:
        kernel, _, opened = self._files.pop(handle)
        kernel.filesystem.release(opened.handle)

    def restart(self, *, kill: bool) -> None:
        self._start()

    def end(self) -> None:
        _LOGGER.removeHandler(self._log)
        _LOGGER.propagate = True

    @property
    def warnings(self) -> list[str]:
        return self._log.lines


class _Warnings(logging.Handler):
    """Writes down what a daemon's log would show."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter(logging.BASIC_FORMAT).format(record))


def _seen(found: os.stat_result) -> Seen:
    return Seen(found.st_size, found.st_blocks)


def _until_the_end(read: Callable[[], bytes]) -> bytes:
    whole = b""
    while (data := read()) and len(whole) < MAX_IMAGE_BYTES:  # or it may have none
        whole += data
    return whole


@contextlib.contextmanager
def _errnos() -> Iterator[None]:
    try:
        yield
    except AllenFSError as error:
        raise OSError(error.errno, str(error)) from error
