"""Outlines of a mouse brain section, drawn by hand: data for `anatomy`.

Coordinates are hundredths of the section's height: a sagittal section is 193 wide
(anterior to the left), half a coronal one 70 (its midline at x = 70). Nothing here
is traced from an atlas; it only has to look like one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Region:
    """A kind of tissue: how it takes a stain, and its colour in an atlas drawing."""

    name: str
    #: 0 to 1: how dark a Nissl stain makes it
    nissl: float
    #: red, green, blue in an atlas drawing
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Blob:
    """An ellipse of one region: centre, radii, and a turn in degrees."""

    region: str
    x: float
    y: float
    radius_x: float
    radius_y: float
    turn_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class Area:
    """A closed, smoothed outline filled with one region."""

    region: str
    points: Points


@dataclass(frozen=True, slots=True)
class Stroke:
    """A smoothed line of one region: cell layers and fibre tracts."""

    region: str
    width: float
    points: Points


@dataclass(frozen=True, slots=True)
class Ribbon:
    """Layers between two lines that run side by side: the cortex.

    `layers` are regions with the depth, 0 (outer line) to 1, at which each one ends.
    """

    outer: Points
    inner: Points
    layers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Lobes:
    """A leafed disc, its layers following the leaves: the cerebellum."""

    x: float
    y: float
    radius: float
    leaves: int


Shape = Blob | Area | Stroke | Ribbon | Lobes

REGIONS: Final = (
    Region("glass", 0.0, (0, 0, 0)),
    Region("cortex 1", 0.16, (0x9C, 0xE8, 0x8A)),
    Region("cortex 2/3", 0.66, (0x70, 0xFF, 0x71)),
    Region("cortex 4", 0.80, (0x4F, 0xDB, 0x6B)),
    Region("cortex 5", 0.50, (0x36, 0xC4, 0x5E)),
    Region("cortex 6", 0.62, (0x22, 0xA8, 0x55)),
    Region("olfactory", 0.42, (0x9A, 0xD2, 0xBD)),
    Region("olfactory granule", 0.86, (0x7F, 0xB8, 0xA8)),
    Region("mitral", 0.98, (0x66, 0xA0, 0x94)),
    Region("hippocampus", 0.24, (0x7E, 0xD0, 0x4B)),
    Region("pyramidal layer", 1.0, (0x66, 0xA8, 0x3D)),
    Region("dentate gyrus", 1.0, (0x4C, 0x8F, 0x30)),
    Region("subplate", 0.55, (0x8A, 0xDA, 0x87)),
    Region("striatum", 0.52, (0x98, 0xD6, 0xF9)),
    Region("accumbens", 0.58, (0x80, 0xCD, 0xF8)),
    Region("pallidum", 0.34, (0x85, 0x99, 0xCC)),
    Region("septum", 0.56, (0x90, 0xCB, 0xED)),
    Region("thalamus", 0.58, (0xFF, 0x70, 0x80)),
    Region("habenula", 0.85, (0xFF, 0x90, 0x9F)),
    Region("hypothalamus", 0.48, (0xE6, 0x44, 0x38)),
    Region("midbrain", 0.42, (0xFF, 0x64, 0xFF)),
    Region("colliculus", 0.56, (0xFF, 0x7A, 0xFF)),
    Region("pons", 0.44, (0xFF, 0x9B, 0x88)),
    Region("medulla", 0.40, (0xFF, 0x9B, 0xCD)),
    Region("molecular layer", 0.16, (0xFF, 0xFC, 0x91)),
    Region("granular layer", 0.98, (0xEC, 0xE7, 0x54)),
    Region("deep nuclei", 0.5, (0xF0, 0xF0, 0x80)),
    Region("fibre tracts", 0.10, (0xCC, 0xCC, 0xCC)),
    Region("brain stem", 0.36, (0xF2, 0x7F, 0xC0)),
    # of a tumor, outermost first
    Region("leading edge", 0.22, (0x21, 0x5B, 0xE0)),
    Region("infiltrating tumor", 0.46, (0x8E, 0x2E, 0xC8)),
    Region("cellular tumor", 0.80, (0x2F, 0xB3, 0x42)),
    Region("perinecrotic zone", 0.66, (0x38, 0xC6, 0xD8)),
    Region("necrosis", 0.10, (0x2A, 0x2A, 0x2A)),
    Region("microvascular proliferation", 0.95, (0xE2, 0x35, 0x2C)),
    Region("pseudopalisading cells", 1.0, (0xF4, 0xA8, 0x1D)),
)

_CORTEX_LAYERS: Final = (
    ("cortex 1", 0.10),
    ("cortex 2/3", 0.36),
    ("cortex 4", 0.47),
    ("cortex 5", 0.72),
    ("cortex 6", 1.0),
)
# fmt: off
SAGITTAL: Final[tuple[Shape, ...]] = (
    Lobes(159, 45, 22.5, 12),
    Area("brain stem", (
        (38, 60), (50, 44), (70, 35), (95, 31), (118, 36), (132, 40), (142, 46),
        (152, 58), (166, 65), (183, 69), (185, 80), (168, 85), (150, 86), (135, 88),
        (120, 86), (106, 83), (92, 85), (76, 82), (60, 79), (46, 73))),
    Blob("medulla", 162, 76, 24, 9, 3),
    Blob("pons", 132, 79, 15, 8.5, 4),
    Blob("midbrain", 126, 60, 16, 14, 12),
    Blob("colliculus", 143, 47, 8, 8),
    Blob("colliculus", 131, 41, 9, 6, 12),
    Blob("hypothalamus", 94, 74, 16, 9.5, -4),
    Blob("thalamus", 102, 57, 17, 11.5, -8),
    Blob("habenula", 113, 51.5, 3, 2.2),
    Blob("pallidum", 82, 61, 9, 8, 30),
    Blob("striatum", 67, 52, 16, 13, -18),
    Blob("accumbens", 57, 65, 9, 7, -20),
    Stroke("olfactory", 6, ((46, 74), (56, 77.5), (66, 79), (75, 79))),
    Blob("olfactory", 38, 62, 10, 9.5, 10),
    Blob("olfactory", 20, 57, 17, 14, -8),
    Blob("fibre tracts", 20.5, 57, 13.4, 10.6, -8),
    Blob("mitral", 20.8, 57, 12.0, 9.3, -8),
    Blob("olfactory", 20.9, 57, 11.2, 8.5, -8),
    Blob("olfactory granule", 21.5, 57, 9.4, 6.8, -8),
    Blob("fibre tracts", 23, 57.2, 5, 1.7, 4),
    Stroke("fibre tracts", 1.8, ((26, 57.5), (36, 60), (46, 62), (55, 59))),
    Ribbon(
        ((39, 66), (36, 54), (40, 41), (52, 29), (69, 20.5), (88, 16), (106, 15.5),
         (120, 19), (129, 26), (131, 36)),
        ((49, 63), (47.5, 55), (51, 47), (60, 40), (74, 35), (88, 33), (102, 32.5),
         (113, 34.5), (120, 37.5), (123, 42)),
        _CORTEX_LAYERS),
    Stroke("fibre tracts", 3.0, (
        (53, 52), (61, 42.5), (74, 37), (88, 34.8), (102, 34.3), (114, 37), (121, 43))),
    Area("hippocampus", (
        (81, 40), (87, 36.5), (97, 35), (109, 36.5), (118, 42), (123, 51), (121, 60),
        (116, 61), (114, 53), (106, 48.5), (94, 46.5), (85, 44))),
    Stroke("pyramidal layer", 1.5, (
        (83, 40.6), (90, 38.2), (101, 37.6), (111, 41), (117.5, 48.5), (118.5, 57))),
    Stroke("dentate gyrus", 1.7, (
        (87.5, 43.6), (95, 40.9), (103, 41.6), (109.5, 47), (104, 46.6), (95, 45))),
    Stroke("fibre tracts", 2.0, ((84, 47), (86, 52), (84, 60), (88, 68))),
    Stroke("fibre tracts", 2.4, ((92, 69), (100, 70), (110, 72), (120, 74))),
    Stroke("fibre tracts", 1.6, ((112, 63), (122, 52), (134, 48))),
    Stroke("fibre tracts", 2.2, ((118, 84), (132, 84), (148, 82), (168, 81))),
    Blob("glass", 151, 58.5, 5.5, 0.8, 38),
)
CORONAL: Final[tuple[Shape, ...]] = (
    Area("brain stem", (
        (71, 27), (54, 26), (38, 35), (29, 53), (29, 69), (36, 81), (46, 86), (58, 90),
        (65, 93), (71, 93))),
    Blob("hypothalamus", 63, 79, 10, 13, 6),
    Blob("thalamus", 58, 57, 13.5, 11.5, -8),
    Blob("habenula", 67.2, 47.6, 2.7, 2.2),
    Blob("pallidum", 45, 65, 4, 6.5, 14),
    Blob("striatum", 38.5, 59, 5.2, 10.5, 8),
    Blob("subplate", 37.5, 76, 7.5, 7.5),
    Blob("accumbens", 47, 80, 5, 5),
    Stroke("fibre tracts", 2.6, ((41, 43), (43.5, 52), (45.5, 61), (50, 70), (52, 76))),
    Stroke("fibre tracts", 1.6, ((66.5, 80), (66, 72), (67, 66))),
    Ribbon(
        ((69.4, 15), (62, 10.5), (52, 11.5), (40, 16), (29, 25), (20, 37), (15, 51),
         (14.5, 64), (19, 76), (27, 84.5), (37, 88)),
        ((67.5, 29), (62, 27.5), (54, 27), (45, 30), (38, 36), (33, 44), (30, 53),
         (28.5, 62), (29, 69), (32, 75.5), (38, 80)),
        _CORTEX_LAYERS),
    Stroke("fibre tracts", 2.8, (
        (71, 29.6), (63, 29), (54, 28.6), (45.5, 31.6), (39, 37.5), (34.6, 45),
        (32, 54), (30.8, 62))),
    Area("hippocampus", (
        (68, 32.5), (59, 31), (49, 33), (42, 38), (37.6, 46), (37.2, 54), (40.5, 54),
        (45, 47.5), (53, 45.5), (62, 46), (68, 43.5))),
    Stroke("pyramidal layer", 1.3, (
        (67.5, 34.8), (59, 33.7), (50, 35.6), (43.4, 41), (40, 47.5), (39, 51))),
    Stroke("dentate gyrus", 1.5, (
        (65, 44), (57, 44), (50.2, 43.2), (53, 40), (59, 38.8), (66, 38.8))),
    Blob("glass", 70, 62, 0.55, 11.5),
    Blob("glass", 70, 84, 0.8, 8),
    Blob("glass", 36.2, 51.5, 0.9, 6.5, 14),
    Blob("glass", 62, 47.2, 4.6, 0.5, -4),
)
# fmt: on
