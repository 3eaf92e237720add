"""A filesystem without FUSE over a dictionary, and what a kernel would do with it."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from allenfs.catalog.entries import Entry, Folder, Picture
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import PathNotFoundError, ServiceError, StaleSizeError
from allenfs.fetch.fetcher import Fetcher
from allenfs.filesystem.filesystem import Filesystem, Opened
from allenfs.filesystem.xattrs import ExtendedAttributes
from allenfs.model import tree
from allenfs.model.images import ImageRequest
from allenfs.model.nodes import (
    ImageDirectory,
    ImageFile,
    ParameterDirectory,
    PatternNode,
)
from allenfs.service.client import Sink
from allenfs.service.single_flight import NOT_INTERRUPTED, Caller
from allenfs.store.image_files import ImageFiles

PAGE = 4096
MAX_IMAGE_BYTES = 2**30


def bytes_of(path: str, version: int, size: int) -> bytes:
    """Bytes that name image, version and offset."""
    seed = f"{path} {version} {size}".encode()
    blocks = (
        hashlib.sha256(seed + at.to_bytes(8, "big")).digest()
        for at in range(0, size, 32)
    )
    return b"".join(blocks)[:size]


def request_of(path: str) -> ImageRequest:
    node = tree.parse(path)
    assert isinstance(node, ImageFile)
    return node.request


class DictionaryService:
    """Returns what is in a dictionary, or fails next if requested."""

    def __init__(self) -> None:
        self.images: dict[ImageRequest, bytes] = {}
        self.served: dict[ImageRequest, list[bytes]] = {}
        self.fail_next: list[ServiceError] = []
        self.fetches = 0

    def fetch(
        self,
        request: ImageRequest,
        sink: Sink,
        slot: AbstractContextManager[object],
        may_retry: object,
    ) -> int | None:
        with slot:
            return self._fetch(request, sink)

    def _fetch(self, request: ImageRequest, sink: Sink) -> int | None:
        self.fetches += 1
        data = self.images[request]
        sink.restart()
        if self.fail_next:
            sink.write(data[: len(data) // 2])  # a failure may come half-way
            raise self.fail_next.pop()
        for at in range(0, len(data), 3000):
            sink.write(data[at : at + 3000])
        self.served.setdefault(request, []).append(data)
        return None


class NoCatalog:
    """Knows images only."""

    last_failure = None

    def resolve(self, node: object, caller: object) -> Entry:
        if isinstance(node, ImageFile):
            return Picture(node.request)
        if isinstance(node, (ImageDirectory, ParameterDirectory)):
            return Folder()
        if isinstance(node, PatternNode) and node.pattern in (
            "",
            "section",
            "projection",
            "atlas",
        ):
            return Folder()
        raise PathNotFoundError(str(node))

    def names(self, node: object, caller: object) -> list[str]:
        if isinstance(node, (ImageDirectory, ParameterDirectory)):
            return tree.listing(node)
        raise PathNotFoundError(str(node))


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def fetcher_on(
    service: DictionaryService, directory: Path, capacity_bytes: int, clock: Clock
) -> Fetcher:
    store = ImageFiles(StoreSettings(directory, capacity_bytes, "model"))
    return Fetcher(service, store, ServiceSettings("http://h"), clock=clock)


def filesystem_of(fetcher: Fetcher, clock: Clock) -> Filesystem:
    return Filesystem(
        fetcher, NoCatalog(), max_image_bytes=MAX_IMAGE_BYTES, clock=clock
    )


def mount(
    service: DictionaryService, directory: Path, capacity_bytes: int, clock: Clock
) -> Filesystem:
    return filesystem_of(fetcher_on(service, directory, capacity_bytes, clock), clock)


class Attributes:
    """The extended attributes of a filesystem, for a caller that is not interrupted."""

    def __init__(self, filesystem: Filesystem, fetcher: Fetcher) -> None:
        self._attributes = ExtendedAttributes(
            filesystem, fetcher, NoCatalog(), api_url="http://h"
        )

    def names(self, path: str) -> list[str]:
        return self._attributes.names(path, NOT_INTERRUPTED)

    def value(self, path: str, name: str) -> bytes:
        return self._attributes.value(path, name, NOT_INTERRUPTED)


@dataclass
class Kernel:
    """What the kernel caches for each path, and its rules.

    Attributes
    ----------
    sizes : dict
        The result of the last `stat` of a path.
    pages : dict
        The bytes of a path's page cache.
    """

    filesystem: Filesystem
    sizes: dict[str, int] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)

    def look_up(self, path: str) -> int:
        self.sizes[path] = self.filesystem.stat(path).size_bytes
        return self.sizes[path]

    def open(
        self, path: str, caller: int, *, looks_up: bool, past_cache: bool = False
    ) -> tuple[Opened, int]:
        """Open as the kernel does; return also how often ESTALE came."""
        open_it = partial(
            self.filesystem.open, path, caller=Caller(caller), past_cache=past_cache
        )
        stale = 0
        if looks_up:
            self.look_up(path)
        try:
            opened = open_it()
        except StaleSizeError:
            stale = 1
            if looks_up:
                self.look_up(path)
            opened = open_it()
        if not opened.direct_io and not opened.keep_cache:
            self.pages.pop(path, None)
        return opened, stale

    def read(self, path: str, opened: Opened, offset: int, size: int) -> bytes:
        """Read by whole pages, up to the end that the kernel believes in."""
        if opened.direct_io:
            return self.filesystem.read(opened.handle, offset, size)
        if offset + size > self.sizes[path]:
            told = self.filesystem.stat(path, opened.handle)
            self.sizes[path] = told.size_bytes
        end = min(offset + size, self.sizes[path])
        if offset >= end:
            return b""
        first, last = offset // PAGE * PAGE, -(-end // PAGE) * PAGE
        pages = self.filesystem.read(opened.handle, first, last - first)
        return pages.ljust(end - first, b"\0")[
            offset - first : end - first
        ]  # as it pads

    def read_all(self, path: str, opened: Opened, chunk: int) -> bytes:
        """Read up to the end that the kernel believes in, page by page."""
        if opened.direct_io:
            return self._read_directly(opened, chunk)
        if path not in self.pages:
            size = self.sizes[path]
            pages = b""
            step = -(-chunk // PAGE) * PAGE  # read-ahead asks for whole pages
            for at in range(0, size, step):
                data = self.filesystem.read(
                    opened.handle, at, min(step, -(-size // PAGE) * PAGE - at)
                )
                pages += data.ljust(min(step, size - at), b"\0")  # as it pads
            self.pages[path] = pages
        return self.pages[path][: self.sizes[path]]

    def _read_directly(self, opened: Opened, chunk: int) -> bytes:
        whole = bytearray()
        while data := self.filesystem.read(opened.handle, len(whole), chunk):
            whole += data
        return bytes(whole)
