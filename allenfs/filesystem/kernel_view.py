"""What the kernel knows about each path: its size, its cached pages, open files.

The kernel reads a file up to the size it received last, and pads short reads with
zeros. Parallel short reads then disagree about the end: measured on Linux 6.18, 9 to
20 % of cold reads without `fstat` were padded. So a file opens only after the kernel
has received the exact size of this image, in the reply to a lookup of this path.
Otherwise the open is answered with ESTALE: the kernel repeats the path walk with fresh
lookups (LOOKUP_REVAL), receives the size, and opens again. The program sees one
successful open.
"""

from __future__ import annotations

import enum
import itertools
import math
import mmap
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cachetools import TTLCache

from allenfs.errors import BadHandleError, StaleSizeError

if TYPE_CHECKING:
    from allenfs.catalog.entries import Readable
    from allenfs.store.stored_file import Known

# Forgetting a path costs one more lookup at its next open.
REMEMBERED_PATHS = 16_384
# The second lookup and open follow within milliseconds; if the machine was suspended
# in between, they start over.
_RETRY_MEMORY_S = 10.0
# How long the reply with a size may be on its way to the kernel while another process
# opens the file: seen in one of 27 storms of 32 processes.
_REPLY_DELAY_S = 0.5


class Opening(enum.Enum):
    """The answer to an open."""

    AGAIN = "ESTALE: repeat the lookup"
    NEW_PAGES = "open, and drop the cached pages, which are of another image"
    SAME_PAGES = "open, and keep the cached pages, which are of this image"
    SIZE_UNKNOWN = "open, and bypass the page cache and the size"


@dataclass(slots=True)
class _Path:
    known: Known | None = None  # size, time and thread of the last reply
    replied_s: float = -math.inf
    thread_id: int = 0
    pages_sha256: str | None = None


class KernelView:
    """Remembers what the kernel knows about each path. Safe from many threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._paths: dict[str, _Path] = {}
        # Images between an open that was answered AGAIN and the next one, by path and
        # thread: the store may not have them any more.
        self._retried: TTLCache[tuple[str, int], Readable, float] = TTLCache(
            math.inf, _RETRY_MEMORY_S, timer=clock
        )

    def replied(self, path: str, known: Known, thread_id: int) -> None:
        """Record that a reply to a thread's call gives the kernel this exact size."""
        noted = self._paths.get(path)
        if noted is not None and noted.known == known:
            return  # the usual case, without the lock: `cat` stats a file three times
        with self._lock:
            noted = self._path(path)
            noted.known, noted.thread_id = known, thread_id
            noted.replied_s = self._clock()

    def last_known(self, path: str) -> Known | None:
        """Return the exact size the kernel got last, if any."""
        with self._lock:
            noted = self._paths.get(path)
            return noted.known if noted else None

    def is_retry(self, path: str, thread_id: int) -> bool:
        """Whether a thread was answered AGAIN and this is its second open."""
        return (path, thread_id) in self._retried

    def opening(
        self,
        path: str,
        thread_id: int,
        image: Readable,
        is_final: Callable[[], bool] = lambda: False,
    ) -> Opening:
        """Decide how to answer a thread's open of `path`, which is this image.

        A thread is answered AGAIN once. If the size is still unknown the second time,
        it opened without a lookup, as through ``/proc/self/fd``; without the page cache
        the size does not matter. AGAIN is also the answer while the size may be on its
        way to the kernel for another thread. An open that `is_final`, which the kernel
        does not repeat, is never answered AGAIN.
        """
        with self._lock:
            opening = self._opening(path, thread_id, image)
        if opening is not Opening.AGAIN:
            return opening
        if is_final():
            return Opening.SIZE_UNKNOWN
        with self._lock:
            self._retried[path, thread_id] = image
        return opening

    def opening_at_known_size(self, path: str, image: Readable) -> Opening:
        """Decide the same for a path that never has another size.

        Whatever the kernel was told of it, and when, was right.
        """
        with self._lock:
            return self._pages(self._path(path), image)

    def _opening(self, path: str, thread_id: int, image: Readable) -> Opening:
        is_retry = self._retried.pop((path, thread_id), None) is not None
        noted = self._path(path)
        if noted.known is None or noted.known.size_bytes != image.facts.size_bytes:
            return Opening.SIZE_UNKNOWN if is_retry else Opening.AGAIN
        is_new = self._clock() - noted.replied_s < _REPLY_DELAY_S
        if not is_retry and is_new and noted.thread_id != thread_id:
            return Opening.AGAIN
        noted.replied_s = -math.inf  # the reply has arrived
        return self._pages(noted, image)

    def _pages(self, noted: _Path, image: Readable) -> Opening:
        """Note whose pages the kernel has from now on."""
        is_same = noted.pages_sha256 == image.facts.sha256
        noted.pages_sha256 = image.facts.sha256
        return Opening.SAME_PAGES if is_same else Opening.NEW_PAGES

    def drop_late_retries(self) -> None:
        """Drop images that were not opened a second time."""
        with self._lock:
            self._retried.expire()

    def _path(self, path: str) -> _Path:
        noted = self._paths.pop(path, None) or _Path()
        self._paths[path] = noted  # moved to the end: the first is the oldest
        if len(self._paths) > REMEMBERED_PATHS:
            del self._paths[next(iter(self._paths))]
        return noted


class Opened(NamedTuple):
    """An open file, and how the kernel should treat it.

    `handle` is never reused. With `keep_cache`, the kernel's pages of this path belong
    to this image. With `direct_io`, the kernel should ignore the size it knows, and
    reads bypass its pages.
    """

    handle: int
    path: str
    file: Readable
    keep_cache: bool
    direct_io: bool

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size), shorter only at the file's end.

        DamagedStoreError, or StaleSizeError if the kernel asks for pages beyond the
        end: it has a wrong size, and would pad a short read with zeros.
        """
        end_of_pages = -(-self.file.facts.size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if offset + size > end_of_pages and not self.direct_io:
            raise StaleSizeError(
                f"{self.path}: read of bytes {offset} to {offset + size}"
            )
        return self.file.read(offset, size)


class Handles:
    """Open files by number; no number is used twice. Safe from many threads.

    `get` and `remove` raise BadHandleError for a number that is not in use.
    """

    def __init__(self) -> None:
        # each step is atomic in CPython
        self._numbers = itertools.count(1)
        self._opened: dict[int, Opened] = {}

    def __len__(self) -> int:
        return len(self._opened)

    def add(
        self, path: str, file: Readable, *, keep_cache: bool, direct_io: bool
    ) -> Opened:
        """Add an open file under a new number, and return it."""
        opened = Opened(next(self._numbers), path, file, keep_cache, direct_io)
        self._opened[opened.handle] = opened
        return opened

    def get(self, handle: int) -> Opened:
        """Return an open file."""
        try:
            return self._opened[handle]
        except KeyError:
            raise BadHandleError(f"handle {handle}") from None

    def remove(self, handle: int) -> None:
        """Close a file."""
        self.get(handle)
        self._opened.pop(handle, None)
