"""The images of one service in a store."""

from __future__ import annotations

import errno
import functools
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cachetools import LRUCache

from allenfs.errors import DamagedStoreError
from allenfs.store import stored_file
from allenfs.store.cache import DiskCache
from allenfs.store.index import disk_bytes
from allenfs.store.stored_file import FOOTER_BYTES, Facts, Image, Known

if TYPE_CHECKING:
    from allenfs.config import StoreSettings
    from allenfs.model.images import ImageService
    from allenfs.model.sheets import Request
    from allenfs.store.directory import StoreDirectory
    from allenfs.store.open_files import OpenFile
    from allenfs.store.stored_file import TempFile

# If one is forgotten, it is verified again: 1 ms for 300 kB.
MAX_VERIFIED = 8192

# Inode, length and time of change.
_Signature = tuple[int, int, int]


class ImageFiles(DiskCache):
    """Images by request; this process compares each with its checksum once.

    An image that cannot be stored stays in memory as long as it is open.
    """

    FOLDER = "images"
    NAME = re.compile(
        r"[^/]+/(section|projection|atlas|sheet)/[1-9][0-9]*/[^/]+\.(jpg|svg)"
    )

    def __init__(
        self,
        settings: StoreSettings,
        directory: StoreDirectory | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(settings, directory, clock_ns=clock_ns)
        others_bytes = settings.records_bytes + self._journal.max_bytes + disk_bytes(1)
        self.capacity_bytes = max(0, settings.capacity_bytes - others_bytes)
        self._verified = LRUCache[str, tuple[_Signature, Facts]](MAX_VERIFIED)
        self._verified_lock = threading.Lock()
        # The path of an image below ``images``. As many are remembered as nodes
        # (`tree.parse`): `stat` and `open` ask for the same ones.
        self.name = functools.lru_cache(maxsize=4096)(self._name)

    def _name(self, request: Request) -> str:
        service, image_id, *rest = request.key.split("/")
        return f"{self._service_name}/{service}/{image_id}/{'_'.join(rest)}"

    def peek(self, request: Request) -> Known | None:
        """Return size and time of a stored image, by one `stat`."""
        found = self._look(self.name(request))
        if found is None or found.st_size <= FOOTER_BYTES:
            return None
        return Known(found.st_size - FOOTER_BYTES, found.st_mtime_ns)

    def is_known(self, request: Request) -> bool:
        """Whether an image is stored, by `stat` only if this process did not know."""
        return self.name(request) in self._index or self.peek(request) is not None

    def find(self, request: Request, *, unread: bool = True) -> Image | None:
        """Open a stored image.

        If `unread`, verify one that this process has not verified yet, and remove a
        damaged one, with a warning. Otherwise both count as absent.
        """
        name = self.name(request)
        with self._reading(name, remove=unread):
            file = self._open(name)
            facts = self._facts(name, file)
            if facts is None and unread:
                facts = self._check(name, file)
            if facts is not None:
                self._touch(name, file, facts.modified_ns)
                return Image(file, facts)
        return None

    def facts(self, request: Request) -> Facts | None:
        """Return the footer of a stored image; None if not stored or damaged."""
        name = self.name(request)
        try:
            file = self._open(name)
            return self._facts(name, file) or stored_file.read_facts(file.fd, name)
        except (OSError, DamagedStoreError):
            return None

    def add(
        self, request: Request, temp_file: TempFile, modified_ns: int | None
    ) -> Image:
        """Store a checked download; return its image, even if it cannot be stored."""
        name, now_ns = self.name(request), self._clock_ns()
        modified_ns = temp_file.stamp(
            now_ns, now_ns if modified_ns is None else modified_ns
        )
        image_hash = temp_file.sha256
        facts = Facts(temp_file.size_bytes, image_hash.hexdigest(), modified_ns, now_ns)
        try:
            temp_file.append(stored_file.footer(name, facts, image_hash))
            temp_file.stamp(now_ns, modified_ns)
            if self._commit(name, temp_file):
                self._remember(name, _signature(temp_file.file), facts)
        finally:
            temp_file.discard()
        return Image(temp_file.file, facts)

    def evict(self, request: Request) -> int | None:
        """Remove one image, damaged or not, and return its bytes; None if not stored.

        A process that has it open can go on reading it. Raises OSError if it cannot be
        removed; the store has logged why.
        """
        name = self.name(request)
        found = self._look(name)
        if found is None:
            return None
        if not self._remove(name):
            raise OSError(errno.EBUSY, "it cannot be removed from the store")
        return max(0, found.st_size - FOOTER_BYTES)

    def used_ids(self, service: ImageService) -> list[int]:
        """Return the ids of the stored images of one image service."""
        try:
            names = os.listdir(self._root / self._service_name / service.value)
        except OSError:
            return []
        return [int(name) for name in names if name.isascii() and name.isdecimal()]

    def _look(self, name: str) -> os.stat_result | None:
        try:
            found = os.lstat(self._prefix + name)
        except OSError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def _check(self, name: str, file: OpenFile) -> Facts:
        signature = _signature(file)
        facts = stored_file.verify(file.fd, name)
        self._remember(name, signature, facts)
        return facts

    def _facts(self, name: str, file: OpenFile) -> Facts | None:
        """Return the facts of a file that was verified and has not changed since."""
        with self._verified_lock:
            signature, facts = self._verified.get(name, (None, None))
        return facts if signature == _signature(file) else None

    def _remember(self, name: str, signature: _Signature, facts: Facts) -> None:
        with self._verified_lock:
            self._verified[name] = signature, facts

    def _forget(self, name: str) -> None:
        super()._forget(name)
        with self._verified_lock:
            self._verified.pop(name, None)


def _signature(file: OpenFile) -> _Signature:
    found = os.fstat(file.fd)
    return found.st_ino, found.st_size, found.st_mtime_ns
