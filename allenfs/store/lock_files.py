"""Named locks among the processes that use one service of a store.

They are ``flock`` locks: the kernel releases them when a process ends, even if killed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.store.directory import make_private, require_private
from allenfs.store.open_files import is_at, open_own, try_lock, unlock

if TYPE_CHECKING:
    from allenfs.config import StoreSettings
    from allenfs.store.directory import StoreDirectory
    from allenfs.store.open_files import OpenFile

    Release = Callable[[], None]

_IMAGE = "image-"
# With four downloads in progress, one image in 1000 waits for another.
_IMAGE_FILES = 4096
_MAX_HOLDER_BYTES = 32


class LockFiles:
    """The locks of processes that use one service. Safe to use from many threads.

    ::

        DIRECTORY/locks/SERVICE/next-1 … next-4          see `allenfs.service.slots`
                                slot-0 … slot-3
                                image-000 … image-fff    images being downloaded

    A locked file contains the process id; otherwise it is empty. Images share 4096
    files, which are never removed. Two images with the same file are downloaded one
    after the other.

    A lock held by a stopped process (Ctrl-Z) counts as free. If the directory cannot be
    used, a warning is logged, and every lock is free, as if no other process used the
    store.
    """

    def __init__(self, settings: StoreSettings, store: StoreDirectory) -> None:
        self._store = store
        self._directory = settings.directory / "locks" / settings.service_name

    def try_lock(self, name: str) -> Release | None:
        """Lock `name`; return its release function, None if another process has it.

        `name` is a file name; for an image, ``image-`` and its identity. An image also
        counts as locked while another one with the same file is.
        """
        if name.startswith(_IMAGE):
            name = f"{_IMAGE}{zlib.crc32(name.encode()) % _IMAGE_FILES:03x}"
        try:
            return self._try_lock(self._directory / name)
        except OSError as error:
            place = str(self._directory)
            self._store.report(OSError(error.errno, error.strerror, place))
            return lambda: None

    def _try_lock(self, path: Path) -> Release | None:
        while True:
            file = self._open(path)
            if try_lock(file):
                if not is_at(file, path):
                    continue
                with contextlib.suppress(OSError):  # a full disk
                    os.pwrite(file.fd, f"{os.getpid()}\n".encode(), 0)
                return functools.partial(_release, file)
            holder = _holder(file)
            if not _is_stopped(holder):
                return None
            # one process at a time: another one may have replaced the file
            with self._store.locked():
                if is_at(file, path) and _holder(file) == holder:
                    path.unlink()

    def _open(self, path: Path) -> OpenFile:
        with contextlib.suppress(FileNotFoundError):
            # not the whole `prepare`: three locks are tried for each image
            require_private(self._directory.parent)
            require_private(self._directory)
            return open_own(path)
        self._store.prepare()
        make_private(self._directory.parent)
        make_private(self._directory)
        return open_own(path)


def _holder(file: OpenFile) -> int:
    """Return the process id of the holder; 0 before it is written."""
    with contextlib.suppress(ValueError):
        return int(os.pread(file.fd, _MAX_HOLDER_BYTES, 0))
    return 0


def _is_stopped(process_id: int) -> bool:
    try:
        with open(f"/proc/{process_id}/stat", "rb") as stat:
            # the name of the program, in parentheses, may contain anything
            return stat.read().rpartition(b")")[2].split()[:1] == [b"T"]
    except OSError:
        return False


def _release(file: OpenFile) -> None:
    with contextlib.suppress(OSError):
        os.truncate(file.fd, 0)
    unlock(file)
