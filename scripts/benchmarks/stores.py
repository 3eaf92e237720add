"""Stores with many images, and images of any length."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from allenfs.config import StoreSettings, service_name
from allenfs.model.images import ImageRequest, ImageService
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles
from allenfs.store.index import disk_bytes
from allenfs.store.stored_file import Facts, footer

if TYPE_CHECKING:
    from pathlib import Path

# a frame header of 64 x 64 grey pixels, and the head of a scan
_HEAD = bytes.fromhex("ffd8 ffc0000b 08 00400040 01 011100 ffda0008 01 0100 003f00")
_END = bytes.fromhex("ffd9")


def jpeg(size_bytes: int) -> bytes:
    """Return what passes for a JPEG: markers, and noise without any in between."""
    noise = os.urandom(size_bytes - len(_HEAD) - len(_END))
    return _HEAD + noise.replace(b"\xff", b"\x00") + _END


def image_path(image_id: int) -> str:
    """Path in a mount, below its root."""
    return _request(image_id).path


def fill(directory: Path, api_url: str, count: int, data: bytes) -> int:
    """Store `count` images as `Store.add` would; return their bytes on the disk.

    Adding them one after the other, with what that asks of a disk, takes minutes.
    """
    StoreDirectory(directory).prepare()
    images = ImageFiles(StoreSettings(directory, 2**40, service_name(api_url)))
    now_ns = time.time_ns()
    image_hash = hashlib.sha256(data)
    facts = Facts(len(data), image_hash.hexdigest(), now_ns, now_ns)
    for image_id in range(1, count + 1):
        request = _request(image_id)
        path = directory / "images" / images.name(request)
        path.parent.mkdir(parents=True)
        stored = data + footer(images.name(request), facts, image_hash)
        path.write_bytes(stored)
    return count * disk_bytes(len(stored))


def _request(image_id: int) -> ImageRequest:
    return ImageRequest(ImageService.SECTION, image_id)
