"""Draws a page of a stack: an image, centred on the colour of its own border."""

from __future__ import annotations

import io
import itertools

from PIL import Image

from allenfs.errors import BrokenImageError

_QUALITY = 95
# A block of JPEG: a border of one pixel may be an artefact of scanning.
_BORDER_PX = 8
_VALUES = 256


def drawn(data: bytes, size_px: tuple[int, int], name: str) -> bytes:
    """Return a JPEG on a page of `size_px` (width, height), as a JPEG.

    An image of that size is returned as it is. One that is larger loses as much on both
    sides.

    Raises BrokenImageError, with `name`, if it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
            opened.load()
            is_rgb = opened.mode == "RGB"
            if is_rgb and opened.size == size_px:
                return data
            picture = opened if is_rgb else opened.convert("RGB")
            page = Image.new("RGB", size_px, background(picture))
            left_px, top_px = (
                (page_px - own_px) // 2
                for page_px, own_px in zip(size_px, picture.size, strict=True)
            )
            page.paste(picture, (left_px, top_px))
    except (OSError, ValueError, SyntaxError) as error:
        raise BrokenImageError(f"cannot be drawn: {error}", url=name) from error
    out = io.BytesIO()
    # 4:4:4: a chroma sample of the source may lie between two of the page
    page.save(out, "JPEG", quality=_QUALITY, subsampling=0)
    return out.getvalue()


def background(picture: Image.Image) -> tuple[int, ...]:
    """Return the median of the pixels at the border of an RGB picture, per channel."""
    width_px, height_px = picture.size
    across_px, down_px = min(_BORDER_PX, width_px), min(_BORDER_PX, height_px)
    strips = (
        (0, 0, width_px, down_px),
        (0, height_px - down_px, width_px, height_px),
        (0, 0, across_px, height_px),
        (width_px - across_px, 0, width_px, height_px),
    )
    histograms = [picture.crop(strip).histogram() for strip in strips]
    counts = [sum(each) for each in zip(*histograms, strict=True)]
    return tuple(
        _median(counts[start : start + _VALUES])
        for start in range(0, len(counts), _VALUES)
    )


def _median(counts: list[int]) -> int:
    """Return the median value, where `counts` has how often each value occurs."""
    half = sum(counts) / 2
    return next(
        value
        for value, below in enumerate(itertools.accumulate(counts))
        if below >= half
    )
