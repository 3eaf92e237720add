"""Where a store's files are.

::

    DIRECTORY/                       0700
        images/SERVICE/section/69750516/ds4_expression.jpg
        incoming/                    downloads under way
        journal  lock                what the processes sharing it tell each other
        CACHEDIR.TAG                 back-up programs leave it out
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import operator
import os
import re
import stat
import tempfile
import uuid
from typing import TYPE_CHECKING

from allenfs.store.lru_index import BLOCK_BYTES, Use
from allenfs.store.trust import make_private, require_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allenfs.model.images import ImageService
    from allenfs.model.sheets import Request

# bford.info/cachedir; the second line is ours
_CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# The store of allenfs\n"
_TAG_NAME = "CACHEDIR.TAG"
_OWN_NAME = "allenfs-store"
# What only `name` writes: nothing else is read, counted or removed.
_IMAGE_NAME = re.compile(
    r"[^/]+/(section|projection|atlas|sheet)/[1-9][0-9]*/[^/]+\.jpg"
)
_INCOMING_NAME = re.compile(r"[0-9a-f]{32}")


def disk_bytes(file_bytes: int) -> int:
    """Return what a file takes from the disk."""
    return -(-file_bytes // BLOCK_BYTES) * BLOCK_BYTES


def own_directory(chosen: Path) -> Path:
    """Return where the store is: `chosen`, or a directory of its own below it.

    A directory that was there before and holds something else is somebody's:
    nothing in it must be taken for the store's. So is one in which everybody may have
    something of his own, as /tmp.
    """
    try:
        is_shared = bool(chosen.stat().st_mode & stat.S_ISVTX)
        names = os.listdir(chosen)
        tag = _read_tag(chosen) if _TAG_NAME in names else None
    except (OSError, ValueError):
        return chosen  # not there yet; or it will be said when it is used
    # an empty tag: another process begins the store at this moment
    is_ours = not names or tag in ("", _CACHE_TAG)
    return chosen if is_ours and not is_shared else chosen / _OWN_NAME


def _read_tag(directory: Path) -> str:
    fd = os.open(directory / _TAG_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        return file.read(len(_CACHE_TAG) + 1).decode()


class Layout:
    """Names and directories of one store, for the images of one service."""

    def __init__(self, directory: Path, service_name: str) -> None:
        self.directory = directory
        self.images = directory / "images"
        self.incoming = directory / "incoming"
        self._images_prefix = f"{self.images}/"
        self._service_name = service_name
        # As many as nodes (``tree.parse``): `stat` and `open` ask for the same ones.
        self.name = functools.lru_cache(maxsize=4096)(self._name)

    def _name(self, request: Request) -> str:
        """Return the name of an image's file below ``images``."""
        service, image_id, *rest = request.key.split("/")
        return f"{self._service_name}/{service}/{image_id}/{'_'.join(rest)}"

    def path(self, name: str) -> str:
        """Return the path of an image's file: text, it is needed at each `stat`."""
        return self._images_prefix + name

    def look(self, request: Request) -> os.stat_result | None:
        """Return the `stat` of an image's file, if there is one."""
        try:
            found = os.lstat(self.path(self.name(request)))
        except OSError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def require_own(self, name: str) -> None:
        """Refuse a name that leads out of the store.

        Raises
        ------
        OSError
            One of its directories is a link, somebody else's, or not there.
        """
        for directory in self._directories(name):
            require_private(directory)

    def own_parent(self, name: str) -> Path:
        """Return the directory of an image's file, made where it is missing.

        Raises
        ------
        OSError
        """
        # one by one: of `parents=True` all but the last are made for everybody
        for directory in self._directories(name):
            make_private(directory)
        return (self.images / name).parent

    def _directories(self, name: str) -> Iterator[Path]:
        """Go down from ``images`` to the directory of an image's file."""
        *names, _ = name.split("/")
        return itertools.accumulate(names, operator.truediv, initial=self.images)

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Go through the stored files of all services: name and entry."""
        prefix = len(self._images_prefix)
        services = entries(self.images)
        trees = (tree for service in services for tree in entries(service))
        ids = (image_id for tree in trees for image_id in entries(tree))
        for image_id in ids:
            for entry in entries(image_id):
                name = entry.path[prefix:]
                if entry.is_file(follow_symlinks=False) and _IMAGE_NAME.fullmatch(name):
                    yield name, entry

    def sheets(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Go through the contact sheets of this service, as `files`."""
        prefix = f"{self._service_name}/sheet/"
        return (found for found in self.files() if found[0].startswith(prefix))

    def usage(self) -> Iterator[tuple[str, Use]]:
        """Go through the stored files: what they take, and their last use."""
        for name, entry in self.files():
            with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                found = entry.stat(follow_symlinks=False)
                yield name, Use(disk_bytes(found.st_size), found.st_atime_ns // 1000)

    def ids(self, service: ImageService) -> list[int]:
        """Return the image ids that have a directory."""
        try:
            names = os.listdir(self.images / self._service_name / service.value)
        except OSError:
            return []
        return [int(name) for name in names if name.isascii() and name.isdecimal()]

    def prepare(self) -> None:
        """Make the directories, for their owner only.

        Raises
        ------
        OSError
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(self.directory / _TAG_NAME):
            if not any(self.directory.iterdir()):
                # only of an empty one: somebody may have named /tmp
                with contextlib.suppress(PermissionError):  # exFAT has no modes
                    self.directory.chmod(0o700)
            require_private(self.directory)
            with (
                contextlib.suppress(FileExistsError),  # another process did
                (self.directory / _TAG_NAME).open("x") as tag,
            ):
                tag.write(_CACHE_TAG)
        require_private(self.directory)
        for directory in (self.images, self.incoming):
            make_private(directory)

    def try_out(self, size_bytes: int) -> None:
        """Check that an image of that size could be stored; raises OSError if not."""
        self.prepare()
        try_file(self.incoming, size_bytes)

    def incoming_file(self) -> Path:
        """Return a new name for a download."""
        return self.incoming / uuid.uuid4().hex

    def remove_litter(self) -> None:
        """Remove the downloads of processes that were killed."""
        for entry in entries(self.incoming):
            is_ours = _INCOMING_NAME.fullmatch(entry.name)
            if is_ours and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    # the lock of a download under way is held
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def try_file(directory: Path, size_bytes: int) -> None:
    """Do what storing an image of that size does, with an unnamed temporary file.

    Raises
    ------
    OSError
    """
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(size_bytes))
        file.flush()
        os.fsync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        again = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_NOATIME)
        os.close(again)


def entries(directory: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """Iterate over a directory of the store; a missing one or a link has no entries.

    Raises
    ------
    OSError
        It cannot be read.
    """
    if directory.is_symlink():
        return  # what it leads to is not the store's
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):  # evicted meanwhile, or a stranger
        return
