"""The affine maps from the reference spaces to the images, computed from the records.

A point (p, i, r), in um, lies in the volume of a data set at
v = A3 (p, i, r, 1), in the section with the number v_z / thickness, and there
at (x, y) = A2 (v_x, v_y, 1), in full-resolution pixels from the image's own corner.
Recorded answers of the service agree with this to 0.001 px (alignments published in the
tests of BlueBrain's Atlas-Download-Tools). Here A2 undoes what `frame` does to an
image, so that a structure's centre lies in what is drawn of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from allenfs.sample.centers import CENTERS, SPACE_WIDTH_UM
from allenfs.sample.frame import image_from_drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allenfs.sample.data_sets import Plane
    from allenfs.sample.frame import Matrix
    from allenfs.sample.records import ImageRecord

#: from the drawing's unit to um of a reference space, its brain about 13 mm long
#: (sagittal: p and i, turned by 9 degrees) and 9 mm wide (coronal: r and i)
SPACE_FROM_DRAWING: Final[dict[Plane, Matrix]] = {
    "sagittal": np.array([[69, 11, -460], [-12.9, 81.3, 608], [0, 0, 1]], np.float64),
    "coronal": np.array([[84, 0, -180], [0, 76, -532], [0, 0, 1]], np.float64),
}
#: p, i and r as they lie in a section: along its width, its height, and across it
_AXES: Final[dict[Plane, tuple[int, int, int]]] = {
    "sagittal": (0, 1, 2),
    "coronal": (2, 1, 0),
}
#: um of a volume per um of the space, across the sections: numbers of coronal
#: sections go up from the back to the front, of sagittal ones to the midline
_ACROSS: Final[dict[Plane, float]] = {"sagittal": 0.95, "coronal": -0.95}
#: a volume begins this far outside the drawing, in um, as recorded ones do
_MARGIN_UM: Final = (1000.0, 1600.0)
#: the plane of sections is not quite that of the space
_MAX_SLOPE: Final = 0.015
#: the dentate gyrus lies this far beyond the middle of a section, in thicknesses
_BEYOND: Final = 0.3

Coefficients = dict[str, float]


def volume_from_drawing(records: Sequence[ImageRecord]) -> Matrix:
    """Return the 3 x 3 matrix from the drawing's unit to um of a data set's volume.

    `records` are all images of the data set: the scale is the mean of theirs.
    """
    scales = [math.hypot(*image_from_drawing(each)[:2, 0]) for each in records]
    um = float(np.mean(scales)) * records[0].resolution_um
    left_um, top_um = _MARGIN_UM
    return np.array([[um, 0, left_um], [0, um, top_um], [0, 0, 1]])


def image_from_volume(record: ImageRecord, volume: Matrix) -> Matrix:
    """Return the 3 x 3 matrix from um of the volume to an image's pixels.

    `volume` is what `volume_from_drawing` returns for its data set.
    """
    matrix: Matrix = image_from_drawing(record) @ np.linalg.inv(volume)
    return matrix


def volume_from_space(
    record: ImageRecord, volume: Matrix, thickness_um: float, dentate_section: int
) -> Matrix:
    """Return the 4 x 4 matrix from a reference space to a data set's volume, in um.

    `record` is any image of the data set, `volume` as above. The centre of the
    dentate gyrus lies in the section of that number.
    """
    plane = record.plane
    across, down, through = _AXES[plane]
    within = volume @ np.linalg.inv(SPACE_FROM_DRAWING[plane])
    matrix = np.zeros((4, 4))
    for row in (0, 1):
        matrix[row, [across, down, 3]] = within[row]
    random = np.random.default_rng(record.data_set_id)
    matrix[2, [across, down]] = random.uniform(-_MAX_SLOPE, _MAX_SLOPE, 2)
    matrix[2, through] = _ACROSS[plane]
    matrix[3, 3] = 1
    _, p_um, i_um, r_um = CENTERS["DG"]
    dentate = (p_um, i_um, r_um if plane == "coronal" else SPACE_WIDTH_UM - r_um)
    v_um = (dentate_section + _BEYOND) * thickness_um
    matrix[2, 3] = v_um - matrix[2, :3] @ dentate
    return matrix


def coefficients3d(matrix: Matrix) -> Coefficients:
    """Return the fields `trv_00` to `trv_11`, and `tvr_` of the inverse.

    Nine coefficients by row, then the translation.
    """
    return {**_named3d("trv", matrix), **_named3d("tvr", _inverse(matrix))}


def coefficients2d(matrix: Matrix) -> Coefficients:
    """Return the fields `tvs_00` to `tvs_05`, and `tsv_` of the inverse.

    Four coefficients by row, then the translation.
    """
    return {**_named2d("tvs", matrix), **_named2d("tsv", _inverse(matrix))}


def _inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(matrix).astype(np.float64)


def _named3d(name: str, matrix: Matrix) -> Coefficients:
    return _named(name, [*matrix[:3, :3].flat, *matrix[:3, 3]])


def _named2d(name: str, matrix: Matrix) -> Coefficients:
    return _named(name, [*matrix[:2, :2].flat, *matrix[:2, 2]])


def _named(name: str, values: list[float]) -> Coefficients:
    """Return numbered values with six significant digits, as recorded."""
    return {
        f"{name}_{place:02}": float(f"{value:.6g}") + 0.0  # no negative zero
        for place, value in enumerate(values)
    }
