"""Stat, list, open, read, readlink in domain terms: a filesystem without FUSE.

`open` downloads an image; from then on its size is exact, and a read is a slice of its
immutable bytes. ``kernel_view.py`` explains what the kernel must be told before, and
why an open may be answered with ESTALE once.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Protocol

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import (
    Attributes,
    Changing,
    Entry,
    Folder,
    Link,
    Picture,
    Sheet,
)
from allenfs.errors import IsADirError, ServiceError, StaleSizeError
from allenfs.fetch.metrics import Activity
from allenfs.filesystem.handles import Handle, Handles
from allenfs.filesystem.kernel_view import KernelView, Opened, Opening
from allenfs.filesystem.namespace import Namespace
from allenfs.store.stored_file import Image, Known

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.documents import Readable
    from allenfs.fetch.readahead import ReadAhead
    from allenfs.filesystem.namespace import Catalog
    from allenfs.filesystem.own_files import OwnFiles
    from allenfs.model.images import ImageService
    from allenfs.model.sheets import Request

_BLOCK_BYTES = 512


class Fetcher(Protocol):
    """The source of images."""

    def get(self, request: Request, interrupted: Callable[[], bool]) -> Image:
        """Return the whole image, or raise."""

    def peek(self, request: Request) -> Known | None:
        """Return size and time of a local image."""

    def used_ids(self, service: ImageService) -> list[int]:
        """Return the ids that were used before."""

    def last_failure(self, request: Request) -> str | None:
        """Why the last download failed."""


def _never() -> bool:
    return False


def _nobody() -> int:
    return 0


class Filesystem:
    """The tree of images. Safe to use from many threads.

    A method that takes `interrupted` may wait for the service; it polls the function,
    and raises InterruptedWaitError when it returns true.

    Parameters
    ----------
    fetcher
        Fetches images.
    catalog
        Resolves everything outside the grammar of images.
    max_image_bytes : int
        The largest upper bound of a size.
    readahead : ReadAhead, optional
        Notified of each image that is opened.
    activity : Activity, optional
        Counts opened images and the bytes read.
    own_files : OwnFiles, optional
        Status and log of the mount.
    handles : Handles, optional
        The table of open files.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        catalog: Catalog,
        *,
        max_image_bytes: int,
        readahead: ReadAhead | None = None,
        activity: Activity | None = None,
        own_files: OwnFiles | None = None,
        handles: Handles | None = None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._fetcher = fetcher
        self._namespace = Namespace(catalog, fetcher.used_ids, clock, own_files)
        self._max_image_bytes = max_image_bytes
        self._readahead = readahead
        self._activity = activity or Activity()
        self._started_ns = clock_ns()
        self._handles = Handles() if handles is None else handles
        self._kernel = KernelView(clock)
        # Documents in use. As with images, the kernel has one page cache per file, and
        # a newer record must not get into it.
        self._live: weakref.WeakValueDictionary[str, Document] = (
            weakref.WeakValueDictionary()
        )
        # The last snapshot of each changing file, while it is open.
        self._latest: weakref.WeakValueDictionary[str, Readable] = (
            weakref.WeakValueDictionary()
        )

    def entry(self, path: str, *, interrupted: Callable[[], bool] = _never) -> Entry:
        """Return the entry of a path; raises as `Namespace.entry` does."""
        return self._namespace.entry(path, interrupted)

    def names(
        self, path: str, *, interrupted: Callable[[], bool] = _never
    ) -> list[str]:
        """Return the names in a directory; raises as `Namespace.names` does."""
        return self._namespace.names(path, interrupted)

    def target(self, path: str, *, interrupted: Callable[[], bool] = _never) -> str:
        """Return the target of a link; raises as `Namespace.target` does."""
        return self._namespace.target(path, interrupted)

    def stat(
        self,
        path: str,
        handle: int | None = None,
        *,
        caller: Callable[[], int] = _nobody,
        interrupted: Callable[[], bool] = _never,
    ) -> Attributes:
        """Return the attributes of a path, or of an open file.

        Raises
        ------
        BadHandleError, and what `entry` raises
        """
        if handle is not None:
            opened = self._handles.get(handle)
            if not isinstance(opened.image, (Image, Document)):
                return _attributes(_known(opened.image))
            return self._told(opened.path, _known(opened.image), caller)
        entry = self.entry(path, interrupted=interrupted)
        match entry:
            case Folder():
                return Attributes(0, 0, self._started_ns, is_dir=True)
            case Link(target):
                size_bytes = len(target.encode())
                return Attributes(size_bytes, 0, self._started_ns, is_link=True)
            case Document():
                live = self._live.get(path, entry)
                return self._told(path, _known(live), caller)
            case Changing(taken):
                # `fstat` after `open` comes without a handle
                return _attributes(_known(self._latest.get(path) or taken()))
            case Picture(request, full_px):
                bound_bytes = request.size_bound_bytes(full_px)
                return self._stat_image(path, request, bound_bytes, caller)
            case Sheet(sheet):
                return self._stat_image(path, sheet, sheet.size_bound_bytes(), caller)

    def _stat_image(
        self,
        path: str,
        request: Request,
        bound_bytes: int,
        caller: Callable[[], int],
    ) -> Attributes:
        known_here = self._fetcher.peek(request)
        if known_here is not None:
            return self._told(path, known_here, caller)
        remembered = self._kernel.last_told(path)
        if remembered is not None:
            return self._told(path, remembered, caller, is_here=False)
        bound_bytes = min(bound_bytes, self._max_image_bytes)
        return Attributes(bound_bytes, 0, self._started_ns)

    def open(
        self,
        path: str,
        *,
        caller: Callable[[], int] = _nobody,
        is_final: Callable[[], bool] = _never,
        past_cache: bool = False,
        interrupted: Callable[[], bool] = _never,
    ) -> Opened:
        """Make the whole file local and return a handle to it.

        Parameters
        ----------
        caller : callable
            Thread id of the caller, which would repeat the lookup.
        is_final : callable
            Whether the kernel would not repeat the lookup and open.
        past_cache : bool
            The caller's reads bypass the page cache (O_DIRECT).
        interrupted : callable
            Whether the caller stopped waiting.

        Raises
        ------
        IsADirError, and what `entry` raises
        StaleSizeError
            Once per caller: the kernel must repeat the lookup and the open.
        ServiceError, InterruptedWaitError
            The image is not available.
        """
        entry = self.entry(path, interrupted=interrupted)
        image: Image | Document
        match entry:
            case Picture(request) | Sheet(request):
                image = self._image(path, request, caller, interrupted)
            case Document():
                image = self._live.setdefault(path, entry)
            case Changing(taken):
                # bypasses the page cache and the kernel's idea of the size, because
                # each open has its own bytes
                latest = self._latest[path] = taken()
                number = self._handles.add(Handle(path, latest, direct_io=True))
                return Opened(number, keep_cache=False, direct_io=True)
            case _:
                raise IsADirError(path)
        opening = self._kernel.opening(path, caller, image, is_final)
        if opening is Opening.AGAIN:
            raise StaleSizeError(path)
        direct_io = past_cache or opening is Opening.UNTOLD
        number = self._handles.add(Handle(path, image, direct_io))
        return Opened(number, opening is Opening.SAME_PAGES, direct_io)

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size) of an open file.

        Raises
        ------
        BadHandleError, and what `Handle.read` raises
        """
        opened = self._handles.get(handle)
        data = opened.read(offset, size)
        if isinstance(opened.image, Image):
            self._activity.read(len(data))
        return data

    def release(self, handle: int) -> None:
        """Close a handle; raises BadHandleError."""
        self._kernel.drop_late()
        self._handles.remove(handle)

    def is_size_known(self, path: str, request: Request) -> bool:
        """Return whether `stat` shows the exact size of an image, and not a bound."""
        if self._fetcher.peek(request) is not None:
            return True
        return self._kernel.last_told(path) is not None

    def _image(
        self,
        path: str,
        request: Request,
        caller: Callable[[], int],
        interrupted: Callable[[], bool],
    ) -> Image:
        # a caller that got ESTALE reopens the same file: no step in a sequence
        is_again = self._kernel.was_sent_back(path, caller)
        if self._readahead is not None and not is_again:
            self._readahead.opened(path)
        try:
            image = self._fetcher.get(request, interrupted)
        except ServiceError:
            if self._readahead is not None:
                self._readahead.failed(path)
            raise
        if is_again:
            self._activity.opened_again()
        return image

    def _told(
        self,
        path: str,
        known: Known,
        caller: Callable[[], int],
        *,
        is_here: bool = True,
    ) -> Attributes:
        self._kernel.told(path, known, caller)
        return _attributes(known, is_here=is_here)


def _attributes(known: Known, *, is_here: bool = True) -> Attributes:
    blocks = -(-known.size_bytes // _BLOCK_BYTES) if is_here else 0
    return Attributes(known.size_bytes, blocks, known.modified_ns)


def _known(file: Readable) -> Known:
    facts = file.facts
    return Known(facts.size_bytes, facts.modified_ns)
