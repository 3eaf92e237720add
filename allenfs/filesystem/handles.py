"""The table of open files."""

from __future__ import annotations

import itertools
import mmap
import threading
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import BadHandleError, StaleSizeError

if TYPE_CHECKING:
    from allenfs.catalog.documents import Readable

_PAGE_BYTES = mmap.PAGESIZE


class Handle(NamedTuple):
    """An open file.

    Attributes
    ----------
    direct_io : bool
        Its reads bypass the page cache.
    """

    path: str
    image: Readable
    direct_io: bool

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size), shorter only at the file's end.

        Raises
        ------
        DamagedStoreError
        StaleSizeError
            The kernel asks for pages beyond the end, so it has another size, and
            would pad a short read with zeros.
        """
        size_bytes = self.image.facts.size_bytes
        end_of_pages = -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
        if offset + size > end_of_pages and not self.direct_io:
            msg = f"{self.path}: read of bytes {offset} to {offset + size}"
            raise StaleSizeError(msg)
        return self.image.read(offset, size)


class Handles:
    """Open files by number; no number is used twice. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._handles: dict[int, Handle] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, handle: Handle) -> int:
        """Return the number of a new handle."""
        with self._lock:
            number = next(self._numbers)
            self._handles[number] = handle
        return number

    def get(self, number: int) -> Handle:
        """Return an open file, or raise BadHandleError."""
        with self._lock:
            return _open(self._handles.get(number), number)

    def remove(self, number: int) -> None:
        """Close a file, or raise BadHandleError."""
        with self._lock:
            _open(self._handles.pop(number, None), number)


def _open(handle: Handle | None, number: int) -> Handle:
    if handle is None:
        msg = f"handle {number}"
        raise BadHandleError(msg)
    return handle
