"""Which files are stored, their size on disk, and which was used longest ago."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

# File systems allocate whole blocks.
BLOCK_BYTES = 4096
# 32 bits for the blocks of a file, 16 TiB, below the microseconds of its last use.
_BLOCK_BITS = 32
_BLOCKS = (1 << _BLOCK_BITS) - 1


def disk_bytes(file_bytes: int) -> int:
    """Return what a file takes on disk."""
    return -(-file_bytes // BLOCK_BYTES) * BLOCK_BYTES


class Use(NamedTuple):
    """What a file takes on disk, in whole blocks of 4096, and its last use."""

    cost_bytes: int
    used_us: int

    @classmethod
    def of(cls, found: os.stat_result) -> Use:
        """Return the use of a stored file, whose access time is its last use."""
        return cls(disk_bytes(found.st_size), found.st_atime_ns // 1000)


class LruIndex:
    """The stored files by name, least recently used first. Thread-safe.

    One integer per file: 100 000 files take 34 MB; with a tuple of two and cachetools'
    own count of sizes they took 49 MB.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # Without a limit of its own: `DiskCache` removes the files, and their entries.
        self._order: LRUCache[str, int] = LRUCache(math.inf)
        self.used_bytes = 0  # of disk, by all files

    def __contains__(self, name: str) -> bool:
        return name in self._order

    def __len__(self) -> int:
        return len(self._order)

    def add(self, name: str, use: Use) -> None:
        """Add a file, or replace the one of that name, as most recently used."""
        with self._lock:
            self.remove(name)
            self._order[name] = _packed(use)
            self.used_bytes += use.cost_bytes

    def touch(self, name: str, used_us: int) -> None:
        """Make a file, if it is here, the most recently used."""
        with self._lock:
            packed = self._order.get(name)
            if packed is not None:
                self._order[name] = used_us << _BLOCK_BITS | packed & _BLOCKS

    def remove(self, name: str) -> None:
        """Forget a file."""
        with self._lock:
            self.used_bytes -= _unpacked(self._order.pop(name, 0)).cost_bytes

    def pop_oldest(self) -> tuple[str, Use] | None:
        """Forget the least recently used file and return it; None if there is none."""
        with self._lock:
            if not self._order:
                return None
            name, packed = self._order.popitem()
            use = _unpacked(packed)
            self.used_bytes -= use.cost_bytes
            return name, use

    def replace(self, files: Iterable[tuple[str, Use]]) -> None:
        """Forget everything, and list these files instead."""
        packed = sorted((_packed(use), name) for name, use in files)
        with self._lock:
            self._order.clear()
            self._order.update((name, number) for number, name in packed)
            self.used_bytes = sum(_unpacked(number).cost_bytes for number, _ in packed)


def _packed(use: Use) -> int:
    return use.used_us << _BLOCK_BITS | use.cost_bytes // BLOCK_BYTES


def _unpacked(packed: int) -> Use:
    return Use((packed & _BLOCKS) * BLOCK_BYTES, packed >> _BLOCK_BITS)
