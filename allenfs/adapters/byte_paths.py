"""Names as the FUSE bindings pass them: latin-1, one character for each byte.

Each binding decodes UTF-8 in its own way, and some names would be EINVAL.
"""

from __future__ import annotations

import hashlib
import os
import re

ENCODING = "latin-1"
# Independent of the locale: an 8-bit one cannot encode every gene.
_NAME_ENCODING = "utf-8", "surrogateescape"
_ROOT_INODE, _OTHERS = 1, 1 << 62
# The images of a listing: section number and id.
_NUMBERED = re.compile("([0-9]{4})_")


def decoded(path: str) -> str:
    """Decode a path from the kernel."""
    return path.encode(ENCODING).decode(*_NAME_ENCODING)


def encoded(name: str) -> str:
    """Encode a name, or the target of a link, for the bindings."""
    return name.encode(*_NAME_ENCODING).decode(ENCODING)


def from_system(text: str) -> str:
    """Encode for the bindings what Python decoded with the locale."""
    return os.fsencode(text).decode(ENCODING)


def inode(path: str, name: str = ".") -> int:
    """Return the inode number of a path of the kernel's, or of a name below it.

    It depends on the path alone, and so outlasts the kernel's caches and the mount:
    a backup program reads a file again that has another number than before.

    `cp -r` and file managers open the files of a directory in the order of their
    numbers. So the images of a listing have ascending numbers, below those of all other
    names: what is opened in order is read ahead.
    """
    directory, last = os.path.split(os.path.normpath(os.path.join(path, name)))
    if not last:
        return _ROOT_INODE
    numbered = _NUMBERED.match(last)
    if numbered is None:
        return _OTHERS | _digest(os.path.join(directory, last), bits=62)
    # 62 bits, too; and 63 are positive in programs that take the number as signed
    number = int(numbered[1]) << 17 | _digest(last, bits=17)
    return max(_ROOT_INODE + 1, _digest(directory, bits=31) << 31 | number)


def _digest(text: str, *, bits: int) -> int:
    digest = hashlib.blake2b(text.encode(ENCODING), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 64 - bits
