"""Serves a file system that accepts each lookup below its root, and never answers.

Says "asked" when it is. Argument: mountpoint.
"""

from __future__ import annotations

import stat
import sys
import threading

import fuse


class Hanging(fuse.Operations):
    use_ns = True

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:
        if path != "/":
            print("asked", flush=True)
            threading.Event().wait()
        return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}

    def readdir(self, path: str, fh: object) -> list[str]:
        return ["store"]


if __name__ == "__main__":
    fuse.FUSE(Hanging(), sys.argv[1], foreground=True)
