"""Serves a directory by the rules of FAT, which no kernel is needed for.

Names fold case and lack the characters that Windows forbids, times are even seconds,
access times days; there are no modes, owners or links.

Arguments: directory, mountpoint.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any

import fuse

_FORBIDDEN = {*'"*:<>?\\|', *map(chr, range(32))}
_EVEN_NS, _DAY_NS = 2 * 10**9, 86_400 * 10**9


class Fat(fuse.Operations):
    use_ns = True

    def __init__(self, root: str) -> None:
        self._root = root

    def __call__(self, operation: str, path: str, *arguments: Any) -> Any:
        try:
            return super().__call__(operation, self._real(path), *arguments)
        except OSError as error:
            raise fuse.FuseOSError(error.errno) from error

    def _real(self, path: str) -> str:
        """Return where it is: under the name of the case that it was made with."""
        real = self._root
        for name in filter(None, path.split("/")):
            if _FORBIDDEN & set(name) or name[-1] in " .":
                raise fuse.FuseOSError(errno.EINVAL)
            folded = {one.casefold(): one for one in os.listdir(real)}
            real = os.path.join(real, folded.get(name.casefold(), name))
        return real

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        found = os.lstat(path)
        kind = stat.S_IFDIR if stat.S_ISDIR(found.st_mode) else stat.S_IFREG
        return {
            "st_mode": kind | 0o755,
            "st_nlink": 1,
            "st_size": found.st_size,
            "st_atime": found.st_atime_ns // _DAY_NS * _DAY_NS,
            "st_mtime": found.st_mtime_ns // _EVEN_NS * _EVEN_NS,
            "st_ctime": found.st_ctime_ns // _EVEN_NS * _EVEN_NS,
        }

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        os.utime(path, ns=times)

    def chmod(self, path: str, mode: int) -> None:
        raise fuse.FuseOSError(errno.EPERM)

    def link(self, path: str, source: str) -> None:
        raise fuse.FuseOSError(errno.EPERM)

    symlink = chown = link

    def rename(self, old: str, new: str) -> None:
        os.rename(old, self._real(new))

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(path)]

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, fi: object = None) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(path, length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        os.fsync(fh)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(path)
        names = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_frsize", "f_namemax")
        return {name: getattr(found, name) for name in names}


if __name__ == "__main__":
    fuse.FUSE(Fat(sys.argv[1]), sys.argv[2], foreground=True, fsname="fat")
