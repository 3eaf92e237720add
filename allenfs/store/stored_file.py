"""The file of an image: during the download, and stored with a footer.

The footer is the last 320 bytes of the file: a line of JSON padded to 256, and the
SHA-256 (64 hex digits) of everything before it. With both in one file, image and footer
are always from the same download, one `stat` gives the image's size, and a flipped bit
anywhere in the file is detected. Viewers can open a stored file directly: decoders
ignore what follows a JPEG's end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from allenfs.errors import DamagedStoreError, ExhaustedError
from allenfs.store.open_files import (
    NO_ATIME,
    OpenFile,
    keep_in_children,
    open_lockable,
    unnamed,
)

FOOTER_BYTES = 320
_FACTS_BYTES = FOOTER_BYTES - 64
_FORMAT = 1
_CHUNK_BYTES = 2**20
_NEW_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_ATIME


@dataclass(frozen=True, slots=True)
class Facts:
    """The contents of a footer; times are nanoseconds since the epoch."""

    size_bytes: int  # without the footer
    sha256: str  # 64 hex digits
    modified_ns: int  # Last-Modified, else the time of the fetch
    fetched_ns: int


class Known(NamedTuple):
    """What `stat` of a stored file returns."""

    size_bytes: int
    modified_ns: int


class Image:
    """The immutable bytes of one image. Its file is closed with the last reference.

    The file is a separate object: while `__del__` runs, weak references still return
    the object, so another reader could get an image whose file is closed.
    """

    def __init__(self, file: OpenFile, facts: Facts) -> None:
        self.facts = facts
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size); shorter only at the image's end.

        Raises DamagedStoreError if the file was cut, or cannot be read.
        """
        size = min(size, self.facts.size_bytes - offset)
        if size <= 0:
            return b""
        try:  # not `_damaged`, which would double the time of a read
            data = os.pread(self._file.fd, size, offset)
        except OSError as error:
            raise DamagedStoreError(f"stored image cannot be read: {error}") from error
        if len(data) < size:
            raise DamagedStoreError(
                f"stored image was cut while open, at byte {offset + len(data)}"
            )
        return data


def footer(name: str, facts: Facts, image_hash: hashlib._Hash) -> bytes:
    """Return the footer of an image whose bytes went through `image_hash`.

    It depends on `name`: a file renamed to that of another image is rejected.
    """
    line = _facts_line(name, facts)
    whole_hash = image_hash.copy()
    whole_hash.update(line)
    return line + whole_hash.hexdigest().encode()


def read_facts(fd: int, name: str) -> Facts:
    """Read the footer of an open file, without reading the image.

    Raises DamagedStoreError if there is none, or one of another name or length.
    """
    length = os.fstat(fd).st_size
    try:
        line = os.pread(fd, _FACTS_BYTES, max(0, length - FOOTER_BYTES))
        fields = json.loads(line)
        size_bytes, sha256 = int(fields["size"]), str(fields["sha256"])
        times_ns = int(fields["modified_ns"]), int(fields["fetched_ns"])
        facts = Facts(size_bytes, sha256, *times_ns)
        # a name that is not valid Unicode has no digest
        is_own = line == _facts_line(name, facts)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedStoreError(f"stored file has no footer: {name}") from error
    if not is_own or size_bytes != length - FOOTER_BYTES:
        raise DamagedStoreError(f"stored file has the footer of another file: {name}")
    return facts


def verify(fd: int, name: str) -> Facts:
    """Read an open file to its end and compare it with its footer.

    Raises DamagedStoreError if it is not what was stored.
    """
    facts = read_facts(fd, name)
    file_hash, hashed_bytes = hashlib.sha256(), facts.size_bytes + _FACTS_BYTES
    with (
        _damaged(f"stored file cannot be read: {name}"),
        open(fd, "rb", closefd=False) as file,
    ):
        file.seek(0)
        for start in range(0, hashed_bytes, _CHUNK_BYTES):
            file_hash.update(file.read(min(_CHUNK_BYTES, hashed_bytes - start)))
        is_whole = file.read() == file_hash.hexdigest().encode()
    if not is_whole:
        raise DamagedStoreError(f"stored file is damaged: {name}")
    return facts


def _facts_line(name: str, facts: Facts) -> bytes:
    fields = {
        "allenfs": _FORMAT,
        "name": hashlib.sha256(name.encode()).hexdigest()[:32],
        "size": facts.size_bytes,
        "sha256": facts.sha256,
        "modified_ns": facts.modified_ns,
        "fetched_ns": facts.fetched_ns,
    }
    text = json.dumps(fields, separators=(",", ":"))
    return b"\n" + text.encode().ljust(_FACTS_BYTES - 2) + b"\n"


class TempFile:
    """Receives the bytes of one download, in a file or in memory.

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
        self.promised_bytes: int | None = None  # as announced by the service
        self.sha256 = hashlib.sha256()
        self._report = report
        try:
            self.file = self._open_memory() if path is None else _open_locked(path)
        except OSError as error:
            report(error)
            self.file = self._open_memory()

    def restart(self) -> None:
        """Drop what was written."""
        self.size_bytes, self.promised_bytes = 0, None
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
            _write_all(self.file, chunk, self.size_bytes)
        except OSError as error:
            self._move_to_memory(error)
            with _last_resort():
                _write_all(self.file, chunk, self.size_bytes)

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
        """Remove the file, and close it unless it is still referenced."""
        self.discard()
        del self.file

    def discard(self) -> None:
        """Remove the file; it stays open."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.path = None
        keep_in_children(self.file)

    def _open_memory(self) -> OpenFile:
        self.path = None
        with _last_resort():
            return unnamed("allenfs-image")

    def _move_to_memory(self, error: OSError) -> None:
        self._report(error)
        self.discard()
        written, old = self.view(), self.file  # the old file stays open until the end
        self.file = self._open_memory()
        with _last_resort():
            for start in range(0, self.size_bytes, _CHUNK_BYTES):
                chunk = written[start : start + _CHUNK_BYTES]
                _write_all(self.file, chunk, start)
        copied_bytes = os.fstat(self.file.fd).st_size
        if copied_bytes < self.size_bytes:
            raise DamagedStoreError(f"was cut at byte {copied_bytes}")
        del old


class FileView:
    """The bytes of an open file by slices, at most 1 MiB of them in memory.

    Not a memory map, whose pages count as memory of the process: 100 MB after checking
    a file of 100 MB.

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
            wanted_bytes = max(stop - start, _CHUNK_BYTES)
            wanted_bytes = min(wanted_bytes, self._size_bytes - start)
            with _damaged("cannot be read back"):
                self._window = os.pread(self._fd, wanted_bytes, start)
            self._start = start
        return self._window[start - self._start : max(start, stop) - self._start]


@contextlib.contextmanager
def _damaged(message: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DamagedStoreError(f"{message}: {error}") from error


@contextlib.contextmanager
def _last_resort() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExhaustedError(f"no disk or memory for a download: {error}") from error


def _open_locked(path: Path) -> OpenFile:
    """Create a file and lock it, before another process removes it as left behind."""
    while True:
        file = open_lockable(path, _NEW_FLAGS)
        try:
            fcntl.flock(file.fd, fcntl.LOCK_EX)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        if os.fstat(file.fd).st_nlink:  # otherwise it was removed in between
            return file


def _write_all(file: OpenFile, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file.fd, rest, offset)
        rest, offset = rest[written:], offset + written
