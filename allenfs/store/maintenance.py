"""What `allenfs cache` tells and checks of a store, mounted or not."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from allenfs.errors import DamagedStoreError
from allenfs.store import sealed_file
from allenfs.store.cache import READ_FLAGS
from allenfs.store.sealed_file import SEAL_BYTES
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.model.sheets import Request
    from allenfs.store.cache import Store
    from allenfs.store.layout import Layout

log = safe_logger(__name__)


def sizes(layout: Layout) -> dict[str, tuple[int, int]]:
    """Return the number of images and their bytes on disk, by service."""
    totals: dict[str, tuple[int, int]] = {}
    for name, use in layout.usage():
        service = name.partition("/")[0]
        count, total_bytes = totals.get(service, (0, 0))
        totals[service] = count + 1, total_bytes + use.cost_bytes
    return totals


def verify(layout: Layout, store: Store) -> tuple[int, int]:
    """Read every stored image of every service; remove the damaged ones.

    Returns
    -------
    tuple of int
        Number of images read, and of those that were damaged.
    """
    checked = damaged = 0
    for name, entry in layout.files():
        try:
            fd = os.open(entry.path, READ_FLAGS)
        except FileNotFoundError:
            continue  # evicted meanwhile
        checked += 1
        try:
            sealed_file.verify(fd, name)
        except DamagedStoreError as error:
            damaged += 1
            log.warning("%s: removed", error)
            store.remove(name, os.fstat(fd).st_ino)
        finally:
            os.close(fd)
    return checked, damaged


def evict(layout: Layout, store: Store, request: Request) -> int | None:
    """Remove one image, damaged or not; who has it open goes on reading it.

    Returns
    -------
    int or None
        Bytes of the image; None where it is not stored.

    Raises
    ------
    OSError
        It is still there; the store has warned why.
    """
    found = layout.look(request)
    if found is None:
        return None
    return _removed(layout, store, layout.name(request), found)


def evict_sheet(layout: Layout, store: Store, sha256: str) -> int | None:
    """Remove the contact sheet with that checksum; as `evict`.

    A mount does not tell which pictures are on it, and so what it is called.
    """
    for name, entry in layout.sheets():
        try:
            fd = os.open(entry.path, READ_FLAGS)
        except OSError:
            continue
        try:
            if sealed_file.read_facts(fd, name).sha256 == sha256:
                return _removed(layout, store, name, os.fstat(fd))
        except DamagedStoreError:
            continue
        finally:
            os.close(fd)
    return None


def _removed(layout: Layout, store: Store, name: str, found: os.stat_result) -> int:
    store.remove(name, found.st_ino)
    with contextlib.suppress(FileNotFoundError):
        if os.lstat(layout.path(name)).st_ino == found.st_ino:
            raise OSError(errno.EBUSY, "it cannot be removed from the store")
    return max(0, found.st_size - SEAL_BYTES)
