"""Where an image shows the hand-drawn anatomy: size, margins, turn and zoom.

The drawing in `shapes` has its own unit, a hundredth of a section's height. Each image
turns and shrinks it differently; the same figures make the picture and its alignment.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from allenfs.sample.data_sets import Plane
    from allenfs.sample.records import ImageRecord

    Matrix = NDArray[np.float64]

#: maximum width of the small drawing: a few pixels for every cell layer
_BASE_WIDTH_PX: Final = 1056
#: an image whose eighth is smaller is drawn at an eighth: 4233 pixels become 530
_FEWEST_HALVINGS: Final = 3
#: width of a drawing in its own unit
_WIDTHS: Final[dict[Plane, float]] = {"sagittal": 197.0, "coronal": 140.0}
_LEFT_MARGINS: Final[dict[Plane, float]] = {"sagittal": 2.0, "coronal": 0.0}
#: the middle of the drawing is a little above that of the image: the caption is below
_MIDDLE: Final = 0.53


def base_halvings(record: ImageRecord) -> int:
    """Return how often the small drawing of an image is halved.

    A power of two, so that the place of every pixel in the small drawing is exact in
    the single precision that Pillow resizes with: a tile and the whole image are
    enlarged to the same pixels.
    """
    halvings = _FEWEST_HALVINGS
    while record.width_px >> halvings > _BASE_WIDTH_PX:
        halvings += 1
    return halvings


def base_size(record: ImageRecord) -> tuple[int, int]:
    """Return width and height, in pixels, of the small drawing of an image.

    They are rounded up: the image ends within the last column and row.
    """
    halvings = base_halvings(record)
    return -(-record.width_px >> halvings), -(-record.height_px >> halvings)


@dataclass(frozen=True, slots=True)
class Frame:
    """How the drawing lies in the small picture of one image.

    `px_per_unit` are small pixels; `left` and `top` are margins in the drawing's unit.
    A point at (dx, dy) from the middle of the picture shows what is drawn at that
    distance, turned by `turn_rad` and multiplied by `zoom`, from (`middle_x_px`,
    `middle_y_px`) in the untouched drawing.
    """

    width_px: int
    height_px: int
    px_per_unit: float
    left: float
    top: float
    turn_rad: float
    zoom: float

    @property
    def middle_x_px(self) -> float:
        """The drawn column in the middle of the picture."""
        return self.width_px / 2

    @property
    def middle_y_px(self) -> float:
        """The drawn row in the middle of the picture."""
        return _MIDDLE * self.height_px


@functools.lru_cache(maxsize=1024)
def frame_of(record: ImageRecord) -> Frame:
    """Return the frame of an image, which follows from its record alone."""
    width, height = base_size(record)
    random = np.random.default_rng(record.image_id)
    turn = math.radians(random.uniform(-2.5, 2.5))
    # Sections far from the middle of a series are smaller.
    zoom = (
        (1.02 if record.plane == "sagittal" else 1.11)
        + 0.03 * math.cos(record.section_number / 9)
        + random.uniform(0, 0.02)
    )
    px_per_unit = width / _WIDTHS[record.plane]
    return Frame(
        width_px=width,
        height_px=height,
        px_per_unit=px_per_unit,
        left=_LEFT_MARGINS[record.plane],
        # hundredths of the height above and below, where the image is higher
        top=(height / px_per_unit - 100) / 2,
        turn_rad=turn,
        zoom=zoom,
    )


def image_from_drawing(record: ImageRecord) -> Matrix:
    """Return the 3 x 3 matrix from the drawing's unit to an image's own pixels.

    The pixels are full-resolution ones, counted from the image's corner. The finer
    bend of the picture, about 1 % of its width, is left out: this is a similarity.
    """
    frame = frame_of(record)
    cos, sin = math.cos(frame.turn_rad), math.sin(frame.turn_rad)
    enlarged = 1 << base_halvings(record)
    scale = enlarged / frame.zoom
    # The inverse of the look-up of each pixel's middle, which draws the picture.
    from_middle = np.array(
        [
            [frame.px_per_unit, 0, frame.left * frame.px_per_unit - frame.middle_x_px],
            [0, frame.px_per_unit, frame.top * frame.px_per_unit - frame.middle_y_px],
            [0, 0, 1],
        ]
    )
    turned = np.array(
        [
            [scale * cos, scale * sin, enlarged * (frame.width_px + 1) / 2],
            [-scale * sin, scale * cos, enlarged * (frame.height_px + 1) / 2],
            [0, 0, 1],
        ]
    )
    matrix: Matrix = turned @ from_middle
    return matrix
