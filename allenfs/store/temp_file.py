"""Where the bytes of a download are until they are stored: a file, else memory."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING

from allenfs.errors import DamagedStoreError, ExhaustedError
from allenfs.store.stored_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_WINDOW_BYTES = 2**20


class FileView:
    """The bytes of an open file by slices, at most 1 MiB of them in memory.

    Not a memory map, whose pages count as memory of the process: 100 MB after a check
    of a file of that size.

    A slice raises DamagedStoreError if the file cannot be read back. Bytes of the file
    after `size_bytes` are not seen.
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


class TempFile:
    """Takes the bytes of one download.

    If the store cannot take them (disk full, no permission), they move to memory, so
    that the download does not fail.

    Every method except `close` and `discard` may raise DamagedStoreError, if the file
    cannot be read back, and ExhaustedError, if there is no memory either.
    """

    def __init__(self, path: Path | None, report: Callable[[OSError], None]) -> None:
        # None while the bytes are in memory. The file is locked (``flock``) while it is
        # open: an unlocked one was left behind by a killed process.
        self.path = path
        self.size_bytes = 0  # written so far
        self.promised_bytes: int | None = None  # announced by the service
        self.sha256 = hashlib.sha256()
        self._report = report
        try:
            self.file = self._open_memory() if path is None else _open_locked(path)
        except OSError as error:
            report(error)
            self.file = self._open_memory()

    def restart(self) -> None:
        """Drop what was written."""
        self.size_bytes = 0
        self.promised_bytes = None
        self.sha256 = hashlib.sha256()
        try:
            os.ftruncate(self.file.fd, 0)
        except OSError as error:
            self._move_to_memory(error)

    def expect(self, promised_bytes: int | None) -> None:
        """Set the length announced by the service, None if it did not say."""
        self.promised_bytes = promised_bytes

    def write(self, chunk: bytes) -> None:
        """Add `chunk` at the end."""
        self.sha256.update(chunk)
        self.append(chunk)
        self.size_bytes += len(chunk)

    def append(self, chunk: bytes) -> None:
        """Write `chunk` after the content without counting it: for the footer."""
        try:
            _write_all(self.file.fd, chunk, self.size_bytes)
        except OSError as error:
            self._move_to_memory(error)
            with _last_resort():
                _write_all(self.file.fd, chunk, self.size_bytes)

    def stamp(self, used_ns: int, modified_ns: int) -> int:
        """Set the file's times; return the modification time that it then has.

        File systems store at least whole seconds, FAT even ones. The footer records
        this value, so that it agrees with `stat`.
        """
        modified_ns -= modified_ns % 10**9
        with contextlib.suppress(OSError):
            os.utime(self.file.fd, ns=(used_ns, modified_ns))
            modified_ns = os.fstat(self.file.fd).st_mtime_ns
        return modified_ns

    def view(self) -> FileView:
        """Return what was written, without reading it into memory."""
        return FileView(self.file.fd, self.size_bytes)

    def close(self) -> None:
        """Remove the file, and close it unless another object refers to it."""
        self.discard()
        del self.file

    def discard(self) -> None:
        """Remove the file; it stays open."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.path = None

    def _open_memory(self) -> OpenFile:
        self.path = None
        with _last_resort():
            return OpenFile(os.memfd_create("allenfs-image"))

    def _move_to_memory(self, error: OSError) -> None:
        self._report(error)
        self.discard()
        written, old = self.view(), self.file  # which stays open until the end
        self.file = self._open_memory()
        for start in range(0, self.size_bytes, _WINDOW_BYTES):
            chunk = written[start : start + _WINDOW_BYTES]
            with _last_resort():
                _write_all(self.file.fd, chunk, start)
        copied_bytes = os.fstat(self.file.fd).st_size
        if copied_bytes < self.size_bytes:
            msg = f"was cut at byte {copied_bytes}"
            raise DamagedStoreError(msg)
        del old


@contextlib.contextmanager
def _last_resort() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"no place for a download: {error}"
        raise ExhaustedError(msg) from error


def _open_locked(path: Path) -> OpenFile:
    """Create a file and lock it, before another process removes it as left behind."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOATIME
    while True:
        file = OpenFile(os.open(path, flags, 0o600))
        try:
            fcntl.flock(file.fd, fcntl.LOCK_EX)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        if os.fstat(file.fd).st_nlink:  # else removed between the two
            return file


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
