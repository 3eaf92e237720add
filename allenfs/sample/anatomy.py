"""The anatomy of a section, drawn once at a small size: a label for every pixel.

Everything is a function of the record, so a region of interest, whatever its tier,
shows the same place.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from allenfs.sample.frame import (
    Frame,
    base_halvings,
    base_size,
    frame_of,
    image_from_drawing,
)
from allenfs.sample.outlines import outlines_of
from allenfs.sample.shapes import CORONAL, REGIONS, SAGITTAL, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from allenfs.sample.records import ImageRecord

    Labels = NDArray[np.uint8]
    Field = NDArray[np.float32]

#: region name to label
LABELS: Final = {region.name: label for label, region in enumerate(REGIONS)}

_ROUNDS: Final = 5  # each one divides the error by about three


# The sections of a data set share their deformation: 4 fields of at most 4 MB.
@functools.lru_cache(maxsize=4)
def _shared_noise(width: int, cells: float, seed: int, octaves: int) -> Field:
    return noise((width, width), cells, seed, octaves)


def noise(size: tuple[int, int], cells: float, seed: int, octaves: int = 3) -> Field:
    """Return smooth noise, about -1 to 1, with `cells` bumps along the width."""
    width, height = size
    random = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        columns = max(2, round(cells)) + 1
        rows = max(2, round(cells * height / width)) + 1
        grid = random.uniform(-1, 1, (rows, columns)).astype(np.float32)
        layer = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        total += amplitude * np.asarray(layer)
        cells *= 2
        amplitude /= 2
    return total


@functools.lru_cache(maxsize=16)
def labels_of(record: ImageRecord) -> Labels:
    """Return the label of every pixel of the small drawing; 0 is bare glass."""
    if record.style == "glioblastoma":
        return _tumor(record)
    size = base_size(record)
    canvas = Image.new("L", size, 0)
    shapes = SAGITTAL if record.plane == "sagittal" else CORONAL
    frame = frame_of(record)
    painter = _Painter(canvas, frame)
    for shape in shapes:
        painter.paint(shape)
    if record.plane == "coronal":
        half = canvas.crop((0, 0, size[0] // 2, size[1]))
        mirrored = half.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        canvas.paste(mirrored, (size[0] - half.width, 0))
    return _warped(np.asarray(canvas), frame, record.data_set_id)


def _warped(labels: Labels, frame: Frame, seed: int) -> Labels:
    """Deform the drawing like a real section, each one differently."""
    height, width = labels.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = (x - width / 2) * frame.zoom, (y - height / 2) * frame.zoom
    cos, sin = math.cos(frame.turn_rad), math.sin(frame.turn_rad)
    bend_x, bend_y = _bend(frame, seed)
    from_x = frame.middle_x_px + dx * cos - dy * sin
    from_y = frame.middle_y_px + dx * sin + dy * cos
    from_x += bend_x
    from_y += bend_y
    columns = np.clip(np.rint(from_x), 0, width - 1).astype(np.intp)
    rows = np.clip(np.rint(from_y), 0, height - 1).astype(np.intp)
    warped: Labels = labels[rows, columns]
    return warped


# An image's outlines are placed one after the other: 2 fields of at most 4 MB.
@functools.lru_cache(maxsize=1)
def _bend(frame: Frame, seed: int) -> tuple[Field, Field]:
    """Return how much further right and down each pixel looks, in pixels."""
    width, height = frame.width_px, frame.height_px
    wide = 0.010 * width
    fine = 0.0022 * width

    def noise_of(cells: float, seed: int, octaves: int) -> Field:
        return _shared_noise(max(width, height), cells, seed, octaves)[:height, :width]

    return (
        wide * noise_of(5, seed, 2) + fine * noise_of(44, seed + 2, 3),
        wide * noise_of(5, seed + 1, 2) + fine * noise_of(44, seed + 3, 3),
    )


def placed(record: ImageRecord, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where an image shows points of the drawing, bend included.

    `points` are rows of x and y in the drawing's unit; the result has full-resolution
    pixels from the image's own corner.
    """
    frame = frame_of(record)
    bend_x, bend_y = _bend(frame, record.data_set_id)
    matrix = image_from_drawing(record)
    per_pixel = 1 / (1 << base_halvings(record))
    per_unit = frame.px_per_unit
    moved = points
    pixels = points
    # The bend is known where a point ends up: a few rounds find that place.
    for _ in range(_ROUNDS):
        pixels = moved @ matrix[:2, :2].T + matrix[:2, 2]
        columns = np.clip((pixels[:, 0] * per_pixel).astype(int), 0, frame.width_px - 1)
        rows = np.clip((pixels[:, 1] * per_pixel).astype(int), 0, frame.height_px - 1)
        bend = np.stack((bend_x[rows, columns], bend_y[rows, columns]), axis=1)
        moved = points - bend / per_unit
    return pixels


def _tumor(record: ImageRecord) -> Labels:
    """Return a block of tissue with a tumor that grows in from one side."""
    size = base_size(record)
    width, height = size
    seed = record.data_set_id + record.section_number // 3
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    bumps = noise(size, 4, seed, 5)
    edge = np.sqrt((x / 0.86) ** 2 + (y / 0.84) ** 2) + 0.07 * bumps
    depth = 0.75 * x + 0.35 * y + 0.42 * noise(size, 3, seed + 1, 5)
    labels = np.full((height, width), LABELS["leading edge"], np.uint8)
    labels[depth > -0.42] = LABELS["infiltrating tumor"]
    labels[depth > -0.12] = LABELS["cellular tumor"]
    dead = noise(size, 7, seed + 2, 4) + 0.5 * depth
    inside = depth > 0.0
    labels[inside & (dead > 0.62)] = LABELS["perinecrotic zone"]
    labels[inside & (dead > 0.76)] = LABELS["pseudopalisading cells"]
    labels[inside & (dead > 0.86)] = LABELS["necrosis"]
    vessels = noise(size, 30, seed + 3, 2)
    labels[(depth > -0.2) & (vessels > 0.98)] = LABELS["microvascular proliferation"]
    labels[edge > 1] = 0
    return labels


class _Painter:
    """Paints labels; later shapes cover earlier ones."""

    def __init__(self, canvas: Image.Image, frame: Frame) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._scale = frame.px_per_unit
        self._margin = np.asarray((frame.left, frame.top))

    def paint(self, shape: Shape) -> None:
        """Paint one shape."""
        for region, points in outlines_of(shape):
            pixels = (points + self._margin) * self._scale
            polygon = [(float(x), float(y)) for x, y in pixels]
            self._draw.polygon(polygon, fill=LABELS[region])
