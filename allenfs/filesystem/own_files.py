"""``.allenfs``: the files in which a mount reports its status and log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.catalog.entries import Changing, Folder
from allenfs.errors import PathNotFoundError
from allenfs.model.nodes import OwnDirectory, OwnFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allenfs.catalog.documents import Readable
    from allenfs.catalog.entries import Entry


class OwnFiles:
    """Resolves paths in ``.allenfs``.

    Parameters
    ----------
    files : mapping of str to callable
        Functions that return the current content, by file name.
    """

    def __init__(self, files: Mapping[str, Callable[[], Readable]]) -> None:
        self._files = files

    def entry(self, node: OwnDirectory | OwnFile) -> Entry:
        """Return the entry of a node, or raise PathNotFoundError."""
        if isinstance(node, OwnDirectory):
            return Folder()
        if node.name not in self._files:
            raise PathNotFoundError(node.name)
        return Changing(self._files[node.name])

    def names(self) -> list[str]:
        """Return the file names."""
        return list(self._files)
