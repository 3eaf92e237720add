"""The drawing of an atlas plate as SVG: outlines of structures over its photograph.

The outlines are those of the picture, turned, shrunk and bent alike.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from allenfs.sample.anatomy import placed
from allenfs.sample.experiments import ATLASES, PLATE_SETS
from allenfs.sample.outlines import outlines_of, ribbon_part
from allenfs.sample.parcels import ADULT_ATLASES
from allenfs.sample.shapes import CORONAL, SAGITTAL, Ribbon
from allenfs.sample.structures import STRUCTURES

if TYPE_CHECKING:
    from allenfs.sample.data_sets import Plane
    from allenfs.sample.outlines import Polygon
    from allenfs.sample.records import ImageRecord
    from allenfs.sample.shapes import Shape

#: what a region is called; glass, which is no structure, is left out
_ACRONYMS: Final = {
    "olfactory granule": "MOBgr",
    "mitral": "MOBmi",
    "hippocampus": "HIP",
    "pyramidal layer": "CA1sp",
    "dentate gyrus": "DG-sg",
    "subplate": "BLA",
    "striatum": "CP",
    "accumbens": "ACB",
    "pallidum": "GPe",
    "thalamus": "TH",
    "habenula": "MH",
    "hypothalamus": "HY",
    "midbrain": "MB",
    "pons": "P",
    "medulla": "MY",
    "molecular layer": "CBXmo",
    "granular layer": "CBXgr",
    "fibre tracts": "fiber tracts",
    "brain stem": "grey",
}
#: regions that are several structures: each up to an x in the drawing's unit
_BY_PLACE: Final = {
    "olfactory": ((30, "MOB"), (45, "AON"), (197, "PIR")),
    "colliculus": ((137, "SCs"), (197, "IC")),
}
#: areas of the cortex along its ribbon, each up to a control point of the ribbon
_AREAS: Final[dict[Plane, tuple[tuple[str, float], ...]]] = {
    "sagittal": (
        ("MOs", 2.6), ("MOp", 4.0), ("SSp", 5.9), ("VISp", 7.3), ("RSPd", 9.0),
    ),
    "coronal": (
        ("ACAd", 0.7), ("RSPd", 1.4), ("VISp", 3.0), ("SSp", 4.6), ("MOp", 5.8),
        ("MOs", 7.5), ("PIR", 10.0),
    ),
}  # fmt: skip
_LAYERS: Final = {
    "cortex 1": "1",
    "cortex 2/3": "2/3",
    "cortex 4": "4",
    "cortex 5": "5",
    "cortex 6": "6a",
}
#: the middle of a coronal drawing, in its unit
_MIDLINE: Final = 70.0
#: one of so many points of an outline is written down, and every corner
_STEP: Final = 3
_CORNER_COS: Final = 0.7
#: from the id of an image to that of its drawing: recorded for plate 100960224
_GROUP_OFFSET: Final = 182_623_213 - 100_960_224
_RECORDED_GROUP: Final = 28
#: ids of paths follow that of their group: the next group begins further on
_IDS_OF_GROUP: Final = 1000


class _Outline(NamedTuple):
    acronym: str
    polygon: Polygon


def drawing_of(record: ImageRecord, groups: frozenset[int], downsample: int) -> bytes:
    """Return the drawings of some groups as SVG, empty if the image has none of them.

    As recorded, width and height are rounded down, and the drawing keeps its
    full-resolution coordinates below one scale.
    """
    width_px, height_px = (
        max(1, size_px >> downsample) for size_px in (record.width_px, record.height_px)
    )
    drawn = "".join(
        _group(record, atlas, label, name)
        for atlas, label, name in _drawings(record)
        if label in groups
    )
    return (
        f'<svg width="{width_px}" height="{height_px}"'
        f' xmlns="http://www.w3.org/2000/svg">'
        f'<g transform="scale({0.5**downsample})">{drawn}</g></svg>'
    ).encode()


def _drawings(record: ImageRecord) -> Iterator[tuple[int, int, str]]:
    """Yield atlas, group and the group's name of each drawing of an image."""
    plates = PLATE_SETS.get(record.data_set_id)
    if plates is None or record.image_id in plates.not_annotated:
        return
    for atlas, _, image_type, _, label in ATLASES:
        if atlas in plates.atlases:
            yield atlas, label, image_type


