"""What the processes that share a store tell each other: added, removed.

A file of lines that every change appends to, under one lock (``flock``), so
that each process learns at its next change what the others did meanwhile. The
stored files themselves are the truth: a process reads them all once, and a
journal that was replaced or lost only makes it read them again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LINE = re.compile(r"\+([0-9]+) (\S+)|-(\S+)")


# A 64th of the store; 1 MiB are some 15 000 changes.
_SHARE, _MIN_BYTES, _MAX_BYTES = 64, 4096, 2**20
# The lock is held for milliseconds, or by a process that was stopped: then the
# store is in trouble, and readers get their images without it.
_LOCK_S = 2.0
# Else twelve readers, who wait one after the other, would wait 24 s.
_STUCK_S = 0.05
_LOOK_S = 0.001
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Journal:
    """The journal of one store directory.

    Every method but `exclusive` is to be called inside `exclusive`.

    Parameters
    ----------
    directory : Path
        Holds the files ``lock`` and ``journal``.
    capacity_bytes : int
        Of the whole store, within which the journal counts.

    Attributes
    ----------
    max_bytes : int
        A longer journal is replaced by an empty one.
    """

    def __init__(self, directory: Path, capacity_bytes: int) -> None:
        self._lock_path = directory / "lock"
        self._path = directory / "journal"
        share_bytes = capacity_bytes // _SHARE
        self.max_bytes = min(max(share_bytes, _MIN_BYTES), _MAX_BYTES)
        self._thread_lock = threading.Lock()
        self._is_stuck = False
        self._fd: int | None = None
        self._close: Callable[[], object] = lambda: None
        self._offset = 0

    @contextlib.contextmanager
    def exclusive(self, *, at_once: bool = False) -> Iterator[None]:
        """Hold the store's lock, among threads and among processes.

        Raises
        ------
        OSError
            The lock cannot be had: no file, or held by somebody for 2 s; where
            `at_once`, held by somebody now.
        """
        if not self._thread_lock.acquire(timeout=0 if at_once else _LOCK_S):
            raise self._held()
        try:
            flags = _FLAGS | os.O_NONBLOCK
            fd = os.open(self._lock_path, flags, 0o600)
            try:
                self._wait_for(fd, at_once=at_once)
                yield
            finally:
                os.close(fd)
        finally:
            self._thread_lock.release()

    def _wait_for(self, fd: int, *, at_once: bool) -> None:
        """Lock the file; whoever comes after one that waited in vain waits little."""
        ends_s = time.monotonic() + (_STUCK_S if self._is_stuck else _LOCK_S)
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if at_once:
                    raise self._held() from None
                if time.monotonic() > ends_s:
                    self._is_stuck = True
                    raise self._held() from None
            time.sleep(_LOOK_S)
        self._is_stuck = False

    def _held(self) -> BlockingIOError:
        return BlockingIOError(
            errno.EAGAIN, "another process holds the lock", str(self._lock_path)
        )

    def skip_to_end(self) -> None:
        """Take what was told so far as known."""
        self._open()
        assert self._fd is not None
        self._offset = os.fstat(self._fd).st_size

    def news(self) -> list[tuple[str, int | None]] | None:
        """Return the (name, bytes or None for removed) since the last call.

        None where the thread is lost (the journal was replaced): read the
        stored files again.
        """
        if self._fd is None or not self._is_current():
            return None
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        news: list[tuple[str, int | None]] = []
        for line in data.decode(errors="replace").splitlines():
            found = _LINE.fullmatch(line)  # power loss may have torn a line
            if found:
                size, added, removed = found.groups()
                news.append((added, int(size)) if added else (removed, None))
        return news

    def tell(self, name: str, size_bytes: int | None) -> None:
        """Append one change of this process; it is no news to itself.

        To be called after `news`, so that nothing untold lies before it.
        """
        if self._fd is None:
            self._open()
        assert self._fd is not None
        change = f"-{name}" if size_bytes is None else f"+{size_bytes} {name}"
        # between newlines: what a full disk cut off spoils no other line
        line = f"\n{change}\n".encode()
        if self._offset + len(line) > self.max_bytes:
            self.replace()
        self._offset += os.write(self._fd, line)

    def replace(self) -> None:
        """Begin a new journal, and so make every other process read anew."""
        fresh = self._path.with_name("journal.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fresh.rename(self._path)
        self._open()

    def _open(self) -> None:
        self._close()
        self._fd = None
        self._fd = os.open(self._path, _FLAGS | os.O_APPEND, 0o600)
        closing = weakref.finalize(self, os.close, self._fd)
        closing.atexit = False  # changes may be told until the process ends
        self._close = closing
        self._offset = 0

    def _is_current(self) -> bool:
        assert self._fd is not None
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except FileNotFoundError:
            return False
