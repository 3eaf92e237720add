"""The bytes of a file, by slices, with no more than a window of them in memory."""

from __future__ import annotations

import os

from allenfs.errors import DamagedStoreError

_WINDOW_BYTES = 2**20


class WindowedBytes:
    """Slices of an open file.

    Not a memory map: its pages count as the process's memory, all 100 MB of them
    once a check has gone through a file of that size.

    Parameters
    ----------
    fd : int
        Stays open as long as this is used.
    size_bytes : int
        Of the file, from its beginning; what lies behind is not seen.

    Raises
    ------
    DamagedStoreError
        By a slice: the file does not give back what was written.
    """

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._window = b""
        self._start = 0

    def __len__(self) -> int:
        return self._size_bytes

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._size_bytes)
        if not self._start <= start <= stop <= self._start + len(self._window):
            wanted_bytes = max(stop - start, _WINDOW_BYTES)
            wanted_bytes = min(wanted_bytes, self._size_bytes - start)
            try:
                self._window = os.pread(self._fd, wanted_bytes, start)
            except OSError as error:
                msg = f"cannot be read back: {error}"
                raise DamagedStoreError(msg) from error
            self._start = start
        return self._window[start - self._start : max(start, stop) - self._start]
