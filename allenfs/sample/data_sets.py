"""The data sets named in the documentation: plain data, nothing is computed.

Every image id of the Allen Institute's page "Downloading an Image" is here. What the
page or a recorded response says about an image is kept exactly (marked *recorded*);
everything else, especially the neighbouring sections, is invented to look plausible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["section", "atlas"]
Style = Literal["nissl", "ish", "connectivity", "glioblastoma"]
Plane = Literal["coronal", "sagittal"]


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide with several images; its size in full-resolution pixels.

    The left and top of each image are its place on the slide.
    """

    width_px: int
    height_px: int
    image_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Properties shared by the images of one experiment or atlas."""

    data_set_id: int
    kind: Kind
    style: Style
    plane: Plane
    resolution_um: float
    title: str
    #: image id, section number, width, height, left, top (full-resolution pixels)
    images: tuple[tuple[int, int, int, int, int, int], ...]
    #: the other images have a slide to themselves
    slides: tuple[Slide, ...] = ()


DOCUMENTED: tuple[DataSet, ...] = (
    DataSet(
        69782969,  # recorded, with 69750516: section 78, 14065 x 7297, 1.049 um
        "section",
        "ish",
        "sagittal",
        1.049,
        "Mouse Brain, Pdyn",
        (
            (69750508, 62, 14081, 7425, 0, 0),
            (69750512, 70, 14065, 7345, 0, 0),
            (69750516, 78, 14065, 7297, 0, 0),
            (69750520, 86, 13969, 7249, 0, 0),
            (69750524, 94, 13857, 7185, 0, 0),
        ),
    ),
    DataSet(
        71587929,
        "section",
        "ish",
        "coronal",
        1.049,
        "Mouse Brain, Calb1",
        (
            (71592257, 187, 11377, 7953, 0, 0),
            (71592261, 195, 11409, 7985, 0, 0),
            (71592265, 203, 11425, 8033, 0, 0),
        ),
    ),
    DataSet(
        71587930,  # recorded: 71592412 is the NISSL image closest to 71592261
        "section",
        "nissl",
        "coronal",
        1.049,
        "Mouse Brain, Nissl",
        (
            (71592408, 188, 11361, 7937, 0, 0),
            (71592412, 196, 11393, 8001, 0, 0),
            (71592416, 204, 11425, 8049, 0, 0),
        ),
    ),
    DataSet(
        70813257,  # recorded: sagittal, Adora2a
        "section",
        "ish",
        "sagittal",
        1.049,
        "Mouse Brain, Adora2a",
        (
            (70679080, 45, 13185, 7121, 0, 0),
            (70679084, 53, 13409, 7201, 0, 0),
            (70679088, 61, 13585, 7249, 0, 0),
            (70679092, 69, 13681, 7281, 0, 0),
            (70679096, 77, 13729, 7297, 0, 0),
        ),
    ),
    DataSet(
        123,  # recorded, with 101945191: section 171, 8992 x 4936, 1.63 um
        "section",
        "ish",
        "sagittal",
        1.63,
        "Mouse Brain, Crh",
        (
            (101945187, 163, 8992, 4936, 0, 0),
            (101945191, 171, 8992, 4936, 0, 0),
        ),
    ),
    DataSet(
        100055044,  # recorded: ten of its 16 sections, on three of its six slides
        "section",
        "ish",
        "sagittal",
        1.049,
        "Mouse Brain, Npy",
        (
            (101082293, 5, 9072, 6384, 5120, 30368),
            (101082294, 13, 9504, 7232, 4448, 20560),
            (101082296, 29, 10304, 6992, 4800, 1600),
            (101082286, 45, 10992, 7296, 3248, 20688),
            (101082287, 53, 11184, 7968, 3744, 10560),
            (101082288, 61, 11376, 7504, 2976, 1216),
            (101082289, 133, 14976, 8048, 0, 30176),
            (101082290, 141, 15120, 7824, 48, 21072),
            (101082291, 149, 15008, 8640, 0, 11120),
            (101082292, 157, 14752, 7664, 608, 1168),
        ),
        (
            Slide(19136, 38208, (101082293, 101082294, 101082296)),
            Slide(19200, 38272, (101082286, 101082287, 101082288)),
            Slide(19152, 38240, (101082289, 101082290, 101082291, 101082292)),
        ),
    ),
    DataSet(
        126862385,  # recorded: a region of 126862575 begins at 19045, 11684
        "section",
        "connectivity",
        "coronal",
        0.35,
        "Mouse Connectivity Projection, VISp",
        (
            (126862575, 71, 30720, 21504, 0, 0),
            (126862579, 72, 30720, 21504, 0, 0),
            (126862583, 73, 30720, 21504, 0, 0),
        ),
    ),
    DataSet(
        100141599,  # recorded, with 102146167; equalization 0,923,0,987,0,4095
        "section",
        "connectivity",
        "coronal",
        0.35,
        "Mouse Connectivity Projection, MOp",
        (
            (102146163, 60, 29696, 20480, 0, 0),
            (102146167, 61, 29696, 20480, 0, 0),
            (102146171, 62, 29696, 20480, 0, 0),
        ),
    ),
    DataSet(
        297225422,
        "section",
        "connectivity",
        "coronal",
        0.35,
        "Mouse Connectivity Projection, SSp",
        (
            (297225712, 67, 30208, 20992, 0, 0),
            (297225716, 68, 30208, 20992, 0, 0),
        ),
    ),
    DataSet(
        311174541,
        "section",
        "glioblastoma",
        "coronal",
        0.5,
        "Glioblastoma, W1-1-2",
        (
            (311174543, 11, 17921, 14337, 0, 0),
            (311174547, 13, 18433, 14593, 0, 0),
            (311174551, 15, 18177, 14849, 0, 0),
        ),
    ),
    DataSet(
        311175872,
        "section",
        "glioblastoma",
        "coronal",
        0.5,
        "Glioblastoma, W5-1-1",
        (
            (311175874, 21, 16129, 13313, 0, 0),
            (311175878, 23, 16385, 13569, 0, 0),
            (311175882, 25, 16257, 13825, 0, 0),
        ),
    ),
    DataSet(
        100048575,  # recorded plate: 100883869, 15504 x 7824 at 3008, 30592
        "atlas",
        "nissl",
        "sagittal",
        1.047,
        "Mouse, P56, Sagittal",
        (
            (100883771, 2, 14192, 7152, 2880, 5216),
            (100883804, 8, 14928, 7488, 2944, 13632),
            (100883837, 14, 15312, 7696, 2976, 22080),
            (100883869, 20, 15504, 7824, 3008, 30592),
            (100883900, 21, 15520, 7856, 3040, 2240),
        ),
    ),
    DataSet(
        100048576,  # recorded plate: 100960224, 660 x 472 after 4 halvings
        "atlas",
        "nissl",
        "coronal",
        1.047,
        "Mouse, P56, Coronal",
        (
            (100960220, 268, 10544, 7536, 4192, 1184),
            (100960224, 272, 10560, 7552, 4208, 11296),
            (100960228, 276, 10576, 7568, 4224, 21392),
        ),
    ),
)
