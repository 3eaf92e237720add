"""Stat, list, open, read, release in domain terms: a filesystem without FUSE.

An image is downloaded by `open`; from then on its size is exact, and a read is a
slice of its immutable bytes. What the kernel must be told before, and why `open`
may send it back once, is in ``kernel_view.py``.
"""

from __future__ import annotations

import itertools
import mmap
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from allenfs import tree
from allenfs.errors import (
    BadHandleError,
    IsADirError,
    NoAttributeError,
    NotADirError,
    StaleSizeError,
)
from allenfs.kernel_view import KernelView, Opening
from allenfs.sealed import Known

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.images import ImageRequest, ImageService
    from allenfs.sealed import Image

URL_ATTRIBUTE = "user.allenfs.url"
ERROR_ATTRIBUTE = "user.allenfs.error"

_BLOCK_BYTES = 512
_PAGE_BYTES = mmap.PAGESIZE


class Fetcher(Protocol):
    """Where images come from."""

    def get(self, request: ImageRequest, interrupted: Callable[[], bool]) -> Image:
        """Return the whole image, or raise."""

    def peek(self, request: ImageRequest) -> Known | None:
        """Return size and time of an image that is here."""

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids that were used before."""

    def last_failure(self, request: ImageRequest) -> str | None:
        """Why the last download failed."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` tells.

    Attributes
    ----------
    is_dir : bool
    size_bytes : int
        Exact for an image that is here or was read; else an upper bound.
    blocks : int
        512-byte blocks that the image takes on this machine: 0 if it is not here.
    modified_ns : int
        Nanoseconds since the epoch.
    """

    is_dir: bool
    size_bytes: int
    blocks: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Opened:
    """How the kernel shall treat an opened file.

    Attributes
    ----------
    handle : int
        For `read`, `stat` and `release`; never used twice.
    keep_cache : bool
        The kernel's pages of this path are of this very image.
    direct_io : bool
        The kernel shall not use its own idea of the size.
    """

    handle: int
    keep_cache: bool
    direct_io: bool


@dataclass(frozen=True, slots=True)
class _Handle:
    path: str
    image: Image
    direct_io: bool


class Filesystem:
    """The tree of images. Safe to use from many threads.

    Parameters
    ----------
    fetcher
        Gets images.
    api_url : str
        Base of the URLs that the attributes show.
    max_image_bytes : int
        No upper bound of a size is above it.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        api_url: str,
        max_image_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._fetcher = fetcher
        self._api_url = api_url
        self._max_image_bytes = max_image_bytes
        self._started_ns = clock_ns()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._handles: dict[int, _Handle] = {}
        self._kernel = KernelView(clock)

    def stat(self, path: str, handle: int | None = None) -> Attributes:
        """Return the attributes of a path, or of an open file.

        Raises
        ------
        PathNotFoundError, BadHandleError
        """
        if handle is not None:
            opened = self._opened(handle)
            facts = opened.image.facts
            known = Known(facts.size_bytes, facts.modified_ns)
            return self._told(opened.path, known, is_here=True)
        node = tree.parse(path)
        if not isinstance(node, tree.ImageFile):
            return Attributes(
                is_dir=True, size_bytes=0, blocks=0, modified_ns=self._started_ns
            )
        known_here = self._fetcher.peek(node.request)
        if known_here is not None:
            return self._told(path, known_here, is_here=True)
        remembered = self._kernel.last_told(path)
        if remembered is not None:
            return self._told(path, remembered, is_here=False)
        bound_bytes = min(node.request.size_bound_bytes, self._max_image_bytes)
        return Attributes(
            is_dir=False,
            size_bytes=bound_bytes,
            blocks=0,
            modified_ns=self._started_ns,
        )

    def names(self, path: str) -> list[str]:
        """Return the names in a directory.

        Raises
        ------
        PathNotFoundError, NotADirError
        """
        node = tree.parse(path)
        if isinstance(node, tree.ImageFile):
            raise NotADirError(path)
        used_ids = (
            self._fetcher.used_ids(node.service)
            if isinstance(node, tree.ServiceDirectory)
            else []
        )
        return tree.listing(node, used_ids)

    def open(
        self,
        path: str,
        *,
        caller: int = 0,
        past_cache: bool = False,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> Opened:
        """Make the whole image local and return a handle to it.

        Parameters
        ----------
        caller : int
            Who opens, in the kernel's numbers: the one to look again.
        past_cache : bool
            The caller's reads go past the kernel's pages (O_DIRECT).
        interrupted : callable
            Whether the caller does not want to wait any more.

        Raises
        ------
        PathNotFoundError, IsADirError
        StaleSizeError
            Once a caller: the kernel must look the path up and open again.
        ServiceError, InterruptedWaitError
            There is no image.
        """
        node = tree.parse(path)
        if not isinstance(node, tree.ImageFile):
            raise IsADirError(path)
        image = self._fetcher.get(node.request, interrupted)
        opening = self._kernel.opening(path, caller, image)
        if opening is Opening.AGAIN:
            raise StaleSizeError(path)
        direct_io = past_cache or opening is Opening.UNTOLD
        with self._lock:
            number = next(self._numbers)
            self._handles[number] = _Handle(path, image, direct_io)
        return Opened(number, opening is Opening.SAME_PAGES, direct_io)

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size) of an open image.

        Shorter only at the image's end.

        Raises
        ------
        BadHandleError, DamagedStoreError
        StaleSizeError
            The kernel asks for pages behind the end, so that it holds another
            size: what is short would be padded with zeros.
        """
        opened = self._opened(handle)
        size_bytes = opened.image.facts.size_bytes
        end_of_pages = -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
        if offset + size > end_of_pages and not opened.direct_io:
            msg = f"{opened.path}: read of bytes {offset} to {offset + size}"
            raise StaleSizeError(msg)
        return opened.image.read(offset, size)

    def release(self, handle: int) -> None:
        """Close a handle."""
        self._kernel.drop_late()
        with self._lock:
            if self._handles.pop(handle, None) is None:
                msg = f"handle {handle}"
                raise BadHandleError(msg)

    def attribute_names(self, path: str) -> list[str]:
        """Return the names of a path's extended attributes that have a value."""
        node = tree.parse(path)
        if not isinstance(node, tree.ImageFile):
            return []
        has_failed = self._fetcher.last_failure(node.request) is not None
        return [URL_ATTRIBUTE, ERROR_ATTRIBUTE] if has_failed else [URL_ATTRIBUTE]

    def attribute(self, path: str, name: str) -> bytes:
        """Return an extended attribute: the download URL, or the last failure.

        Raises
        ------
        PathNotFoundError, NoAttributeError
        """
        node = tree.parse(path)
        value: str | None = None
        if isinstance(node, tree.ImageFile):
            if name == URL_ATTRIBUTE:
                value = node.request.url(self._api_url)
            elif name == ERROR_ATTRIBUTE:
                value = self._fetcher.last_failure(node.request)
        if value is None:
            raise NoAttributeError(name)
        return value.encode()

    def _opened(self, handle: int) -> _Handle:
        with self._lock:
            opened = self._handles.get(handle)
        if opened is None:
            msg = f"handle {handle}"
            raise BadHandleError(msg)
        return opened

    def _told(self, path: str, known: Known, *, is_here: bool) -> Attributes:
        self._kernel.told(path, known)
        blocks = -(-known.size_bytes // _BLOCK_BYTES) if is_here else 0
        return Attributes(
            is_dir=False,
            size_bytes=known.size_bytes,
            blocks=blocks,
            modified_ns=known.modified_ns,
        )
