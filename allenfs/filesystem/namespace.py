"""Resolve paths and list directories, by the grammar or the catalog."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from allenfs.catalog.entries import Entry, Folder, Link, Picture
from allenfs.errors import NotADirError, NotALinkError, PathNotFoundError, VanishedError
from allenfs.model import tree
from allenfs.model.nodes import (
    CatalogNode,
    CollectionFile,
    ImageDirectory,
    ImageFile,
    OwnDirectory,
    OwnFile,
    ParameterDirectory,
    Root,
    ServiceDirectory,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.filesystem.own_files import OwnFiles
    from allenfs.model.images import ImageService

# `ls -l` and `cat` access a file of a listing several times in a row, and resolving it
# takes 10 of the 25 microseconds of a `stat`. As long as the kernel caches names.
_PICTURE_MEMORY_S = 1.0
_REMEMBERED_PICTURES = 4096


class Catalog(Protocol):
    """Resolves everything outside the grammar of images."""

    def resolve(
        self,
        node: CatalogNode | ParameterDirectory | ImageFile,
        interrupted: Callable[[], bool],
    ) -> Entry:
        """Return the entry of a node, or raise."""

    def names(self, node: CatalogNode, interrupted: Callable[[], bool]) -> list[str]:
        """Return the names in a directory of the catalog."""

    def image_names(
        self,
        node: ImageDirectory | ParameterDirectory,
        interrupted: Callable[[], bool],
    ) -> list[str]:
        """Return the names in a directory of one image."""


class Namespace:
    """Resolves paths. Safe to use from many threads.

    A method that takes `interrupted` may wait for the service; it polls the function,
    and raises InterruptedWaitError when it returns true.

    Parameters
    ----------
    catalog
        Resolves everything outside the grammar of images.
    used_ids : callable
        Returns the ids of a service's images that were used before.
    clock : callable
        Monotonic seconds.
    own_files : OwnFiles, optional
        Status and log of the mount.
    """

    def __init__(
        self,
        catalog: Catalog,
        used_ids: Callable[[ImageService], list[int]],
        clock: Callable[[], float],
        own_files: OwnFiles | None = None,
    ) -> None:
        self._catalog = catalog
        self._own_files = own_files
        self._used_ids = used_ids
        self._clock = clock
        self._pictures: dict[str, tuple[Picture, float]] = {}

    def entry(self, path: str, interrupted: Callable[[], bool]) -> Entry:
        """Return the entry of a path.

        Raises
        ------
        PathNotFoundError
            It does not exist.
        ServiceError, InterruptedWaitError
            A query of the catalog failed.
        """
        picture, ends_s = self._pictures.get(path, (None, 0.0))
        if picture is not None and self._clock() < ends_s:
            return picture
        node = tree.parse(path)
        if isinstance(node, (Root, ServiceDirectory, ImageDirectory)):
            return Folder()
        if isinstance(node, (OwnDirectory, OwnFile)):
            return self._own(path).entry(node)
        entry = self._catalog.resolve(node, interrupted)
        if isinstance(node, CollectionFile) and isinstance(entry, Picture):
            self._remember(path, entry)
        return entry

    def names(self, path: str, interrupted: Callable[[], bool]) -> list[str]:
        """Return the names in a directory.

        Raises
        ------
        NotADirError, and what `entry` raises
        VanishedError
            The directory exists in a list, but not in the records any more.
        """
        node = tree.parse(path)
        match node:
            case Root():
                return tree.listing(node, [])
            case ServiceDirectory(service):
                return tree.listing(node, self._used_ids(service))
            case ImageDirectory():
                return self._catalog.image_names(node, interrupted)
            case OwnDirectory():
                return self._own(path).names()
            case OwnFile():
                self._own(path).entry(node)
                raise NotADirError(path)
        entry = self._catalog.resolve(node, interrupted)
        if not isinstance(entry, Folder) or isinstance(node, ImageFile):
            raise NotADirError(path)
        if isinstance(node, ParameterDirectory):
            return self._catalog.image_names(node, interrupted)
        try:
            return self._catalog.names(node, interrupted)
        except PathNotFoundError as error:
            raise VanishedError(path) from error

    def target(self, path: str, interrupted: Callable[[], bool]) -> str:
        """Return the target of a symbolic link.

        Raises
        ------
        NotALinkError, and what `entry` raises
        """
        entry = self.entry(path, interrupted)
        if not isinstance(entry, Link):
            raise NotALinkError(path)
        return entry.target

    def _own(self, path: str) -> OwnFiles:
        if self._own_files is None:  # nothing is mounted
            raise PathNotFoundError(path)
        return self._own_files

    def _remember(self, path: str, picture: Picture) -> None:
        self._pictures[path] = picture, self._clock() + _PICTURE_MEMORY_S
        if len(self._pictures) > _REMEMBERED_PICTURES:
            with contextlib.suppress(KeyError, RuntimeError):  # another thread did
                del self._pictures[next(iter(self._pictures))]
