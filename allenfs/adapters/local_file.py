"""An open file of the tree, as a Python file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from allenfs.adapters.translator import Translator

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from allenfs.catalog.entries import Readable

_translator = Translator()


class LocalFile(io.BufferedReader):
    """A file opened by fsspec; `size` is exact, in bytes.

    A read raises OSError if the stored file has been damaged since it was opened.
    """

    def __init__(self, fs: Any, path: str, content: Readable) -> None:
        super().__init__(_RawFile(path, content))
        self.fs, self.path, self.size = fs, path, content.facts.size_bytes

    @property
    def full_name(self) -> str:
        """The URL."""
        return str(self.fs.unstrip_protocol(self.path))

    def info(self) -> dict[str, Any]:
        """Return the details of the file, as `AllenFileSystem.info` does."""
        details: dict[str, Any] = self.fs.info(self.path)
        return details

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return _reopened, (self.fs, self.path, self.tell())


class _RawFile(io.RawIOBase):
    mode = "rb"

    def __init__(self, path: str, content: Readable) -> None:
        self._path, self._content, self._offset = path, content, 0

    def close(self) -> None:
        if not self.closed:
            del self._content  # its descriptor is closed with the last reference
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size_bytes = self._content.facts.size_bytes
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: size_bytes}
        if start[whence] + offset < 0:
            raise ValueError(f"negative position: {start[whence] + offset}")
        self._offset = start[whence] + offset
        return self._offset

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._read(max(0, self._content.facts.size_bytes - self._offset))

    def _read(self, size: int) -> bytes:
        with _translator.os_errors("read", self._path):
            data = self._content.read(self._offset, size)
        self._offset += len(data)
        return data


def _reopened(fs: Any, path: str, offset: int) -> LocalFile:
    file: LocalFile = fs.open(path)
    file.seek(offset)
    return file
