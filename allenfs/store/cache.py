"""Verified files on disk, the least recently used evicted first, for many processes.

The files are authoritative; everything in memory can be rebuilt from them. A file's
last use is its access time, which is set at each open and outlives the process.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import operator
import os
import re
import stat
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from allenfs.errors import DamagedStoreError
from allenfs.store.directory import (
    StoreDirectory,
    entries,
    make_private,
    require_private,
)
from allenfs.store.index import Journal, LruIndex, Use, disk_bytes
from allenfs.store.open_files import NO_ATIME, NOT_A_FILE, OpenFile
from allenfs.store.stored_file import TempFile
from allenfs.text import printable, safe_logger

if TYPE_CHECKING:
    from allenfs.config import StoreSettings

log = safe_logger(__name__)

# Access times are set by `_touch`, not by reading.
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | NO_ATIME | os.O_NOFOLLOW | os.O_NONBLOCK


class DiskCache(ABC):
    """The files of one kind in a store. Safe to use from many threads and processes.

    It reads and adds the files of one service; the byte limit, `sizes`, `verify` and
    `clear` apply to all services. If the directory cannot be used (full, not writable,
    removed), one warning is logged, and nothing is stored.
    """

    FOLDER: ClassVar[str]  # in the store's directory
    # For paths below the folder: nothing else is read, counted or removed.
    NAME: ClassVar[re.Pattern[str]]
    capacity_bytes: int  # that the files may take on disk

    def __init__(
        self,
        settings: StoreSettings,
        directory: StoreDirectory | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._directory = directory or StoreDirectory(settings.directory)
        self._root = self._directory.path / self.FOLDER
        self._prefix = f"{self._root}/"
        self._service_name = settings.service_name
        self._clock_ns = clock_ns
        self._journal = Journal(self._directory.path, settings.capacity_bytes)
        self._index = LruIndex()
        self._load_lock = threading.Lock()
        self._is_loaded = False

    @abstractmethod
    def _check(self, name: str, file: OpenFile) -> object:
        """Raise DamagedStoreError if a file is not what was stored."""

    @property
    def used_bytes(self) -> int:
        """Bytes of disk that the files take; 0 until `load` has listed them."""
        return self._index.used_bytes

    @property
    def count(self) -> int:
        """Number of files; 0 until `load` has listed them."""
        return len(self._index)

    def load(self) -> None:
        """List the files, once; every change waits for it.

        Run it in a thread: 1 s for 100 000 files, measured.
        """
        with self._load_lock:
            if self._is_loaded:
                return
            try:
                with self._directory.locked():
                    self._directory.remove_leftovers()
                    self._journal.skip_to_end()
                self._index.replace(self._usage())
                self._is_loaded = True
                with self._directory.locked():
                    self._catch_up()
                    self._make_room(0)
            except OSError as error:
                self._directory.report(error)
                if not self.count:  # a read-only store is still readable
                    with contextlib.suppress(OSError):
                        self._index.replace(self._usage())

    def catch_up(self) -> None:
        """Apply what other processes added and removed; do not wait for the lock."""
        if self._is_loaded:
            with contextlib.suppress(OSError), self._directory.locked(at_once=True):
                self._catch_up()

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return number of files and bytes on disk, by service. Raises OSError."""
        totals: dict[str, tuple[int, int]] = {}
        for name, use in self._usage():
            service = name.partition("/")[0]
            count, total_bytes = totals.get(service, (0, 0))
            totals[service] = count + 1, total_bytes + use.cost_bytes
        return totals

    def verify(self) -> tuple[int, int, int]:
        """Remove damaged files; return how many were read, damaged, and removed."""
        checked = damaged = removed = 0
        for name in self._files():
            with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                damage = self._damage(name)
                checked += 1
                if damage:
                    is_removed = self._remove(name, only_damaged=True)
                    damaged, removed = damaged + 1, removed + is_removed
                    done = "removed" if is_removed else "not removed"
                    log.warning("%s: %s", printable(damage), done)
        return checked, damaged, removed

    def clear(self) -> int:
        """Remove every file; return how many there were. Raises OSError."""
        count = 0
        with self._directory.locked():
            for name in self._files():
                path = self._root / name
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    count += 1
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
            self._journal.replace()
            self._index.replace([])
        return count

    def temp_file(self, *, in_memory: bool = False) -> TempFile:
        """Return a temporary file for a download, in memory if the disk fails."""
        path = None
        if not in_memory:
            try:
                self._directory.prepare()
                path = self._directory.incoming / uuid.uuid4().hex
            except OSError as error:
                self._directory.report(error)
        return TempFile(path, self._directory.report)

    @contextlib.contextmanager
    def _reading(self, name: str, *, remove: bool = True) -> Iterator[None]:
        """End the block if the file is missing or damaged; `remove` a damaged one."""
        try:
            yield
        except FileNotFoundError:
            pass
        except DamagedStoreError as error:
            if remove:
                log.warning("%s: downloading it again", printable(str(error)))
                self._remove(name, only_damaged=True, at_once=True)
        except OSError as error:
            self._directory.report(error)

    def _open(self, name: str) -> OpenFile:
        not_a_file = DamagedStoreError(f"not a file: {name}")
        try:
            file = OpenFile(os.open(self._prefix + name, _READ_FLAGS))
        except OSError as error:
            if error.errno in NOT_A_FILE:
                raise not_a_file from error
            if error.errno == errno.EPERM:  # O_NOATIME is for the owner only
                raise DamagedStoreError(
                    f"stored file of another user: {name}"
                ) from error
            raise
        found = os.fstat(file.fd)
        if not stat.S_ISREG(found.st_mode):
            raise not_a_file
        if found.st_uid != os.geteuid():  # whose checksum proves nothing
            raise DamagedStoreError(f"stored file of user {found.st_uid}: {name}")
        return file

    def _touch(self, name: str, file: OpenFile, modified_ns: int | None = None) -> None:
        now_ns = self._clock_ns()
        with contextlib.suppress(OSError):  # a read-only store is still readable
            times_ns = now_ns, now_ns if modified_ns is None else modified_ns
            os.utime(file.fd, ns=times_ns)
        self._index.touch(name, now_ns // 1000)

    def _commit(self, name: str, temp_file: TempFile) -> bool:
        """Move a complete file to its name; return whether that worked."""
        try:
            cost_bytes = disk_bytes(os.fstat(temp_file.file.fd).st_size)
        except OSError as error:  # a network file system lost it
            self._directory.report(error)
            return False
        if cost_bytes > self.capacity_bytes:
            log.info("larger than the whole store, not stored: %s", name)
            return False
        if temp_file.path is None:
            return False  # the bytes could not be written, which was reported
        self.load()
        try:
            with self._directory.locked():
                self._catch_up()
                self._forget(name)
                self._make_room(cost_bytes)
                # First the journal, then the file: if this process is killed in
                # between, the others count one file too many, never one too few.
                self._journal.append(name, cost_bytes)
                for directory in self._parents(name):
                    make_private(directory)
                temp_file.path.rename(self._prefix + name)
                temp_file.path = None
                self._index.add(name, Use(cost_bytes, self._clock_ns() // 1000))
        except OSError as error:
            with contextlib.suppress(OSError):  # an older file is still there
                self._index.add(name, Use.of((self._root / name).lstat()))
            self._directory.report(error)
            return False
        self._directory.recovered()
        return True

    def _remove(
        self, name: str, *, only_damaged: bool = False, at_once: bool = False
    ) -> bool:
        """Remove a file; return whether it is gone. `at_once` never waits for the lock.

        With `only_damaged`, an intact file that has replaced it meanwhile stays.
        """
        path = self._root / name
        if not os.path.lexists(path):
            return True
        self.load()
        try:
            with self._directory.locked(at_once=at_once):
                self._catch_up()
                for directory in self._parents(name):
                    require_private(directory)
                if only_damaged and not self._damage(name):
                    return True
                is_directory = stat.S_ISDIR(path.lstat().st_mode)
                (path.rmdir if is_directory else path.unlink)()
                self._removed(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not (at_once and isinstance(error, BlockingIOError)):
                self._directory.report(error)
            return False
        return True

    def _damage(self, name: str) -> str | None:
        try:
            self._check(name, self._open(name))
        except DamagedStoreError as error:
            return str(error)
        return None

    def _make_room(self, cost_bytes: int) -> None:
        while self._index.used_bytes + cost_bytes > self.capacity_bytes and (
            oldest := self._index.pop_oldest()
        ):
            name, use = oldest
            path = self._root / name
            try:
                used_us = path.lstat().st_atime_ns // 1000
                if used_us > use.used_us:  # by another process, meanwhile
                    self._index.add(name, use._replace(used_us=used_us))
                    continue
                path.unlink()
            except FileNotFoundError:
                pass
            except OSError:
                # cannot be removed: count it as just used, to try the next one
                self._index.add(name, use._replace(used_us=self._clock_ns() // 1000))
                raise
            self._removed(name)
            log.debug("evicted: %s", name)

    def _removed(self, name: str) -> None:
        """Note that a file was removed, and remove a directory with its last file."""
        self._forget(name)
        with contextlib.suppress(OSError):
            (self._root / name).parent.rmdir()
        self._journal.append(name, None)

    def _forget(self, name: str) -> None:
        self._index.remove(name)

    def _catch_up(self) -> None:
        news = self._journal.news()
        if news is None:
            self._journal.skip_to_end()
            self._index.replace(self._usage())
            return
        for name, cost_bytes in news:
            if self.NAME.fullmatch(name):  # only those of this cache
                self._forget(name)
                if cost_bytes is not None:
                    self._index.add(name, Use(cost_bytes, self._clock_ns() // 1000))

    def _usage(self) -> Iterator[tuple[str, Use]]:
        for name in self._files():
            with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                yield name, Use.of(os.lstat(self._prefix + name))

    def _files(self, directory: Path | os.DirEntry[str] | None = None) -> Iterator[str]:
        for entry in entries(directory or self._root):
            name = entry.path[len(self._prefix) :]
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(entry)
            elif entry.is_file(follow_symlinks=False) and self.NAME.fullmatch(name):
                yield name

    def _parents(self, name: str) -> Iterator[Path]:
        """Go down from the root to the directory of a file.

        `mkdir(parents=True)` would create all but the last with the default mode.
        """
        *names, _ = name.split("/")
        return itertools.accumulate(names, operator.truediv, initial=self._root)
