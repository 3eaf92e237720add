"""The affine maps between a reference space, the sections of a data set, and pixels.

Three coordinate systems:

- *reference*: (p, i, r) in micrometres. p runs from anterior to posterior (0 to
  13 200), i from dorsal to ventral (0 to 8000), r across (0 to 11 400). Spaces 9 and
  10 are the adult mouse brain; 10 is 9 mirrored.
- *volume*: (x, y, z) in micrometres, of one data set; z is the section number times
  the thickness of a section.
- *pixels*: (x, y) at full resolution, from the image's own corner.

The coefficients are those of the records: ``trv_00`` to ``trv_11`` (reference to
volume) and ``tvr`` of a data set's `alignment3d`, ``tsv_00`` to ``tsv_05`` (section to
volume) and ``tvs`` of an image's `alignment2d`. They reproduce all 60 recorded answers
of the services `reference_to_image` and `image_to_reference` (BlueBrain's
Atlas-Download-Tools, ``tests/data/sync``).
"""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

# Recorded: the centres of a structure in spaces 9 and 10 are mirror images across the
# width of the brain; the two points that `image_to_reference` returns for one pixel are
# so across 50 um less.
_WIDTH_UM, _SPACES_MIRROR_UM = 11_400.0, 11_350.0
# A region has at most this many pixels on a side, in its tier.
_MAX_SIDE_PX = 2000


class Point(NamedTuple):
    """A point of a reference space, in micrometres."""

    p_um: float
    i_um: float
    r_um: float

    @property
    def is_right(self) -> bool:
        """Whether it lies in the right hemisphere of space 9."""
        return self.r_um > _WIDTH_UM / 2

    def in_other_hemisphere(self) -> Point:
        """Return the mirror image of the point, in the same space."""
        return self._replace(r_um=_WIDTH_UM - self.r_um)

    def in_other_space(self) -> Point:
        """Convert between the spaces 9 and 10, as the service does."""
        return self._replace(r_um=_SPACES_MIRROR_UM - self.r_um)


def transformed(
    coefficients: Sequence[float], vector: Sequence[float]
) -> tuple[float, ...]:
    """Apply an affine map to a vector of n numbers.

    The n * n coefficients of the matrix come first, row by row, then n translations.
    """
    n = len(vector)
    return tuple(
        sum(coefficients[row * n + column] * vector[column] for column in range(n))
        + coefficients[n * n + row]
        for row in range(n)
    )


def section_position(
    trv: Sequence[float], point: Point, thickness_um: float
) -> tuple[float, float, float]:
    """Return where a point lies: x and y in the volume (um), and the section number.

    The number may be fractional: the nearest section shows the point.
    """
    x_um, y_um, z_um = transformed(trv, point)
    return x_um, y_um, z_um / thickness_um


def reference_point(
    tvr: Sequence[float],
    tsv: Sequence[float],
    pixel: tuple[float, float],
    section_number: float,
    thickness_um: float,
) -> Point:
    """Return the point of the reference space that a pixel of a section shows."""
    x_um, y_um = transformed(tsv, pixel)
    return Point(*transformed(tvr, (x_um, y_um, section_number * thickness_um)))


def nearest(numbers: Sequence[int], position: float) -> int:
    """Return the number in an ascending, non-empty sequence that is nearest.

    Of two that are equally near, the lower one.
    """
    place = bisect.bisect_left(numbers, position)
    around = numbers[max(0, place - 1) : place + 1]
    return min(around, key=lambda number: (abs(number - position), number))


def usual_gap(numbers: Sequence[int]) -> float:
    """Return the median distance between neighbours in an ascending sequence."""
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    return statistics.median(gaps) if gaps else 0.0


class Square(NamedTuple):
    """A region of an image: a corner on its slide, a size in the tier `downsample`.

    The corner is in full-resolution pixels, and a multiple of 2^downsample.
    """

    downsample: int
    left_px: int
    top_px: int
    width_px: int
    height_px: int


def square(
    side_um: float,
    resolution_um: float,
    centre_px: tuple[float, float],
    image_px: tuple[int, int],
    corner_px: tuple[int, int],
) -> Square:
    """Return a square region around a point of an image.

    It is shifted, not cut, to stay inside the image; one that is larger than the image
    ends at its edges. The tier is the finest one with at most 2000 pixels on a side.

    Parameters
    ----------
    resolution_um : float
        Micrometres per pixel at full resolution.
    centre_px, image_px : tuple
        The point, from the image's own corner; its width and height.
    corner_px : tuple of int
        Left and top of the image on its slide.
    """
    side_px = min(side_um / resolution_um, sys.float_info.max)
    downsample = max(0, math.ceil(math.log2(side_px / (_MAX_SIDE_PX + 0.5))))
    tier_px = max(1, round(side_px / 2**downsample))
    (left_px, width_px), (top_px, height_px) = (
        _span(tier_px, 2**downsample, *axis)
        for axis in zip(centre_px, image_px, corner_px, strict=True)
    )
    return Square(downsample, left_px, top_px, width_px, height_px)


def _span(
    tier_px: int, step_px: int, centre_px: float, image_px: int, corner_px: int
) -> tuple[int, int]:
    """Return start (full resolution) and length (tier) of a region on one axis."""
    first = -(-corner_px // step_px)
    last = (corner_px + image_px) // step_px
    length = max(1, min(tier_px, last - first))
    start = round((corner_px + centre_px) / step_px - length / 2)
    return max(first, min(start, last - length)) * step_px, length
