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
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allenfs.images import ImageRequest, ImageService

_BLOCK_BYTES = 4096
_CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"  # bford.info/cachedir


def disk_bytes(file_bytes: int) -> int:
    """Return what a file takes from the disk: file systems give whole blocks."""
    return -(-file_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


class Layout:
    """Names and directories of one store, for the images of one service."""

    def __init__(self, directory: Path, service_name: str) -> None:
        self.directory = directory
        self.images = directory / "images"
        self.incoming = directory / "incoming"
        self._service_name = service_name

    def name(self, request: ImageRequest) -> str:
        """Return the name of an image's file below ``images``."""
        service, image_id, *rest = request.path.split("/")
        return f"{self._service_name}/{service}/{image_id}/{'_'.join(rest)}"

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Go through the stored files of all services: name and entry."""
        prefix = len(str(self.images)) + 1
        services = _entries(self.images)
        trees = (tree for service in services for tree in _entries(service))
        ids = (image_id for tree in trees for image_id in _entries(tree))
        for image_id in ids:
            for entry in filter(_is_file, _entries(image_id)):
                yield entry.path[prefix:], entry

    def usage(self) -> Iterator[tuple[int, int, str]]:
        """Go through the stored files: last use (ns), bytes on disk, name."""
        for name, entry in self.files():
            with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                stat = entry.stat(follow_symlinks=False)
                yield stat.st_atime_ns, disk_bytes(stat.st_size), name

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
        tag = self.directory / "CACHEDIR.TAG"
        if not tag.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not any(self.directory.iterdir()):
                # only of an empty one: somebody may have named /tmp
                self.directory.chmod(0o700)
            tag.write_text(_CACHE_TAG)
        for directory in (self.images, self.incoming):
            directory.mkdir(mode=0o700, exist_ok=True)

    def remove_litter(self) -> None:
        """Remove the downloads of processes that were killed."""
        for path in self.incoming.iterdir():
            with contextlib.suppress(OSError), path.open("rb") as file:
                # the lock of a download under way is held
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _entries(directory: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):  # evicted meanwhile, or a stranger
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)
