"""Which files are stored, and what other processes added and removed.

The stored files are authoritative: a process lists them once into its `LruIndex`. Every
change appends a line to the `Journal`, which each process reads at its own next change.
If the journal was replaced or lost, it lists the files again.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from allenfs.store.open_files import is_at, open_own

if TYPE_CHECKING:
    from allenfs.store.open_files import OpenFile

# File systems allocate whole blocks.
BLOCK_BYTES = 4096
# 32 bits for the blocks of a file, 16 TiB, below the microseconds of its last use.
_BLOCK_BITS = 32
_BLOCKS = (1 << _BLOCK_BITS) - 1
_LINE = re.compile(r"^(?:\+([0-9]+) |-)(\S+)$", re.MULTILINE)
# A 64th of the store; 1 MiB holds about 15 000 changes.
_SHARE, _MIN_BYTES, _MAX_BYTES = 64, 4096, 2**20


def disk_bytes(file_bytes: int) -> int:
    """Return a file's size on disk."""
    return -(-file_bytes // BLOCK_BYTES) * BLOCK_BYTES


class Use(NamedTuple):
    """A file's size on disk, in whole blocks of 4096 bytes, and its last use."""

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
        # Without a limit: `DiskCache` removes the files, and their entries.
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
        """Mark a file as the most recently used, if it is in the index."""
        with self._lock:
            if name in self._order:
                use = _unpacked(self._order[name])
                self._order[name] = _packed(use._replace(used_us=used_us))

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


class Journal:
    """One reader and writer of a store's journal. Call it while holding the lock."""

    def __init__(self, directory: Path, capacity_bytes: int) -> None:
        self._path = directory / "journal"
        # A longer journal is replaced by an empty one.
        self.max_bytes = min(max(capacity_bytes // _SHARE, _MIN_BYTES), _MAX_BYTES)
        self._file: OpenFile | None = None
        self._offset = 0

    def skip_to_end(self) -> None:
        """Treat every change so far as known."""
        self._offset = os.fstat(self._open().fd).st_size

    def news(self) -> list[tuple[str, int | None]] | None:
        """Return the (name, bytes or None if removed) since the last call.

        None if changes were missed, because the journal was replaced: list the stored
        files again.
        """
        if self._file is None or not is_at(self._file, self._path):
            return None
        with open(self._file.fd, "rb", closefd=False) as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        # a line truncated by a power loss does not match
        changes = _LINE.findall(data.decode(errors="surrogateescape"))
        return [(name, int(size) if size else None) for size, name in changes]

    def append(self, name: str, size_bytes: int | None) -> None:
        """Append one change of this process, which it will not read as news.

        Call `news` first: earlier lines of other processes would be skipped.
        """
        file = self._file or self._open()
        change = f"-{name}" if size_bytes is None else f"+{size_bytes} {name}"
        # between newlines, so that a line cut off by a full disk affects no other
        line = f"\n{change}\n".encode(errors="surrogateescape")
        if self._offset + len(line) > self.max_bytes:
            file = self.replace()
        self._offset += os.write(file.fd, line)

    def replace(self) -> OpenFile:
        """Begin a new journal, which makes every other process list the files again."""
        fresh = self._path.with_name("journal.new")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fresh.rename(self._path)
        return self._open()

    def _open(self) -> OpenFile:
        self._file = None
        self._file, self._offset = open_own(self._path, os.O_APPEND), 0
        return self._file
