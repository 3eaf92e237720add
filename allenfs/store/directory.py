"""A store's directory: its parts, its lock, and whether it is safe and writable.

::

    DIRECTORY/                       0700
        images/SERVICE/section/69750516/ds4_expression.jpg
        records/SERVICE/dataset/70813257.json.gz
        locks/SERVICE/               see `LockFiles`
        incoming/                    downloads in progress
        journal  lock                shared by the processes that use the store
        CACHEDIR.TAG                 tells backup programs to skip it

The checksum of a stored file detects damage, not malice; and a user who could put a
link into the store could make allenfs read, write or remove any file of the mounting
user. So `require_own` checks the root before use: no one else can change its contents.
If others can write to its parent, they may replace the root later. Therefore every
directory is checked when something is stored (`require_private`), and every file when
it is opened (`open_own` and `DiskCache`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from allenfs.errors import UnsafeStoreError
from allenfs.store.open_files import open_lockable, open_own, try_file, try_lock, unlock
from allenfs.text import in_one_line, safe_logger

log = safe_logger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Written by `check`. After the disk was full, the larger one is used, because small
# images may fit while larger ones do not. Nearly all images are smaller.
TEST_BYTES, _ROOM_TEST_BYTES = 64 * 2**10, 16 * 2**20
# The same error is not logged again within this time: on an almost full disk, successes
# and failures alternate.
_QUIET_S = 60.0
# The lock is held for milliseconds, unless its holder was stopped. After one timeout,
# the next ones are short: otherwise twelve queued readers would wait 24 s.
_TIMEOUT_S, _STUCK_TIMEOUT_S, _POLL_S = 2.0, 0.05, 0.001
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
        self._images = path / "images"
        self._tag = path / _TAG_NAME
        self._thread_lock = threading.Lock()
        self._is_stuck = False
        self._clock = clock
        self.failure: str | None = None  # why the last write failed, if it did
        self._lacks_room = False
        self._reported_s: dict[int | None, float] = {}

    def prepare(self) -> None:
        """Create the directories with mode 0700 if any is missing. Raises OSError."""
        try:
            # the root last: while it is new and empty, its mode can still be changed
            for directory in (self.incoming, self._images, self.path):
                require_private(directory)
            self._tag.lstat()
        except FileNotFoundError:
            self._create()

    def _create(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not os.path.lexists(self._tag)
        if is_new and not any(self.path.iterdir()):
            # only if it is empty: the user may have chosen /tmp
            with contextlib.suppress(PermissionError):  # exFAT has no modes
                self.path.chmod(0o700)
        require_private(self.path)
        if is_new:
            with contextlib.suppress(FileExistsError), self._tag.open("x") as file:
                file.write(_CACHE_TAG)
        make_private(self._images)
        make_private(self.incoming)

    @contextlib.contextmanager
    def locked(self, *, at_once: bool = False) -> Iterator[None]:
        """Create the directories, and hold the store's lock for the block.

        Raises OSError if they cannot be used, or the lock is not free within 2 s; with
        `at_once`, if it is not free now.
        """
        self.prepare()
        path = self.path / "lock"
        msg = "another process holds the lock"
        not_free = BlockingIOError(errno.EAGAIN, msg, str(path))
        if not self._thread_lock.acquire(timeout=0 if at_once else _TIMEOUT_S):
            raise not_free
        with contextlib.ExitStack() as stack:
            stack.callback(self._thread_lock.release)
            file = open_own(path)
            stack.callback(unlock, file)
            wait_s = _STUCK_TIMEOUT_S if self._is_stuck else _TIMEOUT_S
            ends_s = time.monotonic() + wait_s
            while not try_lock(file):
                if at_once or time.monotonic() > ends_s:
                    self._is_stuck |= not at_once
                    raise not_free
                time.sleep(_POLL_S)
            self._is_stuck = False
            yield

    def remove_leftovers(self) -> None:
        """Remove the downloads of processes that were killed."""
        for entry in entries(self.incoming):
            is_ours = _TEMP_NAME.fullmatch(entry.name)
            if is_ours and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    # locked while the download is in progress
                    if try_lock(open_lockable(Path(entry.path), os.O_RDONLY)):
                        os.unlink(entry.path)

    def check(self, *, at_once: bool = False) -> str | None:
        """Try to write; return why that fails, None if it works.

        Waits for the lock as long as a download would, unless `at_once`.
        """
        size_bytes = _ROOM_TEST_BYTES if self._lacks_room else TEST_BYTES
        try:
            self.prepare()
            try_file(self.incoming, size_bytes)
            with self.locked(at_once=at_once):
                pass
        except OSError as failure:
            # a lock that another process holds says nothing about the disk
            if not (at_once and isinstance(failure, BlockingIOError)):
                self.report(failure)
        else:
            self.recovered()
        return self.failure

    def report(self, error: OSError) -> None:
        """Record a failure.

        Warn if the last write succeeded, unless the same error was logged within 1 min.
        """
        now_s = self._clock()
        last_s = self._reported_s.get(error.errno)
        if self.failure is None and (last_s is None or now_s - last_s >= _QUIET_S):
            # not the error itself: its traceback would keep files open
            log.warning("trouble with the store %s: %s", self.path, str(error))
        self.failure = reason_of(error)
        self._lacks_room = error.errno in NO_ROOM
        self._reported_s[error.errno] = now_s

    def recovered(self) -> None:
        """Record that something was stored."""
        self.failure, self._lacks_room = None, False


def own_directory(chosen: Path) -> Path:
    """Return where the store is: `chosen`, or a subdirectory of it.

    A directory that already contains other files is not used itself: none of them may
    be mistaken for the store's. Neither is one shared by all users, such as /tmp.
    """
    try:
        is_shared = bool(chosen.stat().st_mode & stat.S_ISVTX)
        names = os.listdir(chosen)
        tag = _read_tag(chosen) if _TAG_NAME in names else None
    except (OSError, ValueError):
        return chosen  # missing, or unusable: using it reports why
    # an empty tag: another process is creating the store
    is_ours = not names or tag in ("", _CACHE_TAG)
    return chosen if is_ours and not is_shared else chosen / _OWN_NAME


def _read_tag(directory: Path) -> str:
    fd = os.open(directory / _TAG_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        return file.read(len(_CACHE_TAG) + 1).decode()


def require_own(directory: Path) -> None:
    """Refuse a store that belongs to, or can be written by, another user.

    A directory that is missing or cannot be read is not refused: using it fails.
    Raises UnsafeStoreError.
    """
    try:
        found = directory.stat()
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode):
        return
    # `prepare` makes an empty directory 0700; `mkdir` creates it as 0775 if each user
    # has a private group.
    bad_bits = stat.S_IWOTH if _is_empty(directory) else stat.S_IWOTH | stat.S_IWGRP
    if found.st_uid != os.geteuid():
        why = f"belongs to {_user_name(found.st_uid)}: chown it"
    elif found.st_mode & bad_bits:
        mode = stat.filemode(found.st_mode)
        why = f"is writable by other users ({mode}): chmod go-w it"
    else:
        return
    place = in_one_line(str(directory), 1000)
    raise UnsafeStoreError(
        f"the store is not safe: {place} {why}, or use another with --cache-dir"
    )


def _is_empty(directory: Path) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def require_private(directory: Path) -> None:
    """Refuse a directory inside a store that other users own or can write to.

    Raises OSError, also if it is missing or no directory.
    """
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        number = errno.ENOTDIR
        raise NotADirectoryError(number, os.strerror(number), str(directory))
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise PermissionError(errno.EPERM, "not private to its owner", str(directory))


def make_private(directory: Path) -> None:
    """Make a directory of a store if it is missing; raises as `require_private`."""
    try:
        require_private(directory)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        require_private(directory)


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
