"""What the kernel knows about each path: its size, and which image's pages it has.

The kernel reads a file up to the size it was told last, and pads short reads with
zeros. Parallel short reads then disagree about the end: measured on Linux 6.18, 9 to
20 % of cold reads without `fstat` were padded. So a file opens only after the kernel
was told the exact size of this image, in the reply to a lookup of this path. Otherwise
the open is answered with ESTALE: the kernel repeats the path walk with fresh lookups
(LOOKUP_REVAL), is told the size, and opens again. The program sees one successful open.
"""

from __future__ import annotations

import enum
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.documents import Document
    from allenfs.store.stored_file import Image, Known

# Dropping a path costs one more lookup at its next open.
_REMEMBERED_PATHS = 16_384
# The second lookup and open follow within milliseconds; if the machine was suspended
# in between, they start over.
_AT_HAND_S = 10.0
# How long the reply with a size may be on its way to the kernel while another process
# opens the file: seen in one of 27 storms of 32 processes.
_ON_ITS_WAY_S = 0.5


class Opening(enum.Enum):
    """The answer to an open."""

    AGAIN = "ESTALE: repeat the lookup"
    NEW_PAGES = "open, and drop the pages of another image"
    SAME_PAGES = "open, and keep the pages: they are of this image"
    UNTOLD = "open, and bypass the page cache and the size"


class Opened(NamedTuple):
    """How the kernel should treat an open file.

    Attributes
    ----------
    handle : int
        For `read`, `stat` and `release`; never reused.
    keep_cache : bool
        The kernel's pages of this path belong to this image.
    direct_io : bool
        The kernel should ignore the size it knows.
    """

    handle: int
    keep_cache: bool
    direct_io: bool


@dataclass(slots=True)
class _Path:
    told: Known | None = None
    told_by: int = 0
    told_s: float = -math.inf
    pages_sha256: str | None = None


class KernelView:
    """Remembers what the kernel was told about each path. Safe from many threads.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._paths: dict[str, _Path] = {}
        # Images between an open that was answered AGAIN and the next one, by path and
        # caller, with their expiry.
        self._at_hand: dict[tuple[str, int], tuple[Image | Document, float]] = {}

    def told(self, path: str, known: Known, caller: Callable[[], int]) -> None:
        """Note that the kernel is being told this exact size, for `caller`."""
        noted = self._paths.get(path)
        if noted is not None and noted.told == known:
            return  # the usual case: each `cat` stats a file three times
        with self._lock:
            noted = self._path(path)
            noted.told, noted.told_by, noted.told_s = known, caller(), self._clock()

    def last_told(self, path: str) -> Known | None:
        """Return the exact size the kernel was told last, if any."""
        with self._lock:
            noted = self._paths.get(path)
            return noted.told if noted else None

    def was_sent_back(self, path: str, caller: Callable[[], int]) -> bool:
        """Return whether `caller` was answered AGAIN and this is its second open."""
        return bool(self._at_hand) and (path, caller()) in self._at_hand

    def opening(
        self,
        path: str,
        caller: Callable[[], int],
        image: Image | Document,
        is_final: Callable[[], bool] = lambda: False,
    ) -> Opening:
        """Decide how to answer `caller`'s open of `path`, which is this image.

        A caller is answered AGAIN once. If the size is still untold the second time,
        the caller opened without a lookup, as through ``/proc/self/fd``; without the
        page cache the size does not matter. AGAIN is also the answer while the size may
        be on its way to the kernel for another caller. An open that `is_final`, which
        the kernel does not repeat, is never answered AGAIN.
        """
        with self._lock:
            opening = self._opening(path, caller, image)
        if opening is not Opening.AGAIN:
            return opening
        if is_final():
            return Opening.UNTOLD
        with self._lock:
            self._at_hand[path, caller()] = image, self._clock() + _AT_HAND_S
        return opening

    def _opening(
        self, path: str, caller: Callable[[], int], image: Image | Document
    ) -> Opening:
        # for most opens nothing was answered AGAIN
        is_second_try = bool(self._at_hand) and self._take(path, caller())
        noted = self._path(path)
        told = noted.told
        if told is None or told.size_bytes != image.facts.size_bytes:
            return Opening.UNTOLD if is_second_try else Opening.AGAIN
        if not is_second_try and self._is_on_its_way(noted, caller):
            return Opening.AGAIN
        noted.told_s = -math.inf  # it has arrived
        is_same = noted.pages_sha256 == image.facts.sha256
        noted.pages_sha256 = image.facts.sha256
        return Opening.SAME_PAGES if is_same else Opening.NEW_PAGES

    def _is_on_its_way(self, noted: _Path, caller: Callable[[], int]) -> bool:
        is_new = self._clock() - noted.told_s < _ON_ITS_WAY_S
        return is_new and noted.told_by != caller()

    def drop_late(self) -> None:
        """Drop images whose second open never came."""
        if self._at_hand:
            with self._lock:
                self._drop_late()

    def _take(self, path: str, caller: int) -> bool:
        self._drop_late()
        return self._at_hand.pop((path, caller), None) is not None

    def _drop_late(self) -> None:
        now_s = self._clock()
        late = [key for key, (_, ends_s) in self._at_hand.items() if ends_s < now_s]
        for key in late:
            del self._at_hand[key]

    def _path(self, path: str) -> _Path:
        noted = self._paths.pop(path, None) or _Path()
        self._paths[path] = noted  # moved to the end: the first is the oldest
        if len(self._paths) > _REMEMBERED_PATHS:
            del self._paths[next(iter(self._paths))]
        return noted
