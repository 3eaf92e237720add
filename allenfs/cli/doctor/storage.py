"""The store: ownership, free space, and whether its file system works."""

from __future__ import annotations

import errno
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING

from allenfs.cli.doctor.findings import Finding, fail, ok, warn
from allenfs.cli.doctor.host import existing
from allenfs.errors import ConfigError, UnsafeStoreError
from allenfs.mount import mount_table
from allenfs.store.directory import (
    NO_ROOM,
    TEST_BYTES,
    StoreDirectory,
    reason_of,
    require_private,
    try_file,
)
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import RecordFiles
from allenfs.text import size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from allenfs.config import StoreSettings

# FUSE file systems have a dot, as in fuse.sshfs.
_REMOTE = re.compile(
    r"nfs\d?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|pvfs2|orangefs|glusterfs"
    r"|virtiofs|fuse\..*"
)
_CORRECT = (
    "correct --cache-dir, --cache-size, or $ALLENFS_CACHE_DIR, $ALLENFS_CACHE_SIZE"
)
_ELSEWHERE = "use another directory with --cache-dir or $ALLENFS_CACHE_DIR"
_REPAIR = f"give yourself access (chmod u+rwx), or {_ELSEWHERE}"


class StoreChecks:
    """The checks of one store.

    Parameters
    ----------
    read_settings : callable
        Returns the settings; raises as `arguments.store_settings` does.
    """

    def __init__(self, read_settings: Callable[[], StoreSettings]) -> None:
        self._read_settings = read_settings

    @cached_property
    def _settings(self) -> StoreSettings:
        return self._read_settings()

    def owner(self) -> Finding:
        """Check that nobody else can access it, and report its size."""
        try:
            directory = self._settings.directory
        except UnsafeStoreError as error:
            return fail(str(error), f"fix it as described, or {_ELSEWHERE}")
        except ConfigError as error:
            return fail(str(error), _CORRECT)
        try:
            place = existing(directory)
            if not place.is_dir():
                return fail(f"{place} is not a directory", _ELSEWHERE)
            if place != directory:
                return ok(f"{directory}, not created yet")
            for part in (directory / "images", directory / "incoming"):
                if os.path.lexists(part):
                    require_private(part)
            images, used_bytes = self._usage()
        except OSError as error:
            advice = _REPAIR if error.errno == errno.EACCES else _ELSEWHERE
            return fail(f"the store cannot be read: {reason_of(error)}", advice)
        return ok(f"{directory}, {images:,} images, {size(used_bytes)}")

    def room(self) -> Finding:
        """Check the free space against the size limit."""
        settings = self._settings
        room = os.statvfs(existing(settings.directory))
        free_bytes = room.f_bavail * room.f_frsize
        _, used_bytes = self._usage()
        wanted_bytes = max(0, settings.capacity_bytes - used_bytes)
        limit = size(settings.capacity_bytes)
        if free_bytes < TEST_BYTES:
            return fail(
                "the disk is full: images are not kept after they are read",
                f"free some space (allenfs cache clear), or {_ELSEWHERE}",
            )
        if free_bytes < wanted_bytes:
            return warn(
                f"{size(free_bytes)} free, but the limit of {limit} allows "
                f"{size(wanted_bytes)} more",
                "lower the limit with --cache-size, or free some space",
            )
        return ok(f"{size(free_bytes)} free, the limit is {limit}")

    def files(self) -> Finding:
        """Check that files can be created, written and locked."""
        directory = self._settings.directory
        incoming = StoreDirectory(directory).incoming
        place = existing(incoming)
        kind = kind_of(place)
        try:
            if place in (incoming, directory):
                try_file(place, TEST_BYTES)
            # root may write everywhere, says os.access
            elif os.statvfs(place).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            elif not os.access(place, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            if error.errno in NO_ROOM:
                return fail(
                    f"nothing can be written: {error.strerror}",
                    f"free some space (a quota?), or {_ELSEWHERE}",
                )
            return fail(
                f"{place} ({kind}): {error.strerror}: images are not kept",
                _REPAIR if error.errno == errno.EACCES else _ELSEWHERE,
            )
        if _REMOTE.fullmatch(kind):
            return warn(
                f"on a network file system ({kind}): slow, and locks may not work",
                "keep the store on a local disk with --cache-dir",
            )
        return ok(f"writable and lockable ({kind})")

    def _usage(self) -> tuple[int, int]:
        """Return the number of images, and the bytes of images and records."""
        images = ImageFiles(self._settings).sizes().values()
        records = RecordFiles(self._settings).sizes().values()
        used_bytes = sum(size_bytes for _, size_bytes in (*images, *records))
        return sum(count for count, _ in images), used_bytes


def kind_of(path: Path) -> str:
    """Return the file system type of `path`, such as ``ext4``."""
    number = os.stat(path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    for mount in reversed(mount_table.mounts()):
        if mount.device == device:
            return mount.kind
    return "unknown"
