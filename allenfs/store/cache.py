"""Verified images as files, least recently used out first, shared by processes.

The files are the truth; everything in memory can be read from them again. When
an image was last used is its access time, set at each open, so that it outlives
the process and is seen by the others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING

from allenfs.errors import DamagedStoreError
from allenfs.store.compared import Compared
from allenfs.store.health import Trouble
from allenfs.store.journal import Journal
from allenfs.store.layout import Layout, disk_bytes
from allenfs.store.lru_index import Recency, Use
from allenfs.store.sealed_file import SEAL_BYTES, Facts, Image, Known, seal
from allenfs.store.tempfiles import Spool
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allenfs.config import StoreSettings
    from allenfs.model.images import ImageService
    from allenfs.model.sheets import Request

log = safe_logger(__name__)

# Access times are set at each open, not by whoever reads.
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME | os.O_NOFOLLOW | os.O_NONBLOCK


class Store:
    """The images of one service in a store directory. Safe to use from many threads.

    Trouble with the directory (full, not writable, gone) is a warning; the
    images then stay in memory as long as somebody holds them.
    """

    def __init__(
        self,
        settings: StoreSettings,
        trouble: Trouble | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._layout = Layout(settings.directory, settings.service_name)
        self._trouble = trouble or Trouble(settings.directory)
        self._clock_ns = clock_ns
        self._journal = Journal(settings.directory, settings.capacity_bytes)
        own_bytes = self._journal.max_bytes + settings.records_bytes + disk_bytes(1)
        self.capacity_bytes = max(0, settings.capacity_bytes - own_bytes)
        self._recency = Recency()
        self._load_lock = threading.Lock()
        self._is_loaded = False
        self._verified = Compared()

    @property
    def used_bytes(self) -> int:
        """Bytes of disk that the images take; 0 until `load` has read the files."""
        return self._recency.used_bytes

    @property
    def image_count(self) -> int:
        """Number of the stored images; 0 until `load` has read the files."""
        return len(self._recency)

    def catch_up(self) -> None:
        """Count what other processes have added and removed; wait for none of them."""
        if self._is_loaded:
            with contextlib.suppress(OSError), self._journal.exclusive(at_once=True):
                self._catch_up()

    def peek(self, request: Request) -> Known | None:
        """Return size and time of a stored image, by one `stat`."""
        found = self._layout.look(request)
        if found is None or found.st_size <= SEAL_BYTES:
            return None
        return Known(found.st_size - SEAL_BYTES, found.st_mtime_ns)

    def is_known(self, request: Request) -> bool:
        """Whether an image is stored; of what this process knows, without a look."""
        name = self._layout.name(request)
        return name in self._recency or self.peek(request) is not None

    def find(self, request: Request, *, unread: bool = True) -> Image | None:
        """Open a stored image; its checksum is compared once by this process.

        Parameters
        ----------
        unread : bool
            Whether to compare an image that was not compared yet, and to remove
            what is not what was stored, with a warning. Else both are absent.
        """
        name = self._layout.name(request)
        try:
            fd = os.open(self._layout.path(name), READ_FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink, a socket
                log.warning("no file: %s: it is downloaded again", name)
            else:
                self._trouble.say(error)
            return None
        try:
            facts = self._verified.facts(name, fd, unread=unread)
        except DamagedStoreError as error:
            facts = None
            self._verified.forget(name)
            if unread:
                log.warning("%s: it is downloaded again", error)
                self.remove(name, os.fstat(fd).st_ino)
        except BaseException:
            os.close(fd)
            raise
        if facts is None:
            os.close(fd)
            return None
        self._touch(name, fd, facts)
        return Image(fd, facts)

    def facts(self, request: Request) -> Facts | None:
        """Return what the seal of a stored image says, without reading the image.

        None where it is not here, or its seal is not its own.
        """
        name = self._layout.name(request)
        try:
            fd = os.open(self._layout.path(name), READ_FLAGS)
        except OSError:
            return None
        try:
            return self._verified.sealed_facts(name, fd)
        except DamagedStoreError:
            return None
        finally:
            os.close(fd)

    def spool(self, *, in_memory: bool = False) -> Spool:
        """Return a new place for the bytes of a download; in memory, where asked."""
        path = None
        if not in_memory:
            try:
                self._layout.prepare()
                path = self._layout.incoming_file()
            except OSError as error:
                self._trouble.say(error)
        return Spool(path, self._trouble.say)

    def add(self, request: Request, spool: Spool, modified_ns: int | None) -> Image:
        """Keep a checked download, and return its image, kept or not."""
        name, now_ns = self._layout.name(request), self._clock_ns()
        if modified_ns is None:
            modified_ns = now_ns
        modified_ns = spool.stamp(now_ns, modified_ns)
        facts = Facts(spool.size_bytes, spool.sha256.hexdigest(), modified_ns, now_ns)
        cost_bytes = disk_bytes(facts.size_bytes + SEAL_BYTES)
        try:
            if cost_bytes > self.capacity_bytes:
                log.info("larger than the whole store, not kept: %s", name)
            else:
                spool.append(seal(name, facts, spool.sha256))
                spool.stamp(now_ns, modified_ns)
                self._commit(name, spool, facts, Use(cost_bytes, now_ns // 1000))
        except OSError as error:
            self._trouble.say(error)
        finally:
            spool.discard()
        return Image(spool.take_fd(), facts)

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids of the stored images of one service."""
        return self._layout.ids(service)

    def load(self) -> None:
        """Read which files there are, once; every change waits for it.

        For a thread of its own: 1 s for 100 000 images, measured.
        """
        with self._load_lock:
            if self._is_loaded:
                return
            try:
                with self._exclusive():
                    self._layout.remove_litter()
                    self._journal.skip_to_end()
                self._recency.replace(self._layout.usage())
                self._is_loaded = True
                with self._exclusive():
                    self._catch_up()
                    self._make_room(0)
            except OSError as error:
                self._trouble.say(error)
                if not self.image_count:  # a read-only store is still readable
                    with contextlib.suppress(OSError):
                        self._recency.replace(self._layout.usage())

    def remove(self, name: str, inode: int) -> None:
        """Remove a damaged file, unless another one has taken its name."""
        path = self._layout.images / name
        self.load()
        try:
            with self._exclusive():
                self._catch_up()
                self._layout.require_own(name)
                if path.lstat().st_ino == inode:
                    path.rmdir() if path.is_dir() else path.unlink()
                    self._recency.remove(name)
                    self._forget(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._trouble.say(error)

    def clear(self) -> int:
        """Remove every image of every service; return how many there were."""
        count = 0
        with self._exclusive():
            for _, entry in self._layout.files():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
                    count += 1
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(entry.path))
            self._journal.replace()
            self._recency.replace([])
        return count

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._layout.prepare()
        with self._journal.exclusive():
            yield

    def _touch(self, name: str, fd: int, facts: Facts) -> None:
        now_ns = self._clock_ns()
        with contextlib.suppress(OSError):  # a store that is read-only is still read
            os.utime(fd, ns=(now_ns, facts.modified_ns))
        self._recency.touch(name, now_ns // 1000)

    def _commit(self, name: str, spool: Spool, facts: Facts, use: Use) -> None:
        if spool.path is None:
            return  # the store could not take the bytes, and has said so
        self.load()
        with self._exclusive():
            self._catch_up()
            self._recency.remove(name)
            self._make_room(use.cost_bytes)
            # Told before it is there: a process killed between the two leaves
            # the others counting a file too many, never one too few.
            self._journal.tell(name, use.cost_bytes)
            spool.path.rename(self._layout.own_parent(name) / os.path.basename(name))
            spool.path = None
            self._verified.add(name, spool.fd, facts)
            self._recency.add(name, use)
        self._trouble.over()

    def _make_room(self, cost_bytes: int) -> None:
        while self._recency.used_bytes + cost_bytes > self.capacity_bytes and (
            oldest := self._recency.pop_oldest()
        ):
            name, use = oldest
            path = self._layout.images / name
            try:
                used_us = path.lstat().st_atime_ns // 1000
                if used_us > use.used_us:  # by another process, meanwhile
                    self._recency.add(name, use._replace(used_us=used_us))
                    continue
                path.unlink()
            except FileNotFoundError:
                pass
            self._forget(name)
            log.debug("evicted: %s", name)

    def _forget(self, name: str) -> None:
        """Tell that a file was removed, and its directory with its last one."""
        self._verified.forget(name)
        with contextlib.suppress(OSError):
            (self._layout.images / name).parent.rmdir()
        self._journal.tell(name, None)

    def _catch_up(self) -> None:
        news = self._journal.news()
        if news is None:
            self._journal.skip_to_end()
            self._recency.replace(self._layout.usage())
            return
        for name, cost_bytes in news:
            self._recency.remove(name)
            self._verified.forget(name)
            if cost_bytes is not None:
                self._recency.add(name, Use(cost_bytes, self._clock_ns() // 1000))
