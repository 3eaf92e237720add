"""Draws a contact sheet: a title, and labelled pictures in rows."""

from __future__ import annotations

import bisect
import functools
import io
import math
import unicodedata
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from allenfs.errors import BrokenImageError
from allenfs.model.sheets import LABEL_PX, MARGIN_PX

if TYPE_CHECKING:
    from allenfs.model.sheets import SheetRequest

_PAPER, _INK, _FAINT = (255, 255, 255), (32, 36, 42), (118, 124, 132)
_FRAME, _EMPTY = (214, 217, 221), (243, 244, 246)
_HEADING_PX, _FACTS_PX = 24, 15
# The two lines of a label: section number and id.
_LABEL_PX, _SMALL_LABEL_PX = (14, 11), (10, 9)
_WORD_PX = 11
_QUALITY = 90
_ELLIPSIS = "\u2026"
# Characters that the font has besides ASCII.
_DRAWABLE = "\u00b7"


class Page:
    """One sheet. Not thread-safe, except for `reduced`."""

    def __init__(self, request: SheetRequest) -> None:
        self._request = request
        self._grid = request.grid
        self._canvas = Image.new("RGB", self._grid.size_px, _PAPER)
        self._draw = ImageDraw.Draw(self._canvas)
        self._draw_title()

    def reduced(self, data: bytes, name: str) -> Image.Image:
        """Return a JPEG decoded and scaled for the sheet.

        Raises BrokenImageError, with `name`, if it cannot be drawn.
        """
        try:
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
                width_px, height_px = self._size_on_page(*opened.size)
                opened.draft("RGB", (2 * width_px, 2 * height_px))
                picture = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise BrokenImageError(f"cannot be drawn: {error}", url=name) from error
        return picture.resize((width_px, height_px), Image.Resampling.LANCZOS)

    def lay(self, place: int, picture: Image.Image) -> None:
        """Put a picture and its label into a cell, from 0."""
        left, top = self._grid.corner_px(place)
        width_px, height_px = self._grid.picture_px
        left += (width_px - picture.width) // 2
        top += height_px - picture.height  # aligned at the bottom, above the labels
        self._canvas.paste(picture, (left, top))
        self._label(place)

    def leave_empty(self, place: int, word: str) -> None:
        """Put a label into a cell, and why there is no picture."""
        left, top = self._grid.corner_px(place)
        width_px, height_px = self._grid.picture_px
        box = left, top, left + width_px - 1, top + height_px - 1
        self._draw.rectangle(box, _EMPTY, _FRAME)
        middle = left + width_px // 2, top + height_px // 2
        self._write(word, middle, "mm", _WORD_PX, _FAINT, width_px)
        self._label(place)

    def jpeg(self) -> bytes:
        """Return the sheet as it is now."""
        out = io.BytesIO()
        self._canvas.save(out, "JPEG", quality=_QUALITY)
        return out.getvalue()

    def _size_on_page(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Apply the common scale; more if a picture is larger than its record says."""
        most_px = self._grid.picture_px
        scale = min(self._grid.scale, most_px[0] / width_px, most_px[1] / height_px)
        return (
            min(max(round(width_px * scale), 1), most_px[0]),
            min(max(round(height_px * scale), 1), most_px[1]),
        )

    def _draw_title(self) -> None:
        request = self._request
        base, right = MARGIN_PX + _HEADING_PX, self._grid.size_px[0] - MARGIN_PX
        self._write(request.count, (right, base), "rs", _FACTS_PX, _FAINT, right)
        count_px = round(_font(_FACTS_PX).getlength(request.count))
        free_px = right - MARGIN_PX - count_px - MARGIN_PX
        where = MARGIN_PX, base
        self._write(request.heading, where, "ls", _HEADING_PX, _INK, free_px)
        where = MARGIN_PX, base + round(1.5 * _FACTS_PX)
        self._write(request.facts, where, "ls", _FACTS_PX, _FAINT, right - MARGIN_PX)

    def _label(self, place: int) -> None:
        image = self._request.images[place]
        left, top = self._grid.corner_px(place)
        width_px, height_px = self._grid.picture_px
        is_small = self._grid.label_px < LABEL_PX
        number_px, id_px = _SMALL_LABEL_PX if is_small else _LABEL_PX
        middle, base = left + width_px // 2, top + height_px + number_px + 2
        # including the gap: the longest numbers are wider than a picture
        width_px += self._grid.gap_px
        number = "-" if image.section_number is None else str(image.section_number)
        self._write(number, (middle, base), "ms", number_px, _INK, width_px)
        where = middle, base + id_px + 2
        self._write(str(image.image_id), where, "ms", id_px, _FAINT, width_px)

    def _write(
        self,
        text: str,
        where: tuple[int, int],
        anchor: str,
        size_px: int,
        colour: tuple[int, int, int],
        width_px: int,
    ) -> None:
        font = _font(size_px)
        line = _cut(_drawable(text), font, width_px)
        self._draw.text(where, line, colour, font, anchor)


@functools.lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _cut(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> str:
    """Return as much of a text as fits, with an ellipsis if it is cut."""
    if font.getlength(text) <= width_px:
        return text
    too_long = bisect.bisect_right(
        range(len(text)),
        width_px,
        key=lambda end: math.ceil(font.getlength(text[:end] + _ELLIPSIS)),
    )
    return text[: max(0, too_long - 1)].rstrip() + _ELLIPSIS


def _drawable(text: str) -> str:
    """Drop accents, and replace other characters that the font lacks by ``?``."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(
        one if (one.isascii() and one.isprintable()) or one in _DRAWABLE else "?"
        for one in plain
        if not unicodedata.combining(one)
    )
