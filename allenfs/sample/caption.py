"""The caption: all parameters of the request, written into the image."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

from allenfs.sample.picture import region_of

if TYPE_CHECKING:
    from allenfs.sample.picture import Picture
    from allenfs.sample.records import ImageRecord

_MIN_FONT_PX: Final = 9
_MAX_FONT_PX: Final = 44
_MARGIN_PX: Final = 4
#: the part of the height that a caption may cover; if it needs more, it is omitted
_MAX_COVERED: Final = 0.5
_PAPER: Final = (18, 20, 26)
_INK: Final = (238, 240, 244)


def words_of(record: ImageRecord, picture: Picture) -> list[str]:
    """Return the parts of the caption; two requests never share all of them."""
    region = region_of(record, picture)
    name = "plate" if record.kind == "atlas" else "section"
    words = [
        f"{name} {record.image_id}",
        f"ds{picture.downsample}",
        f"{region.width_px} x {region.height_px} "
        f"from {region.left_px}, {region.top_px}",
        picture.view or "image",
    ]
    if picture.service != "image":
        words.append(f"{picture.service} service")
    if picture.annotation:
        words.append("annotated")
    if picture.atlas_id is not None:
        words.append(f"atlas {picture.atlas_id}")
    if picture.quality is not None:
        words.append(f"quality {picture.quality}")
    for label, numbers in (
        ("range", picture.range),
        ("rgb", picture.rgb),
        ("contrast", picture.contrast),
    ):
        if numbers is not None:
            words.append(f"{label} {','.join(f'{number:.9g}' for number in numbers)}")
    if picture.colormap is not None:
        words.append(f"colormap {picture.colormap}")
    return words


def caption(record: ImageRecord, picture: Picture) -> Image.Image | None:
    """Return the band to paste along the lower edge, or None without room for it."""
    region = region_of(record, picture)
    words = words_of(record, picture)
    plane = "" if record.plane in record.title.lower() else f"{record.plane}, "
    title = f"{record.title}, {plane}no. {record.section_number} (drawn sample)"
    largest = max(_MIN_FONT_PX, min(_MAX_FONT_PX, region.height_px // 32))
    for parts in ((*words, title), words):
        for font_px in range(largest, _MIN_FONT_PX - 1, -1):
            font = _font(font_px)
            lines = _wrapped(list(parts), font, region.width_px - 2 * _MARGIN_PX)
            if not lines:
                continue
            line_px = round(font_px * 1.35)
            height_px = line_px * len(lines) + 2 * _MARGIN_PX
            allowed = _MAX_COVERED if parts is words else _MAX_COVERED / 2
            if height_px <= allowed * region.height_px:
                return _painted(lines, font, line_px, (region.width_px, height_px))
    return None


@functools.lru_cache(maxsize=64)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _wrapped(
    words: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> list[str]:
    """Return the parts in as few lines as fit the width; none if one is too long."""
    lines: list[str] = []
    for word in words:
        if font.getlength(word) > width_px:
            return []
        longer = f"{lines[-1]}   {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _painted(
    lines: list[str],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    line_px: int,
    size: tuple[int, int],
) -> Image.Image:
    band = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(band)
    for row, line in enumerate(lines):
        draw.text((_MARGIN_PX, _MARGIN_PX + row * line_px), line, _INK, font)
    return band
