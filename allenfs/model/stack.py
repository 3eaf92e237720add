"""A stack: the sections of a data set as pages of one size.

ImageJ, napari and dask-image build a stack from a folder of images of equal size. A
page is the stored image of its section, centred on the colour of its own border. Size
and key of a page follow from the records, before anything is downloaded.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from allenfs.errors import PathNotFoundError
from allenfs.model.parameters import MAX_DOWNSAMPLE

if TYPE_CHECKING:
    from allenfs.model.images import ImageRequest
    from allenfs.model.nodes import CollectionFile
    from allenfs.model.records import Collection

# Changes with what is drawn: pages in the store with another value are not reused.
_DRAWING_VERSION = 1
# 256 MB while it is drawn: 4 bytes a pixel, for the image and for the page.
_MAX_PX = 32_000_000
_MAX_SIDE_PX = 65_500  # of libjpeg
_KIB = 2**10


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The request for one page: equal requests share one stored image.

    `source` is the image on it, `size_px` width and height of the page. The `path` is
    below the mountpoint.
    """

    source: ImageRequest
    size_px: tuple[int, int]
    path: str = field(compare=False)

    @property
    def key(self) -> str:
        """Path in the store: everything that is drawn depends on it."""
        drawn = json.dumps([_DRAWING_VERSION, self.source.key, self.size_px])
        digest = hashlib.sha256(drawn.encode()).hexdigest()[:16]
        return f"sheet/{self.source.image_id}/stack_{digest}.jpg"

    def size_bound_bytes(self, _: tuple[int, int] | None = None) -> int:
        """Return an upper bound of the JPEG's size before it is drawn."""
        width_px, height_px = self.size_px
        return width_px * height_px * 3 + 64 * _KIB


def page(
    file: CollectionFile, collection: Collection, source: ImageRequest
) -> PageRequest:
    """Return the page of an image; raises as `page_px`."""
    size_px = page_px(collection, source.downsample)
    parameters = replace(source, downsample=0).path.split("/")[2:-1]
    names = [
        *(file.directory.subject.value, str(file.directory.subject_id)),
        *(*parameters, *filter(None, [source.view])),
        *("stack", f"ds{source.downsample}", file.name),
    ]
    return PageRequest(source, size_px, "/".join(names))


def page_px(collection: Collection, downsample: int) -> tuple[int, int]:
    """Return width and height of all pages of a data set in a tier.

    They are the largest ones of its images. An image without a size in its record does
    not count. PathNotFoundError, with the reason, if none has a size, or if the pages
    are too large.
    """
    full_px = _largest_px(_Same(collection))
    if full_px is None:
        raise PathNotFoundError("no image of the data set has a size in its record")
    tiers = {
        tier: (max(full_px[0] >> tier, 1), max(full_px[1] >> tier, 1))
        for tier in range(downsample, MAX_DOWNSAMPLE + 1)
    }
    width_px, height_px = tiers[downsample]
    fitting = [tier for tier, size_px in tiers.items() if _is_possible(*size_px)]
    if downsample not in fitting:
        tier = f"ds{fitting[0]} or " if fitting else ""
        raise PathNotFoundError(
            f"pages of {width_px} x {height_px} pixels are too large: "
            f"use {tier}stack.zarr"
        )
    return width_px, height_px


class _Same:
    """A data set as a key, which is equal to no other, even with the same images."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def __hash__(self) -> int:
        return id(self.collection)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.collection is self.collection


@functools.lru_cache(maxsize=4)
def _largest_px(of: _Same) -> tuple[int, int] | None:
    """Compute it once: a listing needs it for each of thousands of pages."""
    sizes_px = [
        (image.width_px, image.height_px)
        for image in of.collection.images.values()
        if image.width_px and image.height_px
    ]
    if not sizes_px:
        return None
    widths_px, heights_px = zip(*sizes_px, strict=True)
    return max(widths_px), max(heights_px)


def _is_possible(width_px: int, height_px: int) -> bool:
    is_small = width_px * height_px <= _MAX_PX
    return is_small and max(width_px, height_px) <= _MAX_SIDE_PX
