"""The catalog's queries for single records, and how to read their answers.

`Question.ask` fetches an answer (plain JSON, as it is stored), and `Question.read`
converts an answer to a record, whether it comes from the service or the store.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from allenfs.catalog.paging import bounded, completed, one_row
from allenfs.errors import QueryError
from allenfs.model import records
from allenfs.model.records import Collection, ImageRecord, Neighbour
from allenfs.model.rows import first_row, record_id, rows_of, slim
from allenfs.service.rma import Query

if TYPE_CHECKING:
    from allenfs.catalog.paging import Page
    from allenfs.model.rows import Row
    from allenfs.store.record_files import Key

_RecordT_co = TypeVar("_RecordT_co", covariant=True)
# The kernel looks up one name at a time in a directory, so a waiting lookup blocks
# others, which cannot be interrupted. The live service answers in about half a second,
# or a few seconds for hundreds of images.
PATIENCE_S, PATIENCE_FOR_IMAGES_S = 10.0, 30.0
# Cached: each `stat` of an image needs a question, which depends only on its id.
_REMEMBERED = 1024
_IMAGE_FIELDS = (
    *("section_number", "width", "height", "resolution", "failed"),
    *("annotated", "treatments", "x", "y", "expression_path", "alignment2d"),
    "tier_count",
)
# users of AllenSDK include probes(orientation): 2 is Antisense, 1 is Sense
_DATA_SET = (
    "alignment3d,genes,plane_of_section,probes(orientation),products,treatments,"
    "equalization"
)
DATA_SET_WITH_IMAGES = f"{_DATA_SET},section_images(alignment2d)"


@dataclass(frozen=True, slots=True)
class Question(Generic[_RecordT_co]):
    """A query of the catalog.

    Attributes
    ----------
    key : tuple of str
        Kind and name: equal questions have equal keys.
    ask : callable
        Fetches an answer page by page; raises ServiceError.
    read : callable
        Converts an answer to a record. A false record does not exist; one that is
        false and not None is an empty list.
    patience_s : float
        The longest time that a lookup waits for the answer.
    expects_rows : bool
        An empty list is suspect, even the first time.
    """

    key: Key
    ask: Callable[[Page], Any]
    read: Callable[[Any], _RecordT_co]
    patience_s: float = PATIENCE_S
    expects_rows: bool = False


@dataclass(frozen=True, slots=True)
class WithRecords:
    """An answer that contains the answers to other questions, which are cached, too."""

    answer: Any
    records: list[tuple[Question[Any], Any]]


@functools.lru_cache(maxsize=_REMEMBERED)
def section(image_id: int) -> Question[ImageRecord | None]:
    """Request one SectionImage."""
    return _one(
        "section", image_id, Query("SectionImage", f"[id$eq{image_id}]"), _read_image
    )


def nissl(image_id: int) -> Question[Neighbour]:
    """Request the Nissl section closest to a section, as on the institute's page.

    The section must exist. It is not known whether a section without such a neighbour
    is returned without associates or not at all; both mean that there is none.
    """
    query = Query(
        "SectionImage",
        f"[id$eq{image_id}]",
        "associates(data_set(treatments[name$eq'NISSL']))",
    )
    return _one(
        "nissl",
        image_id,
        query,
        lambda row: Neighbour(records.nissl_of(row) if row else None),
    )


@functools.lru_cache(maxsize=_REMEMBERED)
def data_set(data_set_id: int) -> Question[Collection | None]:
    """Request a SectionDataSet with all its images: two requests."""
    criteria = f"[id$eq{data_set_id}]"
    query = Query("SectionDataSet", criteria, DATA_SET_WITH_IMAGES, has_substitute=True)
    not_aligned = Query("SectionDataSet", criteria, f"{_DATA_SET},section_images")
    alone = Query("SectionDataSet", criteria, _DATA_SET)
    images = Query(
        "SectionImage",
        f"[data_set_id$eq{data_set_id}]",
        "alignment2d",
        "sub_images.id",
        includes_one=True,
    )

    def ask(page: Page) -> Any:
        try:
            row = one_row(page, query, data_set_id)
        except QueryError:  # no recorded query nests alignments in the images
            row = one_row(page, not_aligned, data_set_id)
        if row is None:
            return None
        nested = rows_of(row.pop("section_images", None))
        if not all("alignment2d" in image for image in nested):
            nested = []  # the include did not return this level
        rows = completed(page, images, nested, _IMAGE_FIELDS)
        # a page truncated the images, and maybe the genes
        if len(rows) > len(nested) > 0:
            row = one_row(page, alone, data_set_id) or row
        return {"record": bounded(row), "images": rows}

    key = "dataset", str(data_set_id)
    return Question(key, ask, _read_data_set, PATIENCE_FOR_IMAGES_S)


def data_set_part(row: Row) -> tuple[Question[Any], Any] | None:
    """Return the question that a row of `DATA_SET_WITH_IMAGES` answers, and the answer.

    None if the row has no id, or no images, or its images no alignment.
    """
    data_set_id, images = record_id(row), rows_of(row.get("section_images"))
    has_all = images and all("alignment2d" in image for image in images)
    if data_set_id is None or not has_all:
        return None
    record = {name: row[name] for name in row if name != "section_images"}
    return data_set(data_set_id), {"record": bounded(record), "images": images}


def reduced_data_set(row: Row) -> Row:
    """Reduce the images in a row of `DATA_SET_WITH_IMAGES` to the fields in use."""
    images = [
        slim(image, ("id", *_IMAGE_FIELDS))
        for image in rows_of(row.get("section_images"))
    ]
    return row | {"section_images": images}


@functools.lru_cache(maxsize=_REMEMBERED)
def plate(image_id: int) -> Question[ImageRecord | None]:
    """Request one AtlasImage."""
    query = Query(
        "AtlasImage", f"[id$eq{image_id}]", "treatments,atlas_data_set(atlases)"
    )
    return _one("plate", image_id, query, _read_image)


@functools.lru_cache(maxsize=_REMEMBERED)
def atlas(atlas_id: int) -> Question[Collection | None]:
    """Request an Atlas with all its plates, as on the institute's page."""
    query = Query(
        "Atlas", f"[id$eq{atlas_id}]", "atlas_data_sets(atlas_images(treatments))"
    )
    # [atlas_data_set_id$eqN] alone is known to return nothing
    plates = Query(
        "AtlasImage",
        f"atlas_data_set(atlases[id$eq{atlas_id}])",
        "treatments",
        "sub_images.id",
    )

    def ask(page: Page) -> Any:
        row = one_row(page, query, atlas_id)
        if row is None:
            return None
        nested = [
            image
            for one in rows_of(row.get("atlas_data_sets"))
            for image in rows_of(one.pop("atlas_images", None))
        ]
        if not all("treatments" in image for image in nested):
            nested = []  # the include did not return this level
        images = completed(page, plates, nested, _IMAGE_FIELDS)
        return {"record": bounded(row), "images": images}

    key = "atlas", str(atlas_id)
    return Question(key, ask, _read_atlas, PATIENCE_FOR_IMAGES_S)


