"""The tree of images of one service and one store, in this process."""

from __future__ import annotations

import enum
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Changing, Entry, Folder, Link
from allenfs.errors import AllenFSError, IsADirError
from allenfs.service.single_flight import Caller

if TYPE_CHECKING:
    from allenfs.assembly import Assembly
    from allenfs.catalog.entries import Picture


Kind = enum.Enum("Kind", "DIRECTORY FILE LINK")


class Tree:
    """The tree, whether it is mounted or not. Thread-safe.

    Paths are relative to the root, without a slash at either end; symbolic links
    inside a path are followed. Every method may wait for the service, polls
    `interrupted` meanwhile, and raises AllenFSError.
    """

    def __init__(
        self,
        assembly: Assembly,
        mountpoint: Path | None,
        *,
        connections: int,
        interrupted: Callable[[], bool],
    ) -> None:
        self._assembly = assembly
        self._mountpoint = mountpoint
        self._caller = Caller(is_interrupted=interrupted)
        self.connections = connections

    def shown(self, path: str) -> str:
        """Return a path as messages show it."""
        return str(self._mountpoint / path) if self._mountpoint else path or "."

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return self._assembly.filesystem.names(self._resolved(path), self._caller)

    def kind(self, path: str, *, follow: bool) -> Kind:
        """Return the kind of a path; if `follow`, of the target of a link."""
        if follow:
            path = self._resolved(path)
        else:
            directory, _, name = path.rpartition("/")
            path = posixpath.join(self._resolved(directory), name)
        kinds = {Link: Kind.LINK, Folder: Kind.DIRECTORY}
        return kinds.get(type(self._entry(path)), Kind.FILE)

    def local_bytes(self, path: str) -> int | None:
        """Return the size of a stored image or of a document, None if it is missing."""
        file = self._file(path)
        if isinstance(file, Document):  # the lookup has requested its record
            return file.facts.size_bytes
        known = self._assembly.store.peek(file.request)
        return known.size_bytes if known else None

    def fetch(self, path: str) -> int:
        """Download an image unless it is stored; verify it, and return its size."""
        file = self._file(path)
        if isinstance(file, Document):
            return file.facts.size_bytes
        if file.chunk is not None:  # its tile must have the right size
            self._assembly.fetcher.get_chunk(file.chunk, self._caller)
            return self.local_bytes(path) or 0
        return self._assembly.fetcher.get(file.request, self._caller).facts.size_bytes

    def evict(self, path: str) -> int | None:
        """Remove an image from the store; return its size, None if it is not stored.

        Documents are kept: they are made from records that other files need.
        """
        file = self._file(path)
        if isinstance(file, Document):
            return None
        try:
            return self._assembly.store.evict(file.request)
        except OSError as error:
            raise AllenFSError(error.strerror) from error

    def store_failure(self) -> str | None:
        """Return why the store cannot be written, None if it can."""
        return self._assembly.store_directory.check()

    def _file(self, path: str) -> Picture | Document:
        entry = self._entry(self._resolved(path))
        if isinstance(entry, (Folder, Link, Changing)):
            raise IsADirError(path)
        return entry

    def _entry(self, path: str) -> Entry:
        return self._assembly.filesystem.entry(path, self._caller)

    def _resolved(self, path: str) -> str:
        return self._assembly.filesystem.resolved(path, self._caller)
