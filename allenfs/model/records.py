"""Rows of the service as records: checked, typed, with units in their names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from allenfs.errors import PathNotFoundError
from allenfs.model.rows import (
    MAX_ID,
    Row,
    coefficients_2d,
    positive,
    record_id,
    rows_of,
    texts,
    whole,
)

if TYPE_CHECKING:
    from allenfs.model.parameters import Roi

_MAX_SIDE_PX = 10**7
_MAX_CHANNEL_VALUE = 65_535
_MAX_SECTION_NUMBER = 10**9
NISSL = "NISSL"
# Recorded ids; the first is preferred.
ORIENTATIONS = {2: "Antisense", 1: "Sense"}
# Recorded by BlueBrain's atldld from /data/PlaneOfSection/query.json.
PLANES = {
    1: "coronal",
    2: "sagittal",
    4: "variable",
    5: "n/a",
    6: "transverse",
    7: "Lateral to Medial",
    8: "Medial to Lateral",
    9: "Ventral to Dorsal",
    10: "Dorsal to Ventral",
    11: "Coronal (Caudal to Rostral)",
    531107579: "Coronal (Rostral to Caudal)",
    1082279372: "Tangential",
}


class SectionImage(NamedTuple):
    """One image of a data set, or one plate of an atlas.

    None means that the record has no value.

    Attributes
    ----------
    section_number : int or None
        None also if it cannot be in a name. 0 is valid: it was recorded in data set
        73817439.
    width_px, height_px : int
        At full resolution; 0 if the record does not say.
    resolution_um : float or None
        Micrometres per pixel at full resolution.
    failed : bool
        The institute's quality flag.
    annotated : bool
        Whether it has drawings.
    treatments : tuple of str
        Of a plate, such as ``NISSL``.
    x_px, y_px : int or None
        Left and top of the image on its slide, in full-resolution pixels.
    has_expression : bool or None
        Whether it has an expression mask.
    tvs, tsv : tuple of six float or None
        The affine map from the volume to pixels, and its inverse (``geometry.py``).
    tier_count : int or None
        Levels of its pyramid, 1 to 20.
    """

    image_id: int
    section_number: int | None
    width_px: int = 0
    height_px: int = 0
    resolution_um: float | None = None
    failed: bool = False
    annotated: bool = False
    treatments: tuple[str, ...] = ()
    x_px: int | None = None
    y_px: int | None = None
    has_expression: bool | None = None
    tvs: tuple[float, ...] | None = None
    tsv: tuple[float, ...] | None = None
    tier_count: int | None = None

    @property
    def file_name(self) -> str:
        """``NNNN_IMAGEID.jpg``: `ls` sorts it in section order."""
        return f"{self.section_number or 0:04d}_{self.image_id}.jpg"

    @property
    def corner_px(self) -> tuple[int, int] | None:
        """Left and top of the image on its slide, if its record has them."""
        if self.x_px is None or self.y_px is None:
            return None
        return self.x_px, self.y_px

    def has_region(self, roi: Roi | None) -> bool:
        """Whether a region measured from its own corner can be named by a path."""
        if self.corner_px is not None and roi is not None:
            with contextlib.suppress(PathNotFoundError):
                roi.moved(*self.corner_px)
                return True
        return False


@dataclass(frozen=True, slots=True)
class Collection:
    """The images of one data set or atlas, in section order, by their ids.

    `record` is the service's row, without the images.
    """

    record: Row
    images: dict[int, SectionImage]
    equalization: tuple[int, ...] | None = None
    treatments: tuple[str, ...] = ()


class ImageRecord(NamedTuple):
    """A SectionImage or an AtlasImage: the service's row, and what was read from it.

    A section has a `data_set_id`, a plate the ascending `atlas_ids` that may have
    drawings of it.
    """

    record: Row
    image: SectionImage
    data_set_id: int | None = None
    atlas_ids: tuple[int, ...] = ()


class Neighbour(NamedTuple):
    """The closest Nissl section, if there is one."""

    image_id: int | None


@dataclass(frozen=True, slots=True)
class DataSetIds:
    """Data sets, without failed ones: in ascending order, and by plane."""

    ids: tuple[int, ...]
    by_plane: dict[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.ids)


def row_count(record: object) -> int:
    """Return the number of rows in a list, or of images in a collection."""
    if isinstance(record, Collection):
        return len(record.images)
    if isinstance(record, Sized) and not isinstance(record, tuple):
        return len(record)
    return int(bool(record))


def plane_of(row: Row) -> str | None:
    """Return the name of a data set's plane of section."""
    names = texts(row.get("plane_of_section"), "name")
    if names:
        return names[0]
    plane_id = whole(row.get("plane_of_section_id"), 1, MAX_ID)
    return None if plane_id is None else PLANES.get(plane_id)


