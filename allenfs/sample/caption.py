"""The caption: all parameters of the request, written into the image.

The caption of a whole image belongs to the place that it covers: a tile of a pyramid
shows its part of it and nothing else, so that the tiles of a tier join to the whole
image. Any other region has a caption that names the region.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

from allenfs.sample.picture import region_of

if TYPE_CHECKING:
    from allenfs.sample.picture import Picture, Region
    from allenfs.sample.records import ImageRecord

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: side of a tile of a pyramid, in pixels of its tier
TILE_PX: Final = 1024
#: tiles start at multiples of it, in full-resolution pixels of their image: in a
#: volume, an image is moved by multiples of its coarsest pixel
_STEP_PX: Final = 32

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


@dataclass(frozen=True, slots=True)
class Caption:
    """A band of text, and its corner in the picture: tier pixels, maybe outside."""

    lines: tuple[str, ...]
    font_px: int
    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def paste_into(self, strip: Image.Image, strip_top_px: int) -> None:
        """Paste what belongs to a strip that starts at that row of the picture."""
        top_px = self.top_px - strip_top_px
        is_above, is_below = top_px + self.height_px <= 0, top_px >= strip.height
        if not (is_above or is_below):
            strip.paste(self._painted(), (self.left_px, top_px))

    def _painted(self) -> Image.Image:
        band = Image.new("RGB", (self.width_px, self.height_px), _PAPER)
        draw = ImageDraw.Draw(band)
        for row, line in enumerate(self.lines):
            at = (_MARGIN_PX, _MARGIN_PX + row * _line_px(self.font_px))
            draw.text(at, line, _INK, _font(self.font_px))
        return band


def caption(record: ImageRecord, picture: Picture) -> Caption | None:
    """Return the caption of a picture, or None where there is no room for one."""
    whole = replace(picture, left_px=None, top_px=None, width_px=None, height_px=None)
    region, image = region_of(record, picture), region_of(record, whole)
    if not _is_tile(region, image, picture.downsample):
        return _along_the_edge(record, picture)
    found = _along_the_edge(record, whole)
    if found is None:
        return None
    return replace(
        found,
        left_px=(image.left_px - region.left_px) >> picture.downsample,
        top_px=found.top_px + ((image.top_px - region.top_px) >> picture.downsample),
    )


def _is_tile(region: Region, image: Region, downsample: int) -> bool:
    """Return whether a region is a tile of a pyramid, or the whole image."""
    return all(
        _is_side_of_tile(start_px, size_px, image_px, downsample)
        for start_px, size_px, image_px in (
            (region.left_px - image.left_px, region.width_px, image.width_px),
            (region.top_px - image.top_px, region.height_px, image.height_px),
        )
    )


def _is_side_of_tile(
    start_px: int, size_px: int, image_px: int, downsample: int
) -> bool:
    """Return whether that is a tile's part of one side of an image.

    It is one tile long, or the first or last part, or all of the side. `start_px` are
    full-resolution pixels, `size_px` and `image_px` pixels of the tier.
    """
    if start_px % _STEP_PX:
        return False
    left_over_px = image_px - (start_px >> downsample) - size_px
    if start_px < 0 or left_over_px < 0:
        return False
    if size_px in (TILE_PX, image_px):
        return True
    if size_px > TILE_PX:
        return False
    is_first = start_px == 0 and image_px > TILE_PX
    ends_at_a_tile = ((TILE_PX - size_px) << downsample) % _STEP_PX == 0
    return left_over_px == 0 or (is_first and ends_at_a_tile)


@functools.lru_cache(maxsize=64)
def _along_the_edge(record: ImageRecord, picture: Picture) -> Caption | None:
    """Return the caption along the lower edge of a picture."""
    region = region_of(record, picture)
    words = words_of(record, picture)
    plane = "" if record.plane in record.title.lower() else f"{record.plane}, "
    title = f"{record.title}, {plane}no. {record.section_number} (drawn sample)"
    largest = max(_MIN_FONT_PX, min(_MAX_FONT_PX, region.height_px // 32))
    for parts in ((*words, title), words):
        for font_px in range(largest, _MIN_FONT_PX - 1, -1):
            available_px = region.width_px - 2 * _MARGIN_PX
            lines = _wrapped(list(parts), _font(font_px), available_px)
            if not lines:
                continue
            height_px = _line_px(font_px) * len(lines) + 2 * _MARGIN_PX
            allowed = _MAX_COVERED if parts is words else _MAX_COVERED / 2
            if height_px <= allowed * region.height_px:
                return Caption(
                    lines=tuple(lines),
                    font_px=font_px,
                    left_px=0,
                    top_px=region.height_px - height_px,
                    width_px=region.width_px,
                    height_px=height_px,
                )
    return None


def _line_px(font_px: int) -> int:
    return round(font_px * 1.35)


@functools.lru_cache(maxsize=64)
def _font(size_px: int) -> Font:
    return ImageFont.load_default(size_px)


def _wrapped(words: list[str], font: Font, width_px: int) -> list[str]:
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
