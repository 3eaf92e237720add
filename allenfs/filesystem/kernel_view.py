"""What the kernel believes of each path: its size, and whose pages it holds.

The kernel reads a file up to the size that it was told last, and pads with
zeros what a read does not give. Parallel short reads then disagree about the
end: measured on Linux 6.18, 9 to 20 % of cold reads without `fstat` came out
padded. So a file is opened only when the kernel has been told the exact size of
this image, by an answer to a look-up of this path. Otherwise the open is
answered ESTALE: the kernel repeats the walk with fresh look-ups (LOOKUP_REVAL),
is told, and opens again; the program sees one successful open.
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
    from allenfs.store.sealed_file import Image, Known

# Dropping a path costs one more look-up at its next open.
_REMEMBERED_PATHS = 16_384
# The second look-up and open follow within milliseconds; a machine that was
# suspended between the two begins anew.
_AT_HAND_S = 10.0
# So long the answer that tells a size may be on its way to the kernel, while the file
# is opened by somebody else: one in 27 storms of 32 processes met it.
_ON_ITS_WAY_S = 0.5


class Opening(enum.Enum):
    """How an open shall be answered."""

    AGAIN = "look up again"
    NEW_PAGES = "open, and drop the pages of another image"
    SAME_PAGES = "open, and keep the pages: they are of this image"
    UNTOLD = "open past the pages and the size"


class Opened(NamedTuple):
    """How the kernel shall treat an opened file.

    Attributes
    ----------
    handle : int
        For `read`, `stat` and `release`; never used twice.
    keep_cache : bool
        The kernel's pages of this path are of this very image.
    direct_io : bool
        The kernel shall not use its own idea of the size.
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
    """Remembers, per path, what the kernel was told. Safe from many threads.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._paths: dict[str, _Path] = {}
        # Images between an open that was answered AGAIN and the next one, by
        # path and caller, with the time when they are given up.
        self._at_hand: dict[tuple[str, int], tuple[Image | Document, float]] = {}

    def told(self, path: str, known: Known, caller: Callable[[], int]) -> None:
        """Note that the kernel is being told this exact size, for `caller`."""
        noted = self._paths.get(path)
        if noted is not None and noted.told == known:
            return  # as mostly: a file is looked at three times at each `cat`
        with self._lock:
            noted = self._path(path)
            noted.told, noted.told_by, noted.told_s = known, caller(), self._clock()

    def last_told(self, path: str) -> Known | None:
        """Return the exact size that the kernel was told last, if any."""
        with self._lock:
            noted = self._paths.get(path)
            return noted.told if noted else None

    def was_sent_back(self, path: str, caller: Callable[[], int]) -> bool:
        """Whether `caller` was answered AGAIN, and comes for the second time."""
        return bool(self._at_hand) and (path, caller()) in self._at_hand

    def opening(
        self,
        path: str,
        caller: Callable[[], int],
        image: Image | Document,
        is_final: Callable[[], bool] = lambda: False,
    ) -> Opening:
        """Decide on an open of `path`, which is this image, by `caller`.

        A caller is answered AGAIN once. Who then comes untold a second time
        opened without a look-up, as through ``/proc/self/fd``: without the page
        cache the size does not matter. AGAIN is also the answer as long as the
        size may be on its way to the kernel for somebody else. An open that
        `is_final`, because the kernel does not try it again, is never AGAIN.
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
        # most opens are of files that nobody was sent back from
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
        """Let go of images that no second open came for."""
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
        self._paths[path] = noted  # at the end: the first one is the oldest
        if len(self._paths) > _REMEMBERED_PATHS:
            del self._paths[next(iter(self._paths))]
        return noted
