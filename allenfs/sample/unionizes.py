"""How much of each structure lies in a data set, and how strongly it is expressed.

The figures are invented but fit together: a structure is a ball round its centre, cut
by the sections; parents are the sums of their children.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from allenfs.sample.centers import CENTERS, ONE_SPACE, SPACE_WIDTH_UM
from allenfs.sample.experiments import EXPERIMENTS, ISH, MOUSE
from allenfs.sample.stains import expression_level
from allenfs.sample.structures import STRUCTURES

if TYPE_CHECKING:
    from allenfs.sample.database import Database, Value
    from allenfs.sample.frame import Matrix
    from allenfs.sample.records import ImageRecord
    from allenfs.sample.structures import Structure

#: radius of a structure without children, in um, up to a level of the ontology
_RADII_UM: Final = ((5, 1000.0), (8, 600.0), (11, 400.0))
#: intensity, 0 to 255, of pixels that do not express; weakest and strongest of those
#: that do
_PALE, _WEAK, _STRONG = 6.0, 40.0, 220.0
#: the share of a structure's pixels that express at full level
_DENSEST: Final = 0.6
_DIGITS: Final = 6


@dataclass(slots=True)
class _Sums:
    """Sums over the pixels of one structure."""

    pixels: int = 0
    expressing: int = 0
    intensity: float = 0.0
    expressing_intensity: float = 0.0

    def add(self, other: _Sums) -> None:
        self.pixels += other.pixels
        self.expressing += other.expressing
        self.intensity += other.intensity
        self.expressing_intensity += other.expressing_intensity

    def fields(self) -> dict[str, Value]:
        density = self.expressing / self.pixels
        energy = self.expressing_intensity / self.pixels
        return {
            "expression_density": _rounded(density),
            "expression_energy": _rounded(energy),
            "sum_expressing_pixel_intensity": self.expressing_intensity,
            "sum_expressing_pixels": float(self.expressing),
            "sum_pixel_intensity": self.intensity,
            "sum_pixels": float(self.pixels),
            "voxel_energy_cv": _rounded(1.6 - density),
            "voxel_energy_mean": _rounded(energy),
        }


def add_unionizes(
    database: Database,
    spaces: Mapping[int, Matrix],
    records: Mapping[int, Sequence[ImageRecord]],
) -> None:
    """Add a row for each structure of which something lies in a data set's sections.

    `spaces` are the matrices from the reference space to the volume of each aligned
    data set, `records` its images. Only adult ISH experiments have rows.
    """
    for set_id, space in spaces.items():
        experiment = EXPERIMENTS[set_id]
        if MOUSE not in experiment.products or experiment.treatment != ISH:
            continue
        entry = database.get("SectionDataSet", set_id)
        thickness_um = entry.row["section_thickness"] if entry else None
        if not isinstance(thickness_um, float):
            continue
        sums = _sums(records[set_id], space, thickness_um)
        for structure_id, one in sums.items():
            database.add(
                "StructureUnionize",
                section_data_set_id=set_id,
                structure_id=structure_id,
                **one.fields(),
            )


def _sums(
    records: Sequence[ImageRecord], space: Matrix, thickness_um: float
) -> dict[int, _Sums]:
    """Return the sums of structures with any pixel, in the order of the ontology."""
    parents = {each.structure_id: each.parent_id for each in STRUCTURES.values()}
    leaves = parents.keys() - set(parents.values())
    sums = {structure_id: _Sums() for structure_id in parents}
    for acronym, structure in STRUCTURES.items():
        if structure.structure_id not in leaves or acronym not in CENTERS:
            continue
        pixels = _pixels(structure, records, space, thickness_um)
        if pixels:
            region = CENTERS[acronym].region
            level = expression_level(records[0].data_set_id, region)
            one = _of_leaf(pixels, level)
            above: int | None = structure.structure_id
            while above is not None:
                sums[above].add(one)
                above = parents[above]
    return {structure_id: one for structure_id, one in sums.items() if one.pixels}


def _pixels(
    structure: Structure,
    records: Sequence[ImageRecord],
    space: Matrix,
    thickness_um: float,
) -> int:
    """Return the full-resolution pixels of a ball round the structure's centre."""
    plane = records[0].plane
    _, p_um, i_um, r_um = CENTERS[structure.acronym]
    if plane == "sagittal":
        if structure.acronym in ONE_SPACE:
            return 0
        r_um = SPACE_WIDTH_UM - r_um
    row = space[2].tolist()
    v_um = row[0] * p_um + row[1] * i_um + row[2] * r_um + row[3]
    radius_um = next(um for level, um in _RADII_UM if structure.st_level <= level)
    sides = 2 if plane == "coronal" else 1
    area_um2 = 0.0
    for record in records:
        away_um = record.section_number * thickness_um - v_um
        area_um2 += sides * math.pi * max(0.0, radius_um**2 - away_um**2)
    return round(area_um2 / records[0].resolution_um ** 2)


def _of_leaf(pixels: int, level: float) -> _Sums:
    """Return the sums of a structure without children."""
    expressing = round(pixels * _DENSEST * level)
    expressing_intensity = round(expressing * (_WEAK + (_STRONG - _WEAK) * level))
    pale = round((pixels - expressing) * _PALE)
    return _Sums(
        pixels, expressing, float(expressing_intensity + pale), expressing_intensity
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