@functools.lru_cache(maxsize=8)
def _group(record: ImageRecord, atlas_id: int, label: int, name: str) -> str:
    group_id = record.image_id + _GROUP_OFFSET
    group_id += (label - _RECORDED_GROUP) * _IDS_OF_GROUP
    outlines = _outlines(record.plane, has_layers=atlas_id in ADULT_ATLASES)
    paths = [
        _path(
            group_id, order, outline.acronym, placed(record, _thinned(outline.polygon))
        )
        for order, outline in enumerate(outlines, start=1)
    ]
    return (
        f'<g id="{group_id}" order="1" parent_id="" graphic_group_label_id="{label}"'
        f' graphic_group_label="{name}" sub_image_id="{record.image_id}"'
        f' transform=" scale(1.0, 1.0)">{"".join(paths)}</g>'
    )


def _path(group_id: int, order: int, acronym: str, pixels: Polygon) -> str:
    structure = STRUCTURES[acronym]
    points = "L".join(f"{x:.0f},{y:.0f}" for x, y in pixels)
    return (
        f'<path id="{group_id + order}" parent_id="{group_id}" order="{order}"'
        f' structure_id="{structure.structure_id}"'
        f' style="stroke:black;fill:#{structure.color.lower()}" d="M{points}Z"/>'
    )


def _thinned(polygon: Polygon) -> Polygon:
    """Return a polygon with fewer points along its smooth sides."""
    to_next = np.roll(polygon, -1, axis=0) - polygon
    to_next /= np.maximum(np.hypot(to_next[:, 0], to_next[:, 1]), 1e-9)[:, None]
    straight = np.sum(to_next * np.roll(to_next, 1, axis=0), axis=1)
    every = np.arange(len(polygon)) % _STEP == 0
    thinned: Polygon = polygon[every | (straight < _CORNER_COS)]
    return thinned


def _outlines(plane: Plane, *, has_layers: bool) -> Iterator[_Outline]:
    """Yield the outlines of a plane, of both hemispheres, the lowest first."""
    if plane == "sagittal":
        for shape in SAGITTAL:
            yield from _of_shape(shape, plane, has_layers=has_layers)
        return
    for shape in CORONAL:
        for outline in _of_shape(shape, plane, has_layers=has_layers):
            yield outline
            mirrored = outline.polygon * (-1, 1) + (2 * _MIDLINE, 0)
            yield _Outline(outline.acronym, mirrored)


def _of_shape(shape: Shape, plane: Plane, *, has_layers: bool) -> Iterator[_Outline]:
    if isinstance(shape, Ribbon):
        yield from _of_cortex(shape, plane, has_layers=has_layers)
        return
    for region, polygon in outlines_of(shape):
        places = _BY_PLACE.get(region)
        if places is not None:
            across = float(np.mean(polygon[:, 0]))
            acronym = next(name for last, name in places if across <= last)
            yield _Outline(acronym, polygon)
        elif region in _ACRONYMS:
            yield _Outline(_ACRONYMS[region], polygon)


def _of_cortex(ribbon: Ribbon, plane: Plane, *, has_layers: bool) -> Iterator[_Outline]:
    """Yield the areas of the cortex, in layers where the ontology here has them."""
    if not has_layers:
        yield _Outline("Isocortex", ribbon_part(ribbon, (0, 1)))
        return
    depths = [0.0, *(stop for _, stop in ribbon.layers)]
    first = 0.0
    for area, last in _AREAS[plane]:
        knots = (first, last)
        yield _Outline(area, ribbon_part(ribbon, (0, 1), knots))
        for (region, _), between in zip(ribbon.layers, pairwise(depths), strict=True):
            acronym = area + _LAYERS[region]
            if acronym in STRUCTURES:
                yield _Outline(acronym, ribbon_part(ribbon, between, knots))
        first = last
