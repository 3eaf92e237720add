"""The store: whose it is, whether there is room, whether its disk does what it must."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import upkeep
from allenfs.doctor.findings import Finding, fail, ok, warn
from allenfs.doctor.host import existing
from allenfs.errors import ConfigError, UnsafeStoreError
from allenfs.layout import Layout
from allenfs.shelf import Shelf
from allenfs.wording import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.config import StoreSettings

_MOUNT_TABLE = Path("/proc/self/mountinfo")
# Others, through FUSE, have a dot: fuse.sshfs
_REMOTE = re.compile(
    r"nfs\d?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|pvfs2|orangefs|glusterfs"
    r"|virtiofs|fuse\..*"
)
_TRIED_BYTES = 64 * 1024
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_CORRECT = (
    "correct --cache-dir, --cache-size, or $ALLENFS_CACHE_DIR, $ALLENFS_CACHE_SIZE"
)
_ELSEWHERE = "use another directory with --cache-dir or $ALLENFS_CACHE_DIR"


class StoreChecks:
    """The checks of one store.

    Parameters
    ----------
    read_settings : callable
        Says which; raises as `arguments.store_settings`.
    """

    def __init__(self, read_settings: Callable[[], StoreSettings]) -> None:
        self._read_settings = read_settings

    @cached_property
    def _settings(self) -> StoreSettings:
        return self._read_settings()

    def owner(self) -> Finding:
        """Whether it is this user's alone, and how much is in it."""
        try:
            settings = self._settings
        except UnsafeStoreError as error:
            return fail(str(error), f"mend it as said, or {_ELSEWHERE}")
        except ConfigError as error:
            return fail(str(error), _CORRECT)
        except OSError as error:
            return fail(f"{error.filename}: {error.strerror}", _ELSEWHERE)
        directory = settings.directory
        if not os.path.lexists(directory):
            return ok(f"{directory}, not there yet")
        if not directory.is_dir():
            return fail(f"{directory} is no directory", _ELSEWHERE)
        sizes = upkeep.sizes(Layout(directory, settings.service_name))
        count = sum(number for number, _ in sizes.values())
        return ok(f"{directory}, {count:,} images, {size(self._used_bytes(sizes))}")

    def room(self) -> Finding:
        """Whether the disk has room for what the limit allows."""
        settings = self._settings
        place = existing(settings.directory)
        room = os.statvfs(place)
        free_bytes = room.f_bavail * room.f_frsize
        sizes = upkeep.sizes(Layout(settings.directory, settings.service_name))
        wanted_bytes = max(0, settings.capacity_bytes - self._used_bytes(sizes))
        limit = size(settings.capacity_bytes)
        if free_bytes < _TRIED_BYTES:
            return fail(
                "the disk is full: images are read, but not kept",
                f"make room, or {_ELSEWHERE}; see allenfs cache clear",
            )
        if free_bytes < wanted_bytes:
            return warn(
                f"{size(free_bytes)} free, and the limit of {limit} allows "
                f"{size(wanted_bytes)} more",
                "lower the limit with --cache-size, or make room",
            )
        return ok(f"{size(free_bytes)} free, the limit is {limit}")

    def files(self) -> Finding:
        """Whether a file can be made, written and locked there."""
        directory = self._settings.directory
        place = existing(directory)
        kind = kind_of(place)
        try:
            if place == directory:
                _try_file(directory)
            elif not os.access(place, os.W_OK | os.X_OK) or is_read_only(place):
                raise PermissionError(errno.EACCES, "not to be written", str(place))
        except OSError as error:
            if error.errno in _NO_ROOM:
                return fail(
                    f"nothing can be written: {error.strerror}",
                    f"make room (a quota?), or {_ELSEWHERE}",
                )
            return fail(
                f"{place} ({kind}): {error.strerror}: images are read, but not kept",
                _ELSEWHERE,
            )
        if _REMOTE.fullmatch(kind):
            return warn(
                f"on a network file system ({kind}): slow, and its locks may not hold",
                "keep the store on a local disk with --cache-dir",
            )
        return ok(f"can be written and locked ({kind})")

    def _used_bytes(self, sizes: dict[str, tuple[int, int]]) -> int:
        records_bytes = sum(used for _, used, _ in Shelf(self._settings).usage())
        return records_bytes + sum(used for _, used in sizes.values())


def kind_of(path: Path, table: Path = _MOUNT_TABLE) -> str:
    """Return the type of the file system that `path` is on, such as ``ext4``."""
    number = os.stat(path).st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for line in reversed(table.read_text(errors="replace").splitlines()):
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return "unknown"


def is_read_only(path: Path) -> bool:
    """Whether its file system is mounted so; root's permissions do not tell."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _try_file(directory: Path) -> None:
    """Do what storing an image does, with a file that has no name."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(_TRIED_BYTES))
        file.flush()
        os.fsync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        again = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_NOATIME)
        os.close(again)
