"""A folder for the QUINT tools: names with section numbers, and QuickNII's JSON.

Sources:

- DeepSlice (``coord_post_processing/spacing_and_indexing.py``) looks for ``_s`` and
  digits in a name, and rejects a name with none or two. QuickNII, VisuAlign and Nutil
  use the same names.
- `series.json` has the keys that DeepSlice (``read_and_write/QuickNII_functions.py``)
  and ABBA read: of a slice `filename`, `nr`, `width` and `height` in pixels of that
  very file, and `anchoring`.
- The anchoring is the place of a section in the voxels of the target, the Allen CCFv3
  at 25 um: the top left corner o of the image, and its edges u (to the right) and v
  (down), as ``ox, oy, oz, ux, uy, uz, vx, vy, vz``. QuickNII's axes are x from left to
  right, y from posterior to anterior, z from inferior to superior. That is ABBA's
  matrix: AP = 13.2 - 0.025 y, DV = 8 - 0.025 z, LR = 0.025 x, in millimetres.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allenfs.model.geometry import reference_point
from allenfs.model.rows import coefficients_3d, positive, record_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allenfs.model.geometry import Point
    from allenfs.model.records import Collection, SectionImage

SERIES_FILE = "series.json"
_TARGET, _TARGET_VOXELS = "ABA_Mouse_CCFv3_2017_25um.cutlas", (456, 528, 320)
_VOXEL_UM = 25.0
# The extent of the target along p and i, where its axes end.
_LENGTH_UM, _HEIGHT_UM = 13_200.0, 8000.0
# The adult mouse: 9 is P56, 10 the same mirrored.
_SPACES = (9, 10)
# 0.025 nm: more than the six digits of the coefficients
_DECIMALS = 6


def file_name(image: SectionImage) -> str:
    """Return ``NNNN_IMAGEID_sNNN.jpg``; the number is that of the section."""
    stem = image.file_name.removesuffix(".jpg")
    return f"{stem}_s{image.section_number or 0:03d}.jpg"


def series(
    name: str, collection: Collection, images: Iterable[SectionImage], downsample: int
) -> dict[str, Any]:
    """Return QuickNII's JSON of some images of a data set, in the tier `downsample`.

    A slice has no `anchoring` if the data set or the image has no alignment to the
    adult mouse brain, and no `width` and `height` if the record has none.
    """
    return {
        "name": name,
        "target": _TARGET,
        "target-resolution": list(_TARGET_VOXELS),
        "slices": [_slice(collection, image, downsample) for image in images],
    }


def _slice(
    collection: Collection, image: SectionImage, downsample: int
) -> dict[str, Any]:
    found: dict[str, Any] = {"filename": file_name(image), "nr": image.section_number}
    if image.width_px and image.height_px:
        found["width"] = max(image.width_px >> downsample, 1)
        found["height"] = max(image.height_px >> downsample, 1)
    place = anchoring(collection, image)
    return found if place is None else found | {"anchoring": place}


def anchoring(collection: Collection, image: SectionImage) -> list[float] | None:
    """Return o, u and v of an image in voxels of the target; None without alignment.

    The edges are those of the full resolution, and so the same in every tier.
    """
    record = collection.record
    tvr, tsv = coefficients_3d(record, "tvr"), image.tsv
    thickness_um = positive(record.get("section_thickness"))
    number, width_px, height_px = image.section_number, image.width_px, image.height_px
    if record_id(record, "reference_space_id") not in _SPACES:
        return None
    if tvr is None or tsv is None or thickness_um is None or number is None:
        return None
    if not (width_px and height_px):
        return None
    corner, right, bottom = (
        _voxel(reference_point(tvr, tsv, pixel, number, thickness_um))
        for pixel in ((0, 0), (width_px, 0), (0, height_px))
    )
    edges = (
        end - start
        for place in (right, bottom)
        for end, start in zip(place, corner, strict=True)
    )
    return [round(one, _DECIMALS) for one in (*corner, *edges)]


def _voxel(point: Point) -> tuple[float, float, float]:
    return (
        point.r_um / _VOXEL_UM,
        (_LENGTH_UM - point.p_um) / _VOXEL_UM,
        (_HEIGHT_UM - point.i_um) / _VOXEL_UM,
    )
