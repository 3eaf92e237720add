"""Serves an empty mount that calls itself allenfs, and names whatever process.

Arguments: mountpoint, process id; an empty one is no answer but an error. A third one
is what else a mount tells of its process.
"""

from __future__ import annotations

import errno
import stat
import sys

import fuse


class Naming(fuse.Operations):
    use_ns = True

    def __init__(self, pid: bytes, process: bytes) -> None:
        self._attributes = {"user.allenfs.pid": pid, "user.allenfs.process": process}

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:
        if path != "/":
            raise fuse.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2}

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        if not self._attributes.get(name):
            raise fuse.FuseOSError(errno.ENODATA)
        return self._attributes[name]


if __name__ == "__main__":
    root, *values = map(str.encode, sys.argv[1:])
    naming = Naming(*values, *[b""] * (2 - len(values)))
    fuse.FUSE(naming, root.decode(), foreground=True, ro=True, subtype="allenfs")
