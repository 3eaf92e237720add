"""The store: ownership, free space, and whether its file system works."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.cli.doctor.findings import Finding, fail, ok, warn
from allenfs.cli.doctor.machine import existing
from allenfs.errors import ConfigError, UnsafeStoreError
from allenfs.mount import mount_table
from allenfs.store.directory import NO_ROOM, TEST_BYTES, reason_of, require_private
from allenfs.store.image_files import ImageFiles
from allenfs.store.open_files import try_file
from allenfs.store.record_files import RecordFiles
from allenfs.text import size

if TYPE_CHECKING:
    from allenfs.config import StoreSettings

# FUSE file systems have a dot, as in fuse.sshfs.
_REMOTE = re.compile(
    r"nfs\d?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|pvfs2|orangefs|glusterfs"
    r"|virtiofs|fuse\..*"
)
_CORRECT = (
    "fix it as described, or correct --cache-dir and --cache-size, or "
    "$ALLENFS_CACHE_DIR and $ALLENFS_CACHE_SIZE"
)
_ELSEWHERE = "use another directory with --cache-dir or $ALLENFS_CACHE_DIR"
_REPAIR = f"make it writable (chmod u+rwx), or {_ELSEWHERE}"


class StoreChecks:
    """The checks of one store; `arguments.store_settings` reads its settings."""

    def __init__(self, read_settings: Callable[[], StoreSettings]) -> None:
        self._read_settings = read_settings

    def contents(self) -> Finding:
        """Check that no other user can access it, its size, and the free space."""
        try:
            settings = self._read_settings()
        except (ConfigError, UnsafeStoreError) as error:
            return fail(str(error), _CORRECT)
        directory, limit = settings.directory, size(settings.capacity_bytes)
        try:
            place = existing(directory)
            for part in (directory / "images", directory / "incoming"):
                if os.path.lexists(part):
                    require_private(part)
            images = ImageFiles(settings).sizes().values()
            records = RecordFiles(settings).sizes().values()
        except OSError as error:
            return fail(f"the store cannot be read: {reason_of(error)}", _REPAIR)
        used_bytes = sum(size_bytes for _, size_bytes in (*images, *records))
        room = os.statvfs(place)
        free_bytes = room.f_bavail * room.f_frsize
        wanted_bytes = max(0, settings.capacity_bytes - used_bytes)
        if free_bytes < wanted_bytes:
            return warn(
                f"{directory}: {size(free_bytes)} free, but the limit of {limit} "
                f"allows {size(wanted_bytes)} more",
                "lower the limit with --cache-size, or free some space",
            )
        text = f"{sum(count for count, _ in images):,} images, {size(used_bytes)} used"
        if place != directory:
            text = "not created yet"
        return ok(f"{directory}, {text}, the limit is {limit}")

    def files(self) -> Finding:
        """Check that files can be created, written and locked."""
        place = existing(self._read_settings().directory / "incoming")
        kind = kind_of(place)
        try:
            try_file(place, TEST_BYTES)
        except OSError as error:
            message = f"{place} ({kind}): {error.strerror}: images are not stored"
            if error.errno in NO_ROOM:
                return fail(message, f"free some space (a quota?), or {_ELSEWHERE}")
            return fail(message, _REPAIR)
        if _REMOTE.fullmatch(kind):
            return warn(
                f"on a network file system ({kind}): slow, and locks may not work",
                "keep the store on a local disk with --cache-dir",
            )
        return ok(f"writable and lockable ({kind})")


def kind_of(path: Path) -> str:
    """Return the file system type of `path`, such as ``ext4``."""
    number = os.stat(path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    kinds = (one.kind for one in mount_table.mounts() if one.device == device)
    return next(kinds, "unknown")
