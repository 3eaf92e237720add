"""The tree of images in a mount, accessed through the kernel."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from pathlib import Path
from typing import NamedTuple

from allenfs.cli.prefetch.selection import Kind
from allenfs.config import StoreSettings
from allenfs.errors import AllenFSError, StatusError
from allenfs.model.images import request_of_url
from allenfs.mount import mount_table
from allenfs.mount.probe import Liveness, liveness, status
from allenfs.store import trust
from allenfs.store.image_files import ImageFiles

_URL, _ERROR = "user.allenfs.url", "user.allenfs.error"
_SHA256 = "user.allenfs.sha256"
_OUTAGES = (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EIO)
_LINKS = 40  # as many as the kernel follows


class Place(NamedTuple):
    """A mountpoint, and a path relative to it."""

    mountpoint: Path
    below: str


def place_of(path: Path) -> Place | None:
    """Return the place of an absolute path in an allenfs mount, None if it is in none.

    Symbolic links on the way to the mountpoint are followed. The mount itself is not
    accessed, as it may be dead.
    """
    mounted = set(mount_table.mounted())
    names, links = deque(path.parts[1:]), 0
    here = Path(path.root)
    while here not in mounted:
        if not names:
            return None
        name = names.popleft()
        if name == "..":
            here = here.parent
            continue
        here /= name
        if here in mounted:
            break
        with contextlib.suppress(OSError):
            target = Path(os.readlink(here))
            links += 1
            if links > _LINKS:
                return None
            here = Path("/") if target.is_absolute() else here.parent
            names.extendleft(
                reversed(target.parts[1:] if target.is_absolute() else target.parts)
            )
    return Place(here, "/".join(names))


def require_answer(mountpoint: Path) -> None:
    """Raise if the mount does not answer; takes 2 s if its process is stopped.

    Raises
    ------
    AllenFSError
    """
    found = liveness(mountpoint)
    if found is Liveness.ALIVE:
        return
    advice = f"; mount it again, or run allenfs umount {mountpoint}"
    msg = f"{mountpoint} {found.value}{advice if found is Liveness.DEAD else ''}"
    raise AllenFSError(msg)


class MountedTree:
    """A `selection.Tree` of one mount, whose daemon downloads and remembers failures.

    The mount must answer.
    """

    def __init__(self, mountpoint: Path) -> None:
        self._root = mountpoint
        self._status = status(mountpoint)
        self.connections = max(1, self._status.service.connections)
        self._store: ImageFiles | None = None

    def shown(self, path: str) -> str:
        """Return the absolute path."""
        return str(self._root / path)

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        try:
            return os.listdir(self._root / path)
        except OSError as error:
            raise self._explained(error, path) from error

    def kind(self, path: str, *, follow: bool) -> Kind:
        """Return what a path is."""
        mode = self._stat(path, follow=follow).st_mode
        if stat.S_ISLNK(mode):
            return Kind.LINK
        return Kind.DIRECTORY if stat.S_ISDIR(mode) else Kind.FILE

    def local_bytes(self, path: str) -> int | None:
        """Return the size of a file that occupies blocks."""
        found = self._stat(path, follow=True)
        return found.st_size if found.st_blocks else None

    def fetch(self, path: str) -> int:
        """Open and close a file, which downloads it."""
        try:
            fd = os.open(self._root / path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._explained(error, path) from error
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def evict(self, path: str) -> int | None:
        """Remove an image from the mount's store; records stay."""
        url = self._attribute(path, _URL)
        if url is not None:
            return self._own_store().evict(request_of_url(url))
        sha256 = self._attribute(path, _SHA256)
        if sha256 is not None:  # a contact sheet: no image of the service
            return self._own_store().evict_sheet(sha256)
        return None

    def store_failure(self) -> str | None:
        """Read the status, for which the mount checks a store that failed."""
        with contextlib.suppress(StatusError):
            return status(self._root).store.failure
        return None

    def _attribute(self, path: str, name: str) -> str | None:
        try:
            return os.getxattr(self._root / path, name).decode()
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise self._explained(error, path) from error

    def _stat(self, path: str, *, follow: bool) -> os.stat_result:
        try:
            return os.stat(self._root / path, follow_symlinks=follow)
        except OSError as error:
            raise self._explained(error, path) from error

    def _explained(self, error: OSError, path: str) -> OSError:
        """Replace the system's message with that of the mount."""
        places = [self._root / path]
        if error.errno in _OUTAGES:  # of a record: directories have the last one
            places.append(self._root)
        if error.errno not in (errno.ENOTCONN, errno.EINTR):
            for place in places:
                with contextlib.suppress(OSError):
                    words = os.getxattr(place, _ERROR).decode(errors="replace")
                    return OSError(error.errno, words)
        return OSError(error.errno, error.strerror)

    def _own_store(self) -> ImageFiles:
        if self._store is None:
            store, name = self._status.store, self._status.service.name
            settings = StoreSettings(Path(store.directory), store.capacity_bytes, name)
            trust.require_own(settings.directory)
            self._store = ImageFiles(settings)
        return self._store
