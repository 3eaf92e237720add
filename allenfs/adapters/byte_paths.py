"""Names as the FUSE bindings pass them: latin-1, one character per byte.

The bindings decode UTF-8 differently, and some names would fail with EINVAL.
"""

from __future__ import annotations

import hashlib
import os
import re

ENCODING = "latin-1"
# Independent of the locale: an 8-bit locale cannot encode every gene.
_NAME_ENCODING = "utf-8", "surrogateescape"
_ROOT_INODE, _OTHERS = 1, 1 << 62
# Images in a listing: section number and ID.
_NUMBERED = re.compile("([0-9]{4})_")


def decoded(path: str) -> str:
    """Decode a path from the kernel."""
    return path.encode(ENCODING).decode(*_NAME_ENCODING)


def encoded(name: str) -> str:
    """Encode a name or link target for the bindings."""
    return name.encode(*_NAME_ENCODING).decode(ENCODING)


def from_system(text: str) -> str:
    """Encode for the bindings a text that Python decoded with the locale."""
    return os.fsencode(text).decode(ENCODING)


def inode(path: str, name: str = ".") -> int:
    """Return the inode number of a path from the kernel, or of a name in it.

    It depends only on the path, so it survives the kernel's caches and a remount:
    backup programs read a file again if its number has changed.

    `cp -r` and file managers open the files of a directory in inode order, and
    read-ahead needs files opened in listing order. So the images of a listing have
    ascending numbers, below those of all other names.
    """
    directory, last = os.path.split(os.path.normpath(os.path.join(path, name)))
    if not last:
        return _ROOT_INODE
    numbered = _NUMBERED.match(last)
    if numbered is None:
        return _OTHERS | _digest(os.path.join(directory, last), bits=62)
    # also 62 bits; up to 63 are positive in programs that use a signed number
    number = int(numbered[1]) << 17 | _digest(last, bits=17)
    return max(_ROOT_INODE + 1, _digest(directory, bits=31) << 31 | number)


def _digest(text: str, *, bits: int) -> int:
    digest = hashlib.blake2b(text.encode(ENCODING), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 64 - bits
