"""Stat, list, open, read, readlink in domain terms: a filesystem without FUSE.

`open` downloads an image; from then on its size is exact, and a read is a slice of its
immutable bytes. ``kernel_view.py`` explains which sizes the kernel must know, and why
an open may be answered with ESTALE once.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Attributes, Changing, Entry, Folder, Link, Picture
from allenfs.errors import (
    AllenFSError,
    IsADirError,
    NotADirError,
    NotALinkError,
    PathNotFoundError,
    ServiceError,
    StaleSizeError,
    VanishedError,
)
from allenfs.fetch.chunks import ChunkFile
from allenfs.fetch.metrics import Activity
from allenfs.filesystem.absences import Absences
from allenfs.filesystem.kernel_view import Handles, KernelView, Opened, Opening
from allenfs.model import nodes, tree
from allenfs.model.images import ImageService
from allenfs.model.pyramids import CHUNK_BYTES
from allenfs.model.stack import PageRequest
from allenfs.service.single_flight import NOT_INTERRUPTED, Caller
from allenfs.store.stored_file import Facts, Image, Known

if TYPE_CHECKING:
    from allenfs.catalog.entries import Readable
    from allenfs.catalog.resolver import Catalog
    from allenfs.fetch.fetcher import Fetcher
    from allenfs.fetch.readahead import ReadAhead
    from allenfs.model.sheets import Request

_BLOCK_BYTES = 512
# `ls -l` and `cat` access a file of a listing several times in a row, and resolving it
# takes 10 of the 25 microseconds of a `stat`. The kernel caches names as long.
_PICTURE_MEMORY_S = 1.0
REMEMBERED_PICTURES = 4096


class Filesystem:
    """The tree of images. Safe to use from many threads.

    A method that takes `caller` may wait for the service; it raises
    InterruptedWaitError when the caller is interrupted. `max_image_bytes` limits the
    upper bound of a size; `own_files` are the files in ``.allenfs``, as functions that
    return their current content. `started_ns` is the time of what has no other.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        catalog: Catalog,
        *,
        max_image_bytes: int,
        readahead: ReadAhead | None = None,
        activity: Activity | None = None,
        own_files: Mapping[str, Callable[[], Readable]] | None = None,
        handles: Handles | None = None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.absences = Absences()
        self._fetcher = fetcher
        self._catalog = catalog
        self._max_image_bytes = max_image_bytes
        self._readahead = readahead
        self._activity = activity or Activity()
        self._own_files = own_files or {}
        self.started_ns = clock_ns()
        self._handles = Handles() if handles is None else handles
        self._kernel = KernelView(clock)
        self._clock = clock
        # a dictionary without a lock: a TTLCache would be as slow as resolving
        self._pictures: dict[str, tuple[Picture, float]] = {}
        # Open documents and snapshots. As for images, the kernel has one page cache per
        # file, which must not mix two versions.
        self._live: weakref.WeakValueDictionary[str, Readable] = (
            weakref.WeakValueDictionary()
        )

    def entry(self, path: str, caller: Caller = NOT_INTERRUPTED) -> Entry:
        """Return the entry of a path.

        PathNotFoundError if it does not exist, ServiceError if a query of the catalog
        failed.
        """
        picture, ends_s = self._pictures.get(path, (None, 0.0))
        if picture is not None and self._clock() < ends_s:
            return picture
        node = tree.parse(path)
        match node:
            case nodes.PatternNode(tree.OWN_DIRECTORY) if self._own_files:
                return Folder()
            case nodes.PatternNode(name) if name.startswith(tree.OWN_DIRECTORY):
                name = name.rpartition("/")[2]
                if name not in self._own_files:  # nothing is mounted
                    raise PathNotFoundError("only the status of a mount, no images")
                return Changing(self._own_files[name])
        try:
            entry = self._catalog.resolve(node, caller)
        except PathNotFoundError as error:
            self.absences.note(path, str(error))
            raise
        except AllenFSError:
            self.absences.failed(path)
            raise
        self.absences.found(path)
        if isinstance(node, nodes.CollectionFile) and isinstance(entry, Picture):
            self._pictures[path] = entry, self._clock() + _PICTURE_MEMORY_S
            if len(self._pictures) > REMEMBERED_PICTURES:
                with contextlib.suppress(KeyError, RuntimeError):  # another thread did
                    del self._pictures[next(iter(self._pictures))]
        return entry

    def names(self, path: str, caller: Caller = NOT_INTERRUPTED) -> list[str]:
        """Return the names in a directory; raises NotADirError, and as `entry` does.

        VanishedError if the directory is in a list, but no longer in the records.
        """
        entry, node = self.entry(path, caller), tree.parse(path)
        match node:
            case nodes.PatternNode(""):
                return list(tree.ROOT_NAMES)
            case nodes.PatternNode("section" | "projection" | "atlas" as service):
                used_ids = self._fetcher.used_ids(ImageService(service))
                return [str(image_id) for image_id in used_ids]
            case nodes.PatternNode(tree.OWN_DIRECTORY):
                return list(self._own_files)
        if not isinstance(entry, Folder):
            raise NotADirError("is not a directory")
        try:
            return self._catalog.names(node, caller)
        except PathNotFoundError as error:
            raise VanishedError(f"the directory no longer exists: {error}") from error

    def target(self, path: str, caller: Caller = NOT_INTERRUPTED) -> str:
        """Return the target of a link; raises NotALinkError, and as `entry` does."""
        entry = self.entry(path, caller)
        if not isinstance(entry, Link):
            raise NotALinkError("is not a symbolic link")
        return entry.target

    def resolved(self, path: str, caller: Caller = NOT_INTERRUPTED) -> str:
        """Resolve the symbolic links in a path, as the kernel does in a mount.

        It always ends: no target contains a link, so each name of the path is followed
        at most once. Raises as `target` does.
        """
        resolved = ""
        for name in path.split("/"):
            resolved = posixpath.join(resolved, name)
            if tree.is_link(resolved):
                target = self.target(resolved, caller)
                directory = posixpath.dirname(resolved)
                resolved = posixpath.normpath(posixpath.join(directory, target))
        return resolved

    def facts(self, entry: Entry) -> Facts | None:
        """Return the facts of a local file (of a chunk: its tile's), otherwise None."""
        match entry:
            case Document():
                return entry.facts
            case Picture(request):
                return self._fetcher.facts(request)
        return None

    def stat(
        self, path: str, handle: int | None = None, caller: Caller = NOT_INTERRUPTED
    ) -> Attributes:
        """Return the attributes of a path, or of an open file.

        Raises BadHandleError, and as `entry` does.
        """
        if handle is not None:
            opened = self._handles.get(handle)
            return self._stat_file(opened.path, opened.file, caller)
        entry = self.entry(path, caller)
        match entry:
            case Folder():
                return Attributes(0, 0, self.started_ns, is_dir=True)
            case Link(target):
                size_bytes = len(target.encode())
                return Attributes(size_bytes, 0, self.started_ns, is_link=True)
            case Document():
                return self._stat_file(path, self._live.get(path, entry), caller)
            case Changing(snapshot):
                # `fstat` after `open` comes without a handle
                return self._stat_file(path, self._live.get(path) or snapshot(), caller)
            case Picture(request, full_px):
                bound_bytes = request.size_bound_bytes(full_px)
        known = self._fetcher.peek(request)
        if entry.chunk is not None:
            return self._stat_chunk(path, known, caller)
        if known is not None:
            return self._exact(path, known, caller)
        known = self._kernel.last_known(path)
        if known is not None:
            return self._exact(path, known, caller)._replace(blocks=0)
        bound_bytes = min(bound_bytes, self._max_image_bytes)
        return Attributes(bound_bytes, 0, self.started_ns)

    def content(self, path: str, caller: Caller = NOT_INTERRUPTED) -> Readable:
        """Make the whole file local, and return its content.

        Raises as `open` does, except StaleSizeError, which only the kernel needs.
        """
        return self._content(path, self.entry(path, caller), caller)

    def open(
        self,
        path: str,
        caller: Caller = NOT_INTERRUPTED,
        *,
        is_final: Callable[[], bool] = lambda: False,
        past_cache: bool = False,
    ) -> Opened:
        """Make the whole file local, and open it for the kernel.

        Parameters
        ----------
        is_final : callable
            Whether the kernel will not repeat the lookup and open.
        past_cache : bool
            The caller's reads bypass the page cache (O_DIRECT).

        Raises
        ------
        IsADirError, and what `entry` raises
        StaleSizeError
            Once per caller: the kernel must repeat the lookup and the open.
        ServiceError
            The image is not available.
        """
        entry = self.entry(path, caller)
        file = self._content(path, entry, caller)
        if isinstance(entry, Changing):
            # bypasses the page cache and the kernel's cached size, because each open
            # has its own bytes
            return self._handles.add(path, file, keep_cache=False, direct_io=True)
        if isinstance(entry, Picture) and entry.chunk is not None:
            opening = self._kernel.opening_at_known_size(path, file)
        else:
            opening = self._kernel.opening(path, caller.thread_id, file, is_final)
        if opening is Opening.AGAIN:
            raise StaleSizeError(path)
        return self._handles.add(
            path,
            file,
            keep_cache=opening is Opening.SAME_PAGES,
            direct_io=past_cache or opening is Opening.SIZE_UNKNOWN,
        )

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size) of an open file.

        Raises BadHandleError, and as `Opened.read` does.
        """
        opened = self._handles.get(handle)
        data = opened.read(offset, size)
        if isinstance(opened.file, (Image, ChunkFile)):
            self._activity.add("read_bytes", len(data))
        return data

    def release(self, handle: int) -> None:
        """Close a handle; raises BadHandleError."""
        self._kernel.drop_late_retries()
        self._handles.remove(handle)

    def is_size_known(self, path: str, request: Request) -> bool:
        """Return whether `stat` shows the exact size of an image, not a bound."""
        known = self._fetcher.peek(request) or self._kernel.last_known(path)
        return known is not None

    def _content(self, path: str, entry: Entry, caller: Caller) -> Readable:
        match entry:
            case Picture():
                return self._image(path, entry, caller)
            case Document():
                return self._live.setdefault(path, entry)
            case Changing(snapshot):
                latest = self._live[path] = snapshot()
                return latest
        raise IsADirError("is a directory")

    def _image(self, path: str, entry: Picture, caller: Caller) -> Image | ChunkFile:
        # reopened after ESTALE: for read-ahead this is not another open
        is_retry = self._kernel.is_retry(path, caller.thread_id)
        request, listed_in = entry.request, entry.listed_in
        ahead: Request = request
        if isinstance(request, PageRequest):
            ahead = request.source
            if self._fetcher.peek(request) is not None:
                listed_in = None  # it is not drawn again: the images are not needed
        if self._readahead and listed_in and not is_retry:
            self._readahead.opened(listed_in, ahead)
        image: Image | ChunkFile
        try:
            if entry.chunk is not None:
                image = self._fetcher.get_chunk(entry.chunk, caller)
            else:
                image = self._fetcher.get(request, caller)
        except ServiceError:
            if self._readahead and listed_in:
                self._readahead.failed(listed_in)
            raise
        if is_retry:
            self._activity.add("hits", -1)  # the kernel repeats one open
        return image

    def _stat_chunk(self, path: str, tile: Known | None, caller: Caller) -> Attributes:
        """Return attributes with the exact size, which does not depend on the tile.

        Only chunks whose tile was local are remembered, for its time: `find` in a
        volume must not displace the sizes of images.
        """
        known = tile or self._kernel.last_known(path)
        if known is None:
            return Attributes(CHUNK_BYTES, 0, self.started_ns)
        exact = Known(CHUNK_BYTES, known.modified_ns)
        attributes = self._exact(path, exact, caller)
        return attributes._replace(blocks=0) if tile is None else attributes

    def _stat_file(self, path: str, file: Readable, caller: Caller) -> Attributes:
        known = Known(file.facts.size_bytes, file.facts.modified_ns)
        if isinstance(file, (Image, ChunkFile, Document)):
            return self._exact(path, known, caller)
        return _attributes(known)

    def _exact(self, path: str, known: Known, caller: Caller) -> Attributes:
        self._kernel.replied(path, known, caller.thread_id)
        return _attributes(known)


def _attributes(known: Known) -> Attributes:
    blocks = -(-known.size_bytes // _BLOCK_BYTES)
    return Attributes(known.size_bytes, blocks, known.modified_ns)
