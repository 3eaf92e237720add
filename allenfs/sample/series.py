"""Data sets for testing queries: long, failed, out of order.

Ids are invented unless marked *recorded*; section images are made by rule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from allenfs.sample.data_sets import DataSet

if TYPE_CHECKING:
    from allenfs.sample.data_sets import Plane

_Images = tuple[tuple[int, int, int, int, int, int], ...]

#: full-resolution width and height, in steps of 16 pixels: ends and middle of a brain
_SIZES: Final = {
    "coronal": ((420, 350), (720, 510)),
    "sagittal": ((640, 400), (860, 460)),
}


def _images(
    plane: Plane,
    first_image_id: int,
    sections: range,
    *,
    stride: int = 1,
    scale: float = 1.0,
) -> _Images:
    """Return one image per section, with ids that go up by four, as recorded ones do.

    With a `stride` the images are stored in another order than the sections are in.
    """
    images = []
    for place in range(len(sections)):
        rank = place * stride % len(sections)
        across, down = _size(plane, (rank + 0.5) / len(sections))
        width_px, height_px = (16 * round(n * scale) + 1 for n in (across, down))
        image_id = first_image_id + 4 * place
        images.append((image_id, sections[rank], width_px, height_px, 0, 0))
    return tuple(images)


def _size(plane: Plane, along: float) -> tuple[float, float]:
    """Return the size of a section at a relative position along the brain, 0 to 1."""
    (end_across, end_down), (across, down) = _SIZES[plane]
    bulge = math.sin(math.pi * along) ** 0.5
    return (
        end_across + bulge * (across - end_across),
        end_down + bulge * (down - end_down),
    )


def _ish(
    data_set_id: int,
    plane: Plane,
    title: str,
    images: _Images,
    resolution_um: float = 1.049,
) -> DataSet:
    return DataSet(data_set_id, "section", "ish", plane, resolution_um, title, images)


#: the one of which a page of 50 rows shows only a part
LONG_DATA_SET_ID: Final = 72109410
#: the one whose images are not stored in section order
SHUFFLED_DATA_SET_ID: Final = 71670687

SERIES: Final[tuple[DataSet, ...]] = (
    _ish(
        SHUFFLED_DATA_SET_ID,
        "sagittal",
        "Mouse Brain, Adora2a",
        _images("sagittal", 71663104, range(21, 117, 8), stride=5),
    ),
    _ish(
        71064081,
        "sagittal",
        "Mouse Brain, Pdyn, sense",
        _images("sagittal", 71058301, range(62, 94, 8)),
    ),
    _ish(
        70634395,
        "sagittal",
        "Mouse Brain, Adora2a, failed",
        _images("sagittal", 70620116, range(47, 71, 8)),
    ),
    _ish(
        LONG_DATA_SET_ID,
        "coronal",
        "Mouse Brain, Adora2a",
        # half the size of a mouse brain: tests and the benchmark copy all 60
        _images("coronal", 72083105, range(20, 500, 8), scale=0.5),
    ),
    _ish(
        479,  # recorded, with 101349756: 4232 x 3864, 1.049 um
        "coronal",
        "Mouse Brain, H2-K1",
        (
            (101349752, 219, 4232, 3864, 0, 0),
            (101349756, 227, 4232, 3864, 0, 0),
            (101349760, 235, 4232, 3864, 0, 0),
        ),
    ),
    _ish(
        69289763,  # recorded: 18 images, in two products, sizes 8929 to 16049 wide
        "sagittal",
        "Developing Mouse Brain, Prox1",
        _images("sagittal", 69280110, range(30, 174, 8)),
    ),
    _ish(
        100076514,
        "sagittal",
        "Developing Mouse Brain, Adora2a",
        _images("sagittal", 100061205, range(18, 66, 8), scale=0.6),
        0.99,
    ),
    DataSet(
        100048577,
        "atlas",
        "ish",  # drawn so: brown cells, as an antibody against parvalbumin shows them
        "sagittal",
        1.047,
        "Mouse, P56, Sagittal, Parvalbumin",
        (
            (100884210, 9, 14960, 7504, 2944, 15136),
            (100884214, 15, 15344, 7712, 2976, 23584),
        ),
    ),
)