def orientation_of(row: Row) -> str | None:
    """Return ``Antisense`` or ``Sense`` of a data set's probes; None if unknown.

    ``Antisense`` if any probe is: a sense probe binds nothing, and is a control.
    """
    found: set[str | None] = set()
    for probe in rows_of(row.get("probes")):
        found.update(texts(probe.get("orientation"), "name"))
        found.add(ORIENTATIONS.get(record_id(probe, "orientation_id") or 0))
    return next((one for one in ORIENTATIONS.values() if one in found), None)


def image_of(row: Row) -> SectionImage | None:
    """Read a SectionImage or AtlasImage; None if it has no id."""
    image_id = record_id(row)
    if image_id is None:
        return None
    return SectionImage(
        image_id,
        _section_number(row),
        whole(row.get("width"), 1, _MAX_SIDE_PX) or 0,
        whole(row.get("height"), 1, _MAX_SIDE_PX) or 0,
        positive(row.get("resolution")),
        row.get("failed") is True,
        row.get("annotated") is True,
        texts(row.get("treatments"), "name"),
        whole(row.get("x"), 0, _MAX_SIDE_PX),
        whole(row.get("y"), 0, _MAX_SIDE_PX),
        bool(row["expression_path"]) if "expression_path" in row else None,
        coefficients_2d(row, "tvs"),
        coefficients_2d(row, "tsv"),
        whole(row.get("tier_count"), 1, 20),
    )


def in_section_order(rows: Iterable[Row]) -> dict[int, SectionImage]:
    """Read images and sort them; the service returns them in no order."""
    images = (image for image in map(image_of, rows) if image is not None)
    ordered = sorted(
        images, key=lambda image: (image.section_number or 0, image.image_id)
    )
    return {image.image_id: image for image in ordered}


def channels(equalization: Any) -> tuple[int, ...] | None:
    """Return an Equalization as a ``range``; None if a bound is missing."""
    row = equalization if isinstance(equalization, dict) else {}
    bounds = (
        whole(row.get(f"{colour}_{bound}"), 0, _MAX_CHANNEL_VALUE)
        for colour in ("red", "green", "blue")
        for bound in ("lower", "upper")
    )
    known = tuple(bound for bound in bounds if bound is not None)
    return known if len(known) == 6 else None


def nissl_of(row: Row) -> int | None:
    """Return the Nissl section among the associates of a SectionImage row.

    If there are several, the one whose section number is closest.
    """
    here = _section_number(row) or 0
    own_data_set = {record_id(row, "data_set_id")} - {None}
    found = [
        (not is_proven, abs((image.section_number or 0) - here), image.image_id)
        for associate in rows_of(row.get("associates"))
        if (image := image_of(associate)) is not None
        and image.image_id != record_id(row)
        and record_id(associate, "data_set_id") not in own_data_set
        and (is_proven := _is_nissl(associate)) is not False
    ]
    return min(found)[-1] if found else None


def _is_nissl(row: Row) -> bool | None:
    """Return whether a section is a Nissl section; None if it has no treatments.

    Then it is one, because the query requested only Nissl sections.
    """
    treatments = [
        one["treatments"] for one in rows_of(row.get("data_set")) if "treatments" in one
    ]
    if not treatments:
        return None
    return any(NISSL in texts(rows, "name") for rows in treatments)


def _section_number(row: Row) -> int | None:
    return whole(row.get("section_number"), 0, _MAX_SECTION_NUMBER)
