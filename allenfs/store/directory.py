"""A store's directory: its parts, its lock, and whether it can be written.

::

    DIRECTORY/                       0700
        images/SERVICE/section/69750516/ds4_expression.jpg
        records/SERVICE/dataset/70813257.json.gz
        locks/SERVICE/               see `LockFiles`
        incoming/                    downloads in progress
        journal  lock                shared by the processes that use the store
        CACHEDIR.TAG                 tells backup programs to skip it
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from typing import TYPE_CHECKING

from allenfs.store.lock_files import FileLock
from allenfs.store.trust import make_private, require_private
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = safe_logger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Written by `check`; the larger one after a lack of room, which has not ended while
# only small images fit. Nearly all images are smaller.
TEST_BYTES, _ROOM_TEST_BYTES = 64 * 2**10, 16 * 2**20
# The same error is not logged again within that time: on an almost full disk successes
# and failures alternate.
_QUIET_S = 60.0
# bford.info/cachedir; the second line is ours
_CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# The store of allenfs\n"
_TAG_NAME = "CACHEDIR.TAG"
_OWN_NAME = "allenfs-store"
_TEMP_NAME = re.compile(r"[0-9a-f]{32}")


class StoreDirectory:
    """What the caches in one directory share. Safe to use from many threads."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self.incoming = path / "incoming"
        self.lock = FileLock(path / "lock")
        self._clock = clock
        self._error: OSError | None = None
        self._reported_s: dict[int | None, float] = {}

    def prepare(self) -> None:
        """Make the directories, for their owner only. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tag = self.path / _TAG_NAME
        is_new = not os.path.lexists(tag)
        if is_new and not any(self.path.iterdir()):
            # only an empty one: the user may have named /tmp
            with contextlib.suppress(PermissionError):  # exFAT has no modes
                self.path.chmod(0o700)
        require_private(self.path)
        if is_new:
            with contextlib.suppress(FileExistsError), tag.open("x") as file:
                file.write(_CACHE_TAG)
        for directory in (self.path / "images", self.incoming):
            make_private(directory)

    def remove_leftovers(self) -> None:
        """Remove the downloads of processes that were killed."""
        for entry in entries(self.incoming):
            is_ours = _TEMP_NAME.fullmatch(entry.name)
            if is_ours and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    # fails while the download is in progress
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)

    @property
    def failure(self) -> str | None:
        """Why the store could not be written last time; None if it could."""
        error = self._error
        return None if error is None else reason_of(error)

    def check(self, *, at_once: bool = False) -> str | None:
        """Try to write; return why that fails, None if it works.

        Waits for the lock as long as a download would, unless `at_once`.
        """
        error = self._error
        lacked_room = error is not None and error.errno in NO_ROOM
        try:
            self.prepare()
            try_file(self.incoming, _ROOM_TEST_BYTES if lacked_room else TEST_BYTES)
            with self.lock.hold(at_once=at_once):
                pass
        except OSError as failure:
            # a lock that another process holds says nothing about the disk
            if not (at_once and isinstance(failure, BlockingIOError)):
                self.report(failure)
        else:
            self.recovered()
        return self.failure

    def report(self, error: OSError) -> None:
        """Note a failure.

        Warn if the last write succeeded, and the same error is not less than 1 min old.
        """
        now_s = self._clock()
        last_s = self._reported_s.get(error.errno)
        if self._error is None and (last_s is None or now_s - last_s >= _QUIET_S):
            log.warning("trouble with the store %s: %s", self.path, error)
        self._error = error.with_traceback(None)  # which would keep files open
        self._reported_s[error.errno] = now_s

    def recovered(self) -> None:
        """Note that something was stored."""
        self._error = None


def own_directory(chosen: Path) -> Path:
    """Return where the store is: `chosen`, or a subdirectory of it.

    A directory that existed before and holds something else is not used itself: nothing
    in it may be taken for the store's. Nor is one shared by all users, such as /tmp.
    """
    try:
        is_shared = bool(chosen.stat().st_mode & stat.S_ISVTX)
        names = os.listdir(chosen)
        tag = _read_tag(chosen) if _TAG_NAME in names else None
    except (OSError, ValueError):
        return chosen  # missing; or using it fails, and says why
    # an empty tag: another process is creating the store
    is_ours = not names or tag in ("", _CACHE_TAG)
    return chosen if is_ours and not is_shared else chosen / _OWN_NAME


def _read_tag(directory: Path) -> str:
    fd = os.open(directory / _TAG_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        return file.read(len(_CACHE_TAG) + 1).decode()


def try_file(directory: Path, size_bytes: int) -> None:
    """Do what storing such an image does, with an unnamed file; raises OSError."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(size_bytes))
        file.flush()
        os.fsync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        again = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_NOATIME)
        os.close(again)


def entries(directory: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """Iterate over a directory; a missing one, a file or a link has no entries.

    Raises OSError if it cannot be read.
    """
    if directory.is_symlink():
        return  # leads out of the store
    try:
        with os.scandir(directory) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):  # evicted meanwhile
        return


def reason_of(error: OSError) -> str:
    """Return the system's message and the file or directory that it is about."""
    if error.strerror is None or not isinstance(error.filename, str):
        return error.strerror or str(error)
    directory = os.path.dirname(error.filename)
    # the names of downloads are random
    is_download = os.path.basename(directory) == "incoming"
    return f"{error.strerror}: {directory if is_download else error.filename}"
