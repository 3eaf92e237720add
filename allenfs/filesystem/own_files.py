"""``.allenfs``: the files in which a mount tells what it does."""

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
    """Resolves what is below ``.allenfs``.

    Parameters
    ----------
    files : mapping of str to callable
        Each file as it is now, by name.
    """

    def __init__(self, files: Mapping[str, Callable[[], Readable]]) -> None:
        self._files = files

    def entry(self, node: OwnDirectory | OwnFile) -> Entry:
        """Return what a node is, or raise PathNotFoundError."""
        if isinstance(node, OwnDirectory):
            return Folder()
        if node.name not in self._files:
            raise PathNotFoundError(node.name)
        return Changing(self._files[node.name])

    def names(self) -> list[str]:
        """Return the names of the files."""
        return list(self._files)
