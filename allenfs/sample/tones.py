"""Filters over the finished colours: range, rgb, contrast and colour maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image

if TYPE_CHECKING:
    from allenfs.sample.picture import Picture
    from allenfs.sample.records import ImageRecord

Color = tuple[int, int, int]

_BYTE: Final = 255
#: brightest value of a fluorescence channel before `range` stretches it (of 4095)
_FLUORESCENCE_TOP: Final = 1400

#: colour maps by AllenSDK's ids; colours from dark to bright
_MAPS: Final[tuple[tuple[Color, ...], ...]] = (
    ((0, 0, 0), (255, 255, 255)),  # gray
    ((0, 0, 0), (200, 0, 0), (255, 180, 0), (255, 255, 255)),  # hotmetal
    ((0, 0, 140), (0, 160, 255), (120, 255, 130), (255, 200, 0), (140, 0, 0)),  # jet
    ((0, 0, 0), (170, 20, 0), (255, 130, 40), (255, 255, 230)),  # redtemp
    ((0, 0, 0), (0, 80, 255), (0, 230, 120), (255, 230, 0), (255, 0, 0)),  # expression
    ((0, 0, 0), (255, 0, 0)),  # red
    ((0, 0, 0), (0, 60, 255)),  # blue
    ((0, 0, 0), (0, 255, 60)),  # green
    ((20, 20, 60), (110, 60, 160), (240, 170, 120), (255, 255, 240)),  # aba
    ((255, 255, 255), (90, 160, 220), (0, 0, 80)),  # aibsmap_alt
    ((40, 0, 80), (0, 130, 130), (250, 230, 40)),  # colormap
    ((0, 0, 0), (10, 90, 60), (120, 255, 140)),  # projection
)


def toned(image: Image.Image, record: ImageRecord, picture: Picture) -> Image.Image:
    """Return the image with the picture's filters applied."""
    fluorescent = record.style == "connectivity"
    if picture.range is not None:
        top = _FLUORESCENCE_TOP if fluorescent else _BYTE
        image = image.point(_range_table(picture.range, top))
    elif fluorescent and picture.view is None:
        # Unstretched 12-bit data is dim.
        image = image.point([round(0.62 * value) for value in range(256)] * 3)
    if picture.contrast is not None:
        gain, bias = picture.contrast
        image = image.point(
            [
                _clipped((value - 128) * (0.25 + 1.5 * gain) + 128 + 160 * (bias - 0.5))
                for value in range(256)
            ]
            * 3
        )
    if picture.rgb is not None:
        image = image.point(
            [_clipped(value * part) for part in picture.rgb for value in range(256)]
        )
    if picture.colormap is not None:
        image = _mapped(image, picture.colormap)
    return image


def _clipped(value: float) -> int:
    return min(_BYTE, max(0, round(value)))


def _range_table(bounds: tuple[int, ...], top: int) -> list[int]:
    """Stretch every channel so that its lower bound is black, its upper one bright."""
    table: list[int] = []
    for lower, upper in zip(bounds[::2], bounds[1::2], strict=True):
        span = max(1, upper - lower)
        table += [
            _clipped((value * top / _BYTE - lower) * _BYTE / span)
            for value in range(256)
        ]
    return table


def _mapped(image: Image.Image, colormap: str) -> Image.Image:
    """Replace colours by those of a map: gain, threshold, bounds, id of the map."""
    numbers = [float(part) for part in colormap.split(",")]
    gain, threshold = (numbers + [0.5, 0.0][len(numbers) :])[:2]
    colors = _MAPS[int(numbers[-1]) % len(_MAPS)]
    table: list[list[int]] = [[], [], []]
    for value in range(256):
        level = _clipped((value - threshold) * 2 * gain) if value >= threshold else 0
        at = level / _BYTE * (len(colors) - 1)
        low = min(int(at), len(colors) - 2)
        for channel in range(3):
            start, stop = colors[low][channel], colors[low + 1][channel]
            table[channel].append(round(start + (stop - start) * (at - low)))
    gray = image.convert("L")
    return Image.merge("RGB", [gray.point(channel) for channel in table])
