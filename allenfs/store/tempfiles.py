"""Where a download's bytes are until they are an image: a file, else memory."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import weakref
from typing import TYPE_CHECKING

from allenfs.errors import DamagedStoreError, ExhaustedError
from allenfs.store.windowed import WindowedBytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_COPY_BYTES = 2**20


class Spool:
    """Takes the bytes of one download.

    A file in the store where that works. A store that cannot take the bytes (a
    full disk, no permission) must not fail the download: they move to memory.

    Every method but `close` and `discard` may raise DamagedStoreError, where the file
    does not give back what was written, and ExhaustedError, where memory is no place.

    Attributes
    ----------
    path : Path or None
        The file, or None once the bytes are in memory. The file is locked
        (``flock``) as long as it is open, which tells the litter of a killed
        process from a download under way.
    size_bytes : int
        Written so far.
    promised_bytes : int or None
        What the service says that there will be.
    """

    def __init__(self, path: Path | None, warn: Callable[[OSError], None]) -> None:
        self.path = path
        self.size_bytes = 0
        self.promised_bytes: int | None = None
        self.sha256 = hashlib.sha256()
        self._warn = warn
        try:
            self.fd = self._open_memory() if path is None else _open_locked(path)
        except OSError as error:
            warn(error)
            self.fd = self._open_memory()
        self._close = _closing(self, self.fd)

    def restart(self) -> None:
        """Forget what was written."""
        self.size_bytes = 0
        self.promised_bytes = None
        self.sha256 = hashlib.sha256()
        try:
            os.ftruncate(self.fd, 0)
        except OSError as error:
            self._move_to_memory(error)

    def expect(self, promised_bytes: int | None) -> None:
        """Note how many bytes there will be, as far as the service has said."""
        self.promised_bytes = promised_bytes

    def write(self, chunk: bytes) -> None:
        """Add `chunk` at the end."""
        self.sha256.update(chunk)
        self.append(chunk)
        self.size_bytes += len(chunk)

    def append(self, chunk: bytes) -> None:
        """Write behind the image's bytes without counting: the seal's way in."""
        try:
            _write_all(self.fd, chunk, self.size_bytes)
        except OSError as error:
            self._move_to_memory(error)
            self._write_to_memory(chunk, self.size_bytes)

    def stamp(self, used_ns: int, modified_ns: int) -> int:
        """Set the file's times; return the modification time that it has then.

        With it in the seal, `stat` and the seal agree: every file system stores whole
        seconds, except FAT, which stores even ones.
        """
        modified_ns -= modified_ns % 10**9
        with contextlib.suppress(OSError):
            os.utime(self.fd, ns=(used_ns, modified_ns))
            modified_ns = os.fstat(self.fd).st_mtime_ns
        return modified_ns

    def view(self) -> WindowedBytes:
        """Everything that was written, without reading it into memory."""
        return WindowedBytes(self.fd, self.size_bytes)

    def take_fd(self) -> int:
        """Hand the open descriptor over; the spool does not close it any more."""
        self._close.detach()
        return self.fd

    def close(self) -> None:
        """Remove the file and close the descriptor, unless it was handed over."""
        self.discard()
        self._close()

    def discard(self) -> None:
        """Remove the file; the descriptor stays readable."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.path = None

    def _open_memory(self) -> int:
        self.path = None
        try:
            return os.memfd_create("allenfs-image")
        except OSError as error:
            msg = f"no place for a download: {error}"
            raise ExhaustedError(msg) from error

    def _move_to_memory(self, error: OSError) -> None:
        self._warn(error)
        self.discard()
        written, close_old = WindowedBytes(self.fd, self.size_bytes), self._close
        self.fd = self._open_memory()
        self._close = _closing(self, self.fd)
        copied_bytes = 0
        while copied_bytes < self.size_bytes:
            chunk = written[copied_bytes : copied_bytes + _COPY_BYTES]
            if not chunk:
                msg = f"was cut at byte {copied_bytes}"
                raise DamagedStoreError(msg)
            self._write_to_memory(chunk, copied_bytes)
            copied_bytes += len(chunk)
        close_old()

    def _write_to_memory(self, chunk: bytes, offset: int) -> None:
        try:
            _write_all(self.fd, chunk, offset)
        except OSError as error:
            msg = f"no place for a download: {error}"
            raise ExhaustedError(msg) from error


def _closing(spool: Spool, fd: int) -> weakref.finalize[[int], Spool]:
    """Let a descriptor be closed with its spool; but not when the process ends.

    Downloads go on until then, and would write to whatever has its number next.
    """
    closing = weakref.finalize(spool, os.close, fd)
    closing.atexit = False
    return closing


def _open_locked(path: Path) -> int:
    """Make a file that `Layout.remove_litter` lets be, or has just removed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOATIME
    while True:
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return fd
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        os.close(fd)  # taken for litter between the two


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
