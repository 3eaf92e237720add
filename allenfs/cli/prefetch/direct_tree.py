"""The tree of images without a mount, served in this process."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Entry, Folder, Link, Picture, Sheet
from allenfs.cli.prefetch.selection import Kind
from allenfs.errors import IsADirError, PathNotFoundError
from allenfs.model import tree
from allenfs.model.nodes import AtlasLink, DataSetLink, SectionLink
from allenfs.service.single_flight import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.assembly import Assembly


class DirectTree:
    """A `selection.Tree` in this process.

    Parameters
    ----------
    assembly
        The object graph.
    connections : int
        Simultaneous requests.
    interrupted : callable
        Polled while waiting for the service.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        connections: int,
        interrupted: Callable[[], bool],
    ) -> None:
        self._assembly = assembly
        self._caller = Caller(is_interrupted=interrupted)
        self.connections = connections

    def shown(self, path: str) -> str:
        """Return the path as it is."""
        return path or "."

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return self._assembly.filesystem.names(self._resolved(path), self._caller)

    def kind(self, path: str, *, follow: bool) -> Kind:
        """Return what a path is."""
        if not follow:
            directory, _, name = path.rpartition("/")
            path = f"{self._resolved(directory)}/{name}".removeprefix("/")
        entry = self._entry(path) if follow else self._at(path)
        if isinstance(entry, Link):
            return Kind.LINK
        return Kind.DIRECTORY if isinstance(entry, Folder) else Kind.FILE

    def local_bytes(self, path: str) -> int | None:
        """Return the size of a stored image or of a record."""
        match self._entry(path):
            case Picture(request) | Sheet(request):
                known = self._assembly.store.peek(request)
                return None if known is None else known.size_bytes
            case Document() as document:  # the lookup has requested its record
                return document.facts.size_bytes
        return None

    def fetch(self, path: str) -> int:
        """Download an image into the store."""
        match self._entry(path):
            case Picture(request) | Sheet(request):
                image = self._assembly.fetcher.get(request, self._caller)
                return image.facts.size_bytes
            case Document() as document:
                return document.facts.size_bytes
        raise IsADirError(path)

    def evict(self, path: str) -> int | None:
        """Remove an image from the store; records stay."""
        match self._entry(path):
            case Picture(request) | Sheet(request):
                return self._assembly.store.evict(request)
        return None

    def store_failure(self) -> str | None:
        """Check that the store can be written; return why not."""
        return self._assembly.store_directory.check()

    def _entry(self, path: str) -> Entry:
        return self._at(self._resolved(path))

    def _at(self, path: str) -> Entry:
        return self._assembly.filesystem.entry(path, self._caller)

    def _resolved(self, path: str) -> str:
        """Resolve the symbolic links in a path, as the kernel does in a mount."""
        resolved = ""
        for name in path.split("/"):
            resolved = posixpath.join(resolved, name)
            if _is_link(resolved):
                target = self._assembly.filesystem.target(resolved, self._caller)
                directory = posixpath.dirname(resolved)
                resolved = posixpath.normpath(posixpath.join(directory, target))
        return resolved


def _is_link(path: str) -> bool:
    try:
        return isinstance(tree.parse(path), (SectionLink, DataSetLink, AtlasLink))
    except PathNotFoundError:
        return False
