"""Serves an empty mount that calls itself allenfs, and names whatever process.

Arguments: mountpoint, process id; an empty one is no answer but an error.
"""

from __future__ import annotations

import errno
import stat
import sys

import fuse


class Naming(fuse.Operations):
    use_ns = True

    def __init__(self, pid: bytes) -> None:
        self._pid = pid

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:
        if path != "/":
            raise fuse.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2}

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        if not self._pid:
            raise fuse.FuseOSError(errno.ENODATA)
        return self._pid


if __name__ == "__main__":
    root, pid = sys.argv[1:]
    fuse.FUSE(Naming(pid.encode()), root, foreground=True, ro=True, subtype="allenfs")
