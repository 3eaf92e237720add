"""One stored file: the bytes of an image, then a footer with their checksum.

The footer is the last 320 bytes of the file: a line of JSON padded to 256, and the
SHA-256 (64 hex digits) of everything before it. One file holds both, so that bytes and
facts are never of different downloads, one `stat` gives the image's size, and one
flipped bit anywhere in the file is detected. A viewer can open a stored file as it is:
decoders ignore what follows a JPEG's end.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import NamedTuple

from allenfs.errors import DamagedStoreError

FOOTER_BYTES = 320
_FACTS_BYTES = FOOTER_BYTES - 64
_FORMAT = 1
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Facts:
    """What a footer says of the bytes of an image; times are since the epoch."""

    size_bytes: int  # without the footer
    sha256: str  # 64 hex digits
    modified_ns: int  # Last-Modified, else the time of the fetch
    fetched_ns: int


class Known(NamedTuple):
    """What `stat` of a stored file tells."""

    size_bytes: int
    modified_ns: int


class OpenFile:
    """An open file, closed with its last reference.

    Separate from `Image`: while `__del__` runs, a weak reference still returns the
    object, and another reader would get an image whose descriptor is closed.

    Not closed before the process ends: its threads would write to whichever file gets
    the number next.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Image:
    """The immutable bytes of one image. Its file is closed with the last reference."""

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
        try:
            data = os.pread(self._file.fd, size, offset)
        except OSError as error:
            msg = f"stored image cannot be read: {error}"
            raise DamagedStoreError(msg) from error
        if len(data) < size:
            msg = f"stored image was cut while open, at byte {offset + len(data)}"
            raise DamagedStoreError(msg)
        return data


def footer(name: str, facts: Facts, image_hash: hashlib._Hash) -> bytes:
    """Return the footer of an image whose bytes went through `image_hash`.

    It depends on `name`: a file moved to another name does not pass for that image.
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
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        msg = f"stored file has no footer: {name}"
        raise DamagedStoreError(msg) from error
    if line != _facts_line(name, facts) or size_bytes != length - FOOTER_BYTES:
        msg = f"stored file has the footer of another file: {name}"
        raise DamagedStoreError(msg)
    return facts


def verify(fd: int, name: str) -> Facts:
    """Read an open file to its end and compare it with its footer.

    Raises DamagedStoreError if it is not what was stored.
    """
    facts = read_facts(fd, name)
    file_hash, hashed_bytes = hashlib.sha256(), facts.size_bytes + _FACTS_BYTES
    try:
        with open(fd, "rb", closefd=False) as file:
            file.seek(0)
            for start in range(0, hashed_bytes, _CHUNK_BYTES):
                file_hash.update(file.read(min(_CHUNK_BYTES, hashed_bytes - start)))
            is_whole = file.read() == file_hash.hexdigest().encode()
    except OSError as error:
        msg = f"stored file cannot be read: {name}: {error}"
        raise DamagedStoreError(msg) from error
    if not is_whole:
        msg = f"stored file is damaged: {name}"
        raise DamagedStoreError(msg)
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
