"""Atlas drawings: the colours of regions, and the lines between them."""

from __future__ import annotations

import colorsys
import functools
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageFilter

from allenfs.sample.shapes import REGIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from allenfs.sample.records import ImageRecord

    Labels = NDArray[np.uint8]

#: atlases whose drawings name adult structures; all others are developmental ones
ADULT_ATLASES: Final = frozenset({1, 2, 602630314})

_PARCELS: Final = 84  # of an adult drawing; a developmental one has half as many


def region_colors(
    labels: Labels,
    atlas_id: int | None,
    record: ImageRecord,
    *,
    spread_px: int = 3,
) -> NDArray[np.uint8]:
    """Return red, green, blue of every pixel in the drawing of an atlas.

    Without an atlas the plain colours of the regions. Colours reach `spread_px` over
    the rim of the tissue, so that none of the glass shows in an enlarged edge.
    """
    spread = np.asarray(Image.fromarray(labels).filter(_spreader(spread_px)))
    grown = np.where(labels > 0, labels, spread)
    plain = np.array([region.color for region in REGIONS], np.uint8)
    if atlas_id is None:
        return _picked(plain, grown)
    parcels = _parcels(labels.shape, atlas_id)
    random = np.random.default_rng(atlas_id + record.data_set_id)
    if atlas_id in ADULT_ATLASES:
        shade = random.uniform(0.86, 1.10, _PARCELS)[parcels][..., None]
        return np.clip(plain[grown] * shade, 0, 255).astype(np.uint8)
    # Steps of the golden ratio keep neighbouring hues apart.
    hues = (np.arange(256) * 0.381966 + atlas_id % 97 / 97) % 1
    table = [
        colorsys.hsv_to_rgb(hue, 0.42 + 0.15 * (i % 3), 0.96)
        for i, hue in enumerate(hues)
    ]
    key = (_merged(grown).astype(np.intp) * 5 + parcels * 7) % 256
    return _picked((np.array(table) * 255).astype(np.uint8), key)


def _picked(table: Labels, key: NDArray[np.uint8] | NDArray[np.intp]) -> Labels:
    picked: Labels = table[key]
    return picked


def outlines(labels: Labels, atlas_id: int | None, *, width_px: int) -> Image.Image:
    """Return a mask of the lines between regions, and round the tissue."""
    key = labels.astype(np.int32)
    if atlas_id is not None:
        if atlas_id not in ADULT_ATLASES:
            key = _merged(labels).astype(np.int32)
        key = np.where(labels > 0, key * _PARCELS + _parcels(labels.shape, atlas_id), 0)
    lines = np.zeros(labels.shape, bool)
    lines[:, 1:] |= key[:, 1:] != key[:, :-1]
    lines[1:] |= key[1:] != key[:-1]
    mask = Image.fromarray(np.where(lines, 255, 0).astype(np.uint8))
    if width_px > 1:
        mask = mask.filter(ImageFilter.MaxFilter(width_px))
    # A blurred line of one pixel is faint; doubled, it stays a thin line when an
    # enlarged mask is sharpened.
    soft = mask.filter(ImageFilter.GaussianBlur(0.9))
    return soft.point([min(255, 2 * value) for value in range(256)])


def _spreader(spread_px: int) -> ImageFilter.Filter:
    return ImageFilter.MaxFilter(2 * spread_px + 1)


def _merged(labels: Labels) -> Labels:
    """Return labels without layers: a developmental drawing has none."""
    first: dict[str, int] = {}
    table = [
        first.setdefault(region.name.split()[0], label)
        for label, region in enumerate(REGIONS)
    ]
    merged: Labels = np.array(table, np.uint8)[labels]
    return merged


@functools.lru_cache(maxsize=8)
def _parcels(shape: tuple[int, int], atlas_id: int) -> NDArray[np.int32]:
    """Divide the plane into parcels, each nearest to its own random point."""
    height, width = shape
    random = np.random.default_rng(atlas_id)
    count = _PARCELS if atlas_id in ADULT_ATLASES else _PARCELS // 2
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    nearest = np.full(shape, np.inf, np.float32)
    parcels = np.zeros(shape, np.int32)
    for parcel in range(count):
        px, py = random.uniform(0, width), random.uniform(0, height)
        far = (x - px) ** 2 + (y - py) ** 2
        closer = far < nearest
        nearest[closer] = far[closer]
        parcels[closer] = parcel
    return parcels
