"""The kernel's mount table, read without accessing the mounts, which may be dead."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUBTYPE = "allenfs"

PROC = Path("/proc")
# Tags of mounts to which mounts and unmounts propagate from another peer group.
_FOLLOWERS = ("master", "propagate_from")


class Mount(NamedTuple):
    """A line of the mount table: see proc_pid_mountinfo(5)."""

    number: int  # unique on the machine
    parent: int  # the number of the mount that it is mounted on
    device: str  # the superblock, as 0:57; bind mounts and copies share it
    root: str  # the directory of the superblock that is mounted
    place: Path
    peers: frozenset[str]  # peer groups that it belongs to
    leaders: frozenset[str]  # peer groups whose mounts and unmounts propagate to it
    kind: str
    source: str
    owner: int | None  # the user who mounted it (FUSE only)


def mounts() -> list[Mount]:
    """Return the mounts in this mount namespace, oldest first."""
    return _parsed((PROC / "self/mountinfo").read_bytes())


def is_mounted(mountpoint: Path) -> bool:
    """Whether the topmost mount there is an allenfs, alive or dead."""
    return mount_at(mountpoint) is not None


def mount_at(mountpoint: Path) -> Mount | None:
    """Return the topmost mount there if it is an allenfs, alive or dead."""
    return _allenfs_mounts().get(resolved(mountpoint))


def mounted() -> list[Path]:
    """Return the mountpoints of allenfs that no other mount covers."""
    return list(_allenfs_mounts())


def own_mounts() -> list[Path]:
    """Return those of `mounted` that belong to this user, sorted."""
    user = os.geteuid()
    return sorted(
        place for place, mount in _allenfs_mounts().items() if mount.owner == user
    )


def source(mountpoint: Path) -> str | None:
    """Return the source of the allenfs that is mounted there, if any."""
    mount = mount_at(mountpoint)
    return mount.source if mount else None


def is_automount(mountpoint: Path) -> bool:
    """Whether there is an autofs mount, whose first user triggers the real mount.

    Other processes that open it block until then, except the process group that mounts.
    """
    mount = _topmost().get(resolved(mountpoint))
    return mount is not None and mount.kind == "autofs"


def resolved(mountpoint: Path) -> Path:
    """Return the absolute path without symlinks; does not `stat` the mount itself."""
    place = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    try:
        os.readlink(place)
    except OSError:
        return place
    return Path(os.path.realpath(place))


def other_mount_of(mount: Mount) -> Mount | None:
    """Return another mount of the same superblock, in any mount namespace.

    Ignores mounts that the kernel unmounts together with `mount`, as the namespaces of
    system services have them.
    """
    below = _below(mount, mounts())
    for text in _tables():
        # most namespaces have no copy
        table = _parsed(text) if mount.device.encode() in text else []
        for other in table:
            is_other = other.device == mount.device and other.number != mount.number
            if is_other and not _follows(other, _below(other, table), mount, below):
                return other
    return None


def _allenfs_mounts() -> dict[Path, Mount]:
    kind = f"fuse.{SUBTYPE}"
    return {place: mount for place, mount in _topmost().items() if mount.kind == kind}


def _topmost() -> dict[Path, Mount]:
    return {mount.place: mount for mount in mounts()}


def _below(mount: Mount, table: list[Mount]) -> Mount | None:
    """Return the parent mount; None if it is not visible, as in a chroot."""
    return next((one for one in table if one.number == mount.parent), None)


def _follows(
    other: Mount, below_other: Mount | None, mount: Mount, below: Mount | None
) -> bool:
    """Whether the kernel unmounts another mount together with this one."""
    if below is None or below_other is None:
        return False
    is_same_directory = _spot(other, below_other) == _spot(mount, below)
    propagates = below.peers & (below_other.peers | below_other.leaders)
    return is_same_directory and bool(propagates)


def _spot(mount: Mount, below: Mount) -> tuple[str, str]:
    """Return the superblock and path of the directory that it is mounted on."""
    name = os.path.relpath(mount.place, below.place)
    return below.device, os.path.normpath(os.path.join(below.root, name))


def _tables() -> Iterator[bytes]:
    """Read the mount table of each mount namespace, this one's first."""
    seen: set[object] = set()
    for process in (PROC / "self", *PROC.glob("[0-9]*")):
        namespace: object = process
        with contextlib.suppress(OSError):  # another user's: its table may be readable
            namespace = os.stat(process / "ns/mnt").st_ino
        if namespace not in seen:
            with contextlib.suppress(OSError):  # it has ended
                yield (process / "mountinfo").read_bytes()
                seen.add(namespace)


def _parsed(table: bytes) -> list[Mount]:
    return [_mount(line) for line in table.splitlines()]


def _mount(line: bytes) -> Mount:
    fields, _, rest = line.partition(b" - ")
    number, parent, device, root, place, _, *optional = fields.split()
    kind, source, *_, options = rest.split(b" ")
    tags = [tag.decode().partition(":") for tag in optional]
    owner = re.search(rb"\buser_id=(\d+)", options)
    return Mount(
        int(number),
        int(parent),
        device.decode(),
        _unescaped(root),
        Path(_unescaped(place)),
        frozenset(group for name, _, group in tags if name == "shared"),
        frozenset(group for name, _, group in tags if name in _FOLLOWERS),
        kind.decode("latin-1"),
        _unescaped(source),
        int(owner[1]) if owner else None,
    )


def _unescaped(field: bytes) -> str:
    return os.fsdecode(
        re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
    )
