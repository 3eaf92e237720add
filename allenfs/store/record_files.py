"""Answers of the catalog on disk, next to the images: kept beyond their time.

::

    DIRECTORY/records/SERVICE/dataset/70813257.json.gz

Each file is one answer in JSON, gzipped (whose CRC-32 tells a damaged file),
with the time when it was fetched. They have a share of the store's bytes of
their own, so that no number of images drives them out; within it, what was not
used longest goes first.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import stat
import time
import zlib
from errno import ELOOP, ENXIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from allenfs.store.health import Trouble
from allenfs.store.journal import Journal
from allenfs.store.layout import Layout, disk_bytes, entries
from allenfs.store.tempfiles import Spool
from allenfs.store.trust import make_private
from allenfs.text import HASHED, file_name, safe_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allenfs.config import StoreSettings

log = safe_logger(__name__)

# Answers of format 1 lack fields of images: asked again first, used without a service.
_FORMAT, _OLDER_FORMAT = 2, 1
_DAMAGE = (
    *(gzip.BadGzipFile, zlib.error, EOFError, RecursionError),
    *(ValueError, KeyError, TypeError),
)
_SUFFIX = ".json.gz"
# What is kept of the longest lists is 5 MB.
_MAX_BYTES = 64 * 2**20
_GZIP_BITS = 31  # zlib's word for gzip's format, with its checksum
# What only `_path` writes: nothing else is read, counted or removed.
_KIND = re.compile(r"[a-z-]+")

Key = tuple[str, str]


class Kept(NamedTuple):
    """An answer, and when it was fetched (nanoseconds since the epoch).

    Attributes
    ----------
    is_suspect : bool
        Whether rows seem to be missing, so that it is requested again soon.
    """

    answer: Any
    fetched_ns: int
    is_suspect: bool = False


class Shelf:
    """The answers of one service. Safe from many threads and processes.

    Trouble with the directory is a warning; the answers are then not kept.
    """

    def __init__(self, settings: StoreSettings, trouble: Trouble | None = None) -> None:
        self._layout = Layout(settings.directory, settings.service_name)
        self._trouble = trouble or Trouble(settings.directory)
        self._all = settings.directory / "records"
        self._own = self._all / settings.service_name
        self._capacity_bytes = settings.records_bytes
        self._used_bytes = 0
        self._counted_at = 0
        # only for the store's lock
        self._journal = Journal(settings.directory, settings.capacity_bytes)

    def get(self, key: Key) -> Kept | None:
        """Return an answer, however old; what is damaged is removed."""
        path = self._path(key)
        try:
            own_key, kept = _read(path)
        except FileNotFoundError:
            return None
        except _DamagedError as error:
            log.warning("%s: it is asked again", error)
            self._discard(path)
            return None
        except OSError as error:
            self._trouble.say(error)
            return None
        if own_key != key:
            return None
        with contextlib.suppress(OSError):  # a store that is read-only is still read
            os.utime(path)
        return kept

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer in place of the one there was."""
        text = json.dumps(
            {"allenfs": _FORMAT, "key": key, "answer": kept.answer}
            | {"fetched_ns": kept.fetched_ns, "is_suspect": kept.is_suspect},
            separators=(",", ":"),
        )
        # level 1 makes rows a tenth of their size, and is the fastest
        data = gzip.compress(text.encode(), 1, mtime=0)
        try:
            self._layout.prepare()
            spool = Spool(self._layout.incoming_file(), self._trouble.say)
            try:
                spool.write(data)
                self._commit(self._path(key), spool)
            finally:
                spool.close()
        except OSError as error:
            self._trouble.say(error)

    def remove(self, key: Key) -> None:
        """Forget an answer: the service says that there is no such thing."""
        self._discard(self._path(key))

    def names(self, kind: str) -> list[str]:
        """Return the names of the answers of one kind, in no order."""
        try:
            files = os.listdir(self._own / kind)
        except OSError:
            return []
        encoded = (
            file.removesuffix(_SUFFIX) for file in files if file.endswith(_SUFFIX)
        )
        return [unquote(name) for name in encoded if not name.startswith(HASHED)]

    def usage(self) -> Iterator[tuple[int, int, Path]]:
        """Go through the files of all services: last use (ns), bytes on disk, path.

        Raises
        ------
        OSError
            A directory cannot be read.
        """
        kinds = (kind for service in entries(self._all) for kind in entries(service))
        for kind in kinds:
            if not _KIND.fullmatch(kind.name):
                continue
            for entry in entries(kind):
                if entry.name.endswith(_SUFFIX):
                    with contextlib.suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        size_bytes = disk_bytes(found.st_size)
                        yield found.st_mtime_ns, size_bytes, Path(entry.path)

    def clear(self) -> int:
        """Remove the answers of every service; return how many there were."""
        return sum(self._discard(path) for _, _, path in self.usage())

    def verify(self) -> tuple[int, int]:
        """Read every answer of every service; remove the damaged ones.

        Returns
        -------
        tuple of int
            Number of answers read, and of those that were damaged.
        """
        checked = damaged = 0
        for _, _, path in self.usage():
            try:
                _read(path)
            except FileNotFoundError:
                continue  # dropped meanwhile
            except _DamagedError as error:
                log.warning("%s: removed", error)
                damaged += self._discard(path)
            checked += 1
        return checked, damaged

    def _commit(self, path: Path, spool: Spool) -> None:
        cost_bytes = disk_bytes(spool.size_bytes)
        if spool.path is None or cost_bytes > self._capacity_bytes:
            return
        with self._journal.exclusive():  # two must not take the same room
            if self._counted_at != self._changed_at_ns():
                self._used_bytes = sum(size_bytes for _, size_bytes, _ in self.usage())
            if self._used_bytes + cost_bytes > self._capacity_bytes:
                self._make_room(cost_bytes)
            for directory in (self._all, self._own, path.parent):
                make_private(directory)
            spool.path.rename(path)
            spool.path = None
            # what it replaced still counts, until the next time
            self._used_bytes += cost_bytes
            self._counted_at = self._mark()
        self._trouble.over()

    def _changed_at_ns(self) -> int:
        """Return the mark of the process that was the last to keep something.

        As long as it is this process' own, the files need not be counted anew,
        which takes 170 ms where there are 20 000. It is the time of a directory.
        """
        try:
            return self._all.lstat().st_mtime_ns
        except FileNotFoundError:
            return -1

    def _mark(self) -> int:
        # not the kernel's own time, which may stand still for milliseconds
        mark_ns = max(time.time_ns(), self._changed_at_ns() + 1)
        os.utime(self._all, ns=(mark_ns, mark_ns))
        return self._changed_at_ns()

    def _make_room(self, cost_bytes: int) -> None:
        """Remove what was not used longest, and a 64th more than is needed."""
        files = sorted(self.usage())
        self._used_bytes = sum(size_bytes for _, size_bytes, _ in files)
        if self._used_bytes + cost_bytes <= self._capacity_bytes:
            return
        room_bytes = max(cost_bytes, self._capacity_bytes // 64)
        for _, size_bytes, path in files:
            if self._used_bytes + room_bytes <= self._capacity_bytes:
                break
            self._used_bytes -= size_bytes if self._discard(path) else 0

    def _path(self, key: Key) -> Path:
        kind, name = key
        return self._own / kind / f"{file_name(name)}{_SUFFIX}"

    def _discard(self, path: Path) -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        return True


class _DamagedError(Exception):
    """A file that is not what was written."""


def _unpacked(path: Path) -> bytes:
    try:
        # neither waiting for a pipe's other end, nor behind a link
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (ELOOP, ENXIO):
            raise
        msg = f"{path}: no file"
        raise _DamagedError(msg) from error
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            msg = f"{path}: no file of this user"
            raise _DamagedError(msg)
        packed = file.read()
    engine = zlib.decompressobj(wbits=_GZIP_BITS)
    data = engine.decompress(packed, _MAX_BYTES)
    if not engine.eof or engine.unused_data:
        msg = "not of the length that it should have"
        raise EOFError(msg)
    return data


def _read(path: Path) -> tuple[Key, Kept]:
    try:
        data = json.loads(_unpacked(path))
        if data["allenfs"] not in (_FORMAT, _OLDER_FORMAT):
            msg = f"{path}: of another version"
            raise _DamagedError(msg)
        kind, name = data["key"]
        is_suspect = data["allenfs"] == _OLDER_FORMAT or bool(data["is_suspect"])
        return (kind, name), Kept(data["answer"], int(data["fetched_ns"]), is_suspect)
    except _DAMAGE as error:
        msg = f"{path}: damaged ({error})"
        raise _DamagedError(msg) from error
