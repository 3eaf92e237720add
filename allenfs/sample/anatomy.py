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

from allenfs.sample.shapes import (
    CORONAL,
    REGIONS,
    SAGITTAL,
    Area,
    Blob,
    Lobes,
    Points,
    Ribbon,
    Shape,
    Stroke,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from allenfs.sample.records import ImageRecord

    Labels = NDArray[np.uint8]
    Field = NDArray[np.float32]

#: maximum width of the small drawing: a few pixels for every cell layer
BASE_WIDTH_PX: Final = 1024
#: a smaller image is drawn at an eighth, in these steps: 4233 pixels become 512
_BASE_STEP_PX: Final = 256

#: region name to label
LABELS: Final = {region.name: label for label, region in enumerate(REGIONS)}

_STEPS: Final = 24  # points between two control points of a smoothed line
_WIDTHS: Final = {"sagittal": 197.0, "coronal": 140.0}


def base_size(record: ImageRecord) -> tuple[int, int]:
    """Return width and height, in pixels, of the small drawing of an image."""
    steps = max(1, record.width_px // 8 // _BASE_STEP_PX)
    width = min(BASE_WIDTH_PX, steps * _BASE_STEP_PX)
    return width, max(1, round(record.height_px * width / record.width_px))


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
    painter = _Painter(canvas, _WIDTHS[record.plane])
    for shape in shapes:
        painter.paint(shape)
    if record.plane == "coronal":
        half = canvas.crop((0, 0, size[0] // 2, size[1]))
        mirrored = half.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        canvas.paste(mirrored, (size[0] - half.width, 0))
    return _warped(np.asarray(canvas), record)


def _warped(labels: Labels, record: ImageRecord) -> Labels:
    """Deform the drawing like a real section, each one differently."""
    height, width = labels.shape
    size = (width, height)
    seed = record.data_set_id
    random = np.random.default_rng(record.image_id)
    turn = math.radians(random.uniform(-2.5, 2.5))
    # Sections far from the middle of a series are smaller.
    zoom = (
        (1.02 if record.plane == "sagittal" else 1.11)
        + 0.03 * math.cos(record.section_number / 9)
        + random.uniform(0, 0.02)
    )
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = (x - width / 2) * zoom, (y - height / 2) * zoom
    wide = 0.010 * width
    fine = 0.0022 * width

    def bend(cells: float, seed: int, octaves: int) -> Field:
        return _shared_noise(max(size), cells, seed, octaves)[:height, :width]

    from_x = width / 2 + dx * math.cos(turn) - dy * math.sin(turn)
    # a little above the middle: the caption is below
    from_y = 0.53 * height + dx * math.sin(turn) + dy * math.cos(turn)
    from_x += wide * bend(5, seed, 2) + fine * bend(44, seed + 2, 3)
    from_y += wide * bend(5, seed + 1, 2) + fine * bend(44, seed + 3, 3)
    columns = np.clip(np.rint(from_x), 0, width - 1).astype(np.intp)
    rows = np.clip(np.rint(from_y), 0, height - 1).astype(np.intp)
    warped: Labels = labels[rows, columns]
    return warped


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


def smoothed(points: Points, *, closed: bool) -> NDArray[np.float64]:
    """Return a Catmull-Rom spline through `points`, as rows of x and y."""
    knots = np.asarray(points, np.float64)
    if closed:
        around = np.concatenate((knots[-1:], knots, knots[:2]))
    else:
        around = np.concatenate((knots[:1], knots, knots[-1:]))
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(around, around[1:], around[2:], around[3:], strict=False):
        linear = (p2 - p0) * t
        square = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        cube = (3 * p1 - p0 - 3 * p2 + p3) * t**3
        pieces.append(0.5 * (2 * p1 + linear + square + cube))
    if not closed:
        pieces.append(knots[-1:])
    return np.concatenate(pieces)


class _Painter:
    """Paints labels; later shapes cover earlier ones."""

    def __init__(self, canvas: Image.Image, width: float) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._scale = canvas.width / width
        # hundredths of the height above and below, where the image is higher
        self._top = (canvas.height / self._scale - 100) / 2
        self._left = 2.0 if width > 150 else 0.0

    def paint(self, shape: Shape) -> None:
        """Paint one shape."""
        if isinstance(shape, Blob):
            self._fill(shape.region, _ellipse(shape))
        elif isinstance(shape, Area):
            self._fill(shape.region, smoothed(shape.points, closed=True))
        elif isinstance(shape, Stroke):
            self._line(shape)
        elif isinstance(shape, Ribbon):
            self._ribbon(shape)
        else:
            self._lobes(shape)

    def _pixels(self, points: NDArray[np.float64]) -> list[tuple[float, float]]:
        shifted = (points + np.asarray((self._left, self._top))) * self._scale
        return [(float(x), float(y)) for x, y in shifted]

    def _fill(self, region: str, points: NDArray[np.float64]) -> None:
        self._draw.polygon(self._pixels(points), fill=LABELS[region])

    def _line(self, stroke: Stroke) -> None:
        line = smoothed(stroke.points, closed=False)
        along = np.gradient(line, axis=0)
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
        across = np.stack((-along[:, 1], along[:, 0]), axis=1) / length[:, None]
        # rounded ends: the half width shrinks to nothing over the last points
        place = np.linspace(-1, 1, len(line))
        half = 0.5 * stroke.width * np.sqrt(np.clip(1 - place**16, 0, 1))[:, None]
        sides = np.concatenate((line + across * half, (line - across * half)[::-1]))
        self._fill(stroke.region, sides)

    def _ribbon(self, ribbon: Ribbon) -> None:
        outer = smoothed(ribbon.outer, closed=False)
        inner = smoothed(ribbon.inner, closed=False)
        start = 0.0
        for region, stop in ribbon.layers:
            upper = outer + (inner - outer) * start
            lower = outer + (inner - outer) * stop
            self._fill(region, np.concatenate((upper, lower[::-1])))
            start = stop

    def _lobes(self, lobes: Lobes) -> None:
        angle = np.linspace(0, 2 * math.pi, 1440)
        # Leaves of unequal width, each with small folds.
        phase = lobes.leaves / 2 * (angle + 0.22 * np.sin(2 * angle + 1.0))
        leaf = np.abs(np.cos(phase))
        fold = np.abs(np.cos(3.0 * phase))
        reach = lobes.radius * (
            1 + 0.06 * np.cos(angle - 2.4) - 0.04 * np.cos(3 * angle)
        )
        rim = np.stack((1.08 * reach * np.cos(angle), reach * np.sin(angle)), axis=1)
        center = np.asarray((lobes.x, lobes.y))
        # White matter branches from a root near the stem, not from the middle.
        root = center + np.asarray((-0.10, 0.42)) * lobes.radius
        for region, least, most, power, folds in (
            ("molecular layer", 0.84, 1.0, 0.35, 0.035),
            ("granular layer", 0.50, 0.89, 0.55, 0.045),
            ("fibre tracts", 0.27, 0.80, 5.0, 0.0),
        ):
            part = least + (most - least) * leaf**power + folds * (fold**0.6 - 1)
            outline = root + (center + rim - root) * part[:, None]
            self._fill(region, outline)


def _ellipse(blob: Blob) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * math.pi, 90)
    turn = math.radians(blob.turn_deg)
    along, across = blob.radius_x * np.cos(angle), blob.radius_y * np.sin(angle)
    x = blob.x + along * math.cos(turn) - across * math.sin(turn)
    y = blob.y + along * math.sin(turn) + across * math.cos(turn)
    return np.stack((x, y), axis=1)
