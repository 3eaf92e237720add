"""Names as the bindings hand them over: one character for each byte.

They would decode names each in its way, where one that is not UTF-8 may be EINVAL.
Both are given latin-1, which takes all bytes.
"""

from __future__ import annotations

import hashlib
import os

ENCODING = "latin-1"
# Whatever the locale is: an 8-bit one cannot spell every gene.
_NAME_ENCODING = "utf-8", "surrogateescape"
_ROOT_INODE = 1


def decoded(path: str) -> str:
    """Return a path of the kernel's as text."""
    return path.encode(ENCODING).decode(*_NAME_ENCODING)


def encoded(name: str) -> str:
    """Return a name, or where a link leads, as the bindings take it."""
    return name.encode(*_NAME_ENCODING).decode(ENCODING)


def from_system(text: str) -> str:
    """Return what Python has decoded in the locale, as the bindings take it."""
    return os.fsencode(text).decode(ENCODING)


def inode(path: str, name: str = ".") -> int:
    """Return the inode number of a path of the kernel's, or of a name below it.

    It depends on the path alone, and so outlasts the kernel's caches and the mount:
    a backup program reads a file again that has another number than before.
    """
    whole = os.path.normpath(os.path.join(path, name))
    if whole == "/":
        return _ROOT_INODE
    digest = hashlib.blake2b(whole.encode(ENCODING), digest_size=8).digest()
    # 63 bits, as not every program takes the number as unsigned
    return max(_ROOT_INODE + 1, int.from_bytes(digest, "big") >> 1)
