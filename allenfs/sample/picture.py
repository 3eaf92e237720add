"""The parameters of one request, and the pixels of the image that they select."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from allenfs.sample.records import ImageRecord

Service = Literal["image", "projection", "atlas"]

VIEWS: Final = (
    "expression",
    "projection",
    "tumor_feature_annotation",
    "tumor_feature_boundary",
)
MAX_DOWNSAMPLE: Final = 10


class OutsideImageError(ValueError):
    """The region asked for has no pixel in common with the image."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All parameters of one request.

    `left_px` and `top_px` are full-resolution pixels of the slide, `width_px` and
    `height_px` pixels of the chosen tier; None is the default of the service.
    `downsample` is a number of halvings, `quality` the JPEG quality, 0 to 100.
    """

    view: str | None = None
    downsample: int = 0
    quality: int | None = None
    left_px: int | None = None
    top_px: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    range: tuple[int, ...] | None = None
    rgb: tuple[float, ...] | None = None
    contrast: tuple[float, ...] | None = None
    colormap: str | None = None
    annotation: bool = False
    atlas_id: int | None = None
    service: Service = "image"


@dataclass(frozen=True, slots=True)
class Region:
    """A picture's pixels: a full-resolution corner on the slide, a size in the tier."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


def region_of(record: ImageRecord, picture: Picture) -> Region:
    """Return the pixels that `picture` shows, clamped to the image or its slide.

    Without a corner and a size, that is the image itself.

    Raises
    ------
    OutsideImageError
        The region lies wholly outside, or has no width or height.
    """
    d, slide = picture.downsample, record.slide
    across, down = (record.left_px, record.width_px), (record.top_px, record.height_px)
    left, width = _clamp(
        *(picture.left_px, picture.width_px, across),
        across if slide is None else (0, slide.width_px),
        d,
    )
    top, height = _clamp(
        *(picture.top_px, picture.height_px, down),
        down if slide is None else (0, slide.height_px),
        d,
    )
    return Region(left, top, width, height)


def resolved(record: ImageRecord, picture: Picture) -> Picture:
    """Return `picture` with its region written out, as the redirect carries it."""
    region = region_of(record, picture)
    return replace(
        picture,
        left_px=region.left_px,
        top_px=region.top_px,
        width_px=region.width_px,
        height_px=region.height_px,
    )


def _clamp(
    start_px: int | None,
    size_px: int | None,
    image_px: tuple[int, int],
    bounds_px: tuple[int, int],
    downsample: int,
) -> tuple[int, int]:
    """Return start (full resolution) and size (tier) along one axis.

    `image_px` and `bounds_px` are start and size of the image, and of the visible
    area, at full resolution. Sizes are rounded down, as every recorded size
    is, and never below one pixel.
    """
    first, last = bounds_px[0], sum(bounds_px)
    start = image_px[0] if start_px is None else start_px
    if size_px is None:
        size_px = max(1, image_px[1] >> downsample)
    stop = start + (size_px << downsample)
    if size_px < 1 or stop <= first or start >= last:
        raise OutsideImageError(f"{size_px} pixels from {start} are outside the image")
    start, stop = max(start, first), min(stop, last)
    return start, max(1, (stop - start) >> downsample)