def _one(
    kind: str, row_id: int, query: Query, read: Callable[[Any], _RecordT_co]
) -> Question[_RecordT_co]:
    def ask(page: Page) -> Any:
        return bounded(one_row(page, query, row_id))

    return Question((kind, str(row_id)), ask, read)


def _read_image(row: Row | None) -> ImageRecord | None:
    image = None if row is None else records.image_of(row)
    if row is None or image is None:
        return None
    atlas_ids = {
        atlas_id
        for data_set_row in rows_of(row.get("atlas_data_set"))
        for atlas_row in rows_of(data_set_row.get("atlases"))
        if (atlas_id := record_id(atlas_row)) is not None
    }
    data_set_id = record_id(row, "data_set_id")
    return ImageRecord(row, image, data_set_id, tuple(sorted(atlas_ids)))


def _read_data_set(answer: Any) -> Collection | None:
    if answer is None:
        return None
    record = answer["record"]
    return Collection(
        record,
        records.in_section_order(answer["images"]),
        equalization=records.channels(first_row(record.get("equalization"))),
    )


def _read_atlas(answer: Any) -> Collection | None:
    if answer is None:
        return None
    images = records.in_section_order(answer["images"])
    treatments = {text for image in images.values() for text in image.treatments}
    return Collection(answer["record"], images, treatments=tuple(sorted(treatments)))
