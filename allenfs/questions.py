"""What the catalog can ask: queries, how their rows are brought together, and read.

A question turns into an answer (plain JSON, which the shelf keeps) by `ask`, and
an answer into a record by `read`, each time it comes from the service or the shelf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from allenfs import records
from allenfs.paging import Page, all_rows, completed, one_row
from allenfs.records import (
    Collection,
    DataSetIds,
    Names,
    Neighbour,
    Plate,
    SectionRecord,
    record_id,
    rows_of,
)
from allenfs.rma import Query, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.rma import Row

_Record = TypeVar("_Record")
_IMAGE_FIELDS = (
    *("id", "section_number", "width", "height", "resolution", "failed"),
    *("annotated", "treatments"),
)


@dataclass(frozen=True, slots=True)
class Question(Generic[_Record]):
    """Something to ask.

    Attributes
    ----------
    key : tuple of str
        Kind and name: equal questions have equal keys.
    ask : callable
        Page by page to an answer; raises ServiceError.
    read : callable
        Answer to a record. A false one says that there is no such thing.
    """

    key: tuple[str, str]
    ask: Callable[[Page], Any]
    read: Callable[[Any], _Record]


def section(image_id: int) -> Question[SectionRecord | None]:
    """Ask for one SectionImage."""
    query = Query("SectionImage", f"[id$eq{image_id}]")
    return Question(
        ("section", str(image_id)), lambda page: one_row(page, query), _read_section
    )


def nissl(image_id: int) -> Question[Neighbour]:
    """Ask for the closest Nissl section, in the words of the institute's page.

    Whether a section without such a neighbour comes with no associates or not
    at all is not known; both say that there is none.
    """
    query = Query(
        "SectionImage",
        f"[id$eq{image_id}]",
        "associates(data_set(treatments[name$eq'NISSL']))",
    )
    return Question(
        ("nissl", str(image_id)),
        lambda page: one_row(page, query),
        lambda row: Neighbour(records.nissl_of(row) if row else None),
    )


def data_set(data_set_id: int) -> Question[Collection | None]:
    """Ask for a SectionDataSet with all its images: two requests."""
    query = Query(
        "SectionDataSet",
        f"[id$eq{data_set_id}]",
        "genes,plane_of_section,products,treatments,equalization,section_images",
    )
    images = Query(
        "SectionImage", f"[data_set_id$eq{data_set_id}]", order="sub_images.id"
    )

    def ask(page: Page) -> Any:
        row = one_row(page, query)
        if row is None:
            return None
        nested = rows_of(row.pop("section_images", None))
        return {"record": row, "images": _images(page, images, nested)}

    return Question(("dataset", str(data_set_id)), ask, _read_data_set)


def plate(image_id: int) -> Question[Plate | None]:
    """Ask for one AtlasImage."""
    query = Query(
        "AtlasImage", f"[id$eq{image_id}]", "treatments,atlas_data_set(atlases)"
    )
    return Question(
        ("plate", str(image_id)), lambda page: one_row(page, query), _read_plate
    )


def atlas(atlas_id: int) -> Question[Collection | None]:
    """Ask for an Atlas with all its plates, in the words of the institute's page."""
    query = Query(
        "Atlas", f"[id$eq{atlas_id}]", "atlas_data_sets(atlas_images(treatments))"
    )
    # a plain [atlas_data_set_id$eqN] is known to find nothing
    plates = Query(
        "AtlasImage",
        f"atlas_data_set(atlases[id$eq{atlas_id}])",
        "treatments",
        "sub_images.id",
    )

    def ask(page: Page) -> Any:
        row = one_row(page, query)
        if row is None:
            return None
        nested = [
            image
            for one in rows_of(row.get("atlas_data_sets"))
            for image in rows_of(one.pop("atlas_images", None))
        ]
        return {"record": row, "images": _images(page, plates, nested)}

    return Question(("atlas", str(atlas_id)), ask, _read_atlas)


def atlases() -> Question[Names]:
    """Ask for the names of all atlases."""
    return _list(("list", "atlases"), Query("Atlas", order="atlases.id"), "name")


def products() -> Question[Names]:
    """Ask for the abbreviations of all products."""
    query = Query("Product", order="products.id")
    return _list(("list", "products"), query, "abbreviation")


def genes(product: str) -> Question[Names]:
    """Ask for the acronyms of all genes of a product.

    Raises
    ------
    PathNotFoundError
        Here and below: the name cannot be asked.
    """
    return _list(("genes", product), _genes_query(product), "acronym")


def has_genes(product: str) -> Question[Names]:
    """Ask whether a product has genes: one of them, or none."""
    query = _genes_query(product)

    def ask(page: Page) -> Any:
        return _pairs(page(query, start_row=0, num_rows=1), "acronym")

    return Question(("has-genes", product), ask, _read_names)


def _genes_query(product: str) -> Query:
    criteria = f"products[abbreviation$eq{quoted(product)}]"
    return Query("Gene", criteria, order="genes.id")


def product_data_sets(product: str) -> Question[DataSetIds]:
    """Ask for the data sets of a product."""
    query = Query(
        "SectionDataSet",
        f"[failed$eq'false'],products[abbreviation$eq{quoted(product)}]",
        order="data_sets.id",
    )
    return Question(
        ("data-sets", product),
        lambda page: [row["id"] for row in _good(all_rows(page, query))],
        lambda answer: DataSetIds(tuple(sorted(answer))),
    )


def gene_data_sets(product: str, acronym: str) -> Question[dict[str, tuple[int, ...]]]:
    """Ask for the data sets of a gene in a product, by plane of section."""
    query = Query(
        "SectionDataSet",
        f"[failed$eq'false'],products[abbreviation$eq{quoted(product)}],"
        f"genes[acronym$eq{quoted(acronym)}]",
        "genes,plane_of_section",
        "data_sets.id",
    )

    def ask(page: Page) -> Any:
        by_plane: dict[str, list[int]] = {}
        for row in _good(all_rows(page, query)):
            # whether the service compares acronyms by case is not known
            if acronym in (records.texts(row.get("genes"), "acronym") or (acronym,)):
                plane = records.plane_of(row) or "n/a"
                by_plane.setdefault(plane, []).append(row["id"])
        return by_plane

    return Question(
        ("gene", f"{product}/{acronym}"),
        ask,
        lambda answer: {plane: tuple(sorted(ids)) for plane, ids in answer.items()},
    )


def _images(page: Page, query: Query, nested: list[Row]) -> list[Row]:
    rows = completed(page, query, nested)
    return [{key: row[key] for key in _IMAGE_FIELDS if key in row} for row in rows]


def _good(rows: list[Row]) -> list[Row]:
    """Leave failed data sets out, also where the service does not."""
    return [
        {**row, "id": record_id(row)}
        for row in rows
        if row.get("failed") not in (True, "true")
    ]


def _list(key: tuple[str, str], query: Query, name: str) -> Question[Names]:
    return Question(key, lambda page: _pairs(all_rows(page, query), name), _read_names)


def _pairs(rows: list[Row] | list[Row | None], name: str) -> list[list[Any]]:
    return [
        [row[name], record_id(row)]
        for row in rows
        if row is not None
        and isinstance(row.get(name), str)
        and record_id(row) is not None
    ]


def _read_names(answer: Any) -> Names:
    # the first one of a name: ids ascend
    return Names(dict(reversed(answer)))


def _read_section(row: Row | None) -> SectionRecord | None:
    image = None if row is None else records.image_of(row)
    if row is None or image is None:
        return None
    return SectionRecord(row, image, record_id(row, "data_set_id"))


def _read_plate(row: Row | None) -> Plate | None:
    image = None if row is None else records.image_of(row)
    if row is None or image is None:
        return None
    atlas_ids = (
        record_id(one)
        for data_set_row in rows_of(row.get("atlas_data_set"))
        for one in rows_of(data_set_row.get("atlases"))
    )
    ids = tuple(sorted({one for one in atlas_ids if one is not None}))
    return Plate(row, image, ids)


def _read_data_set(answer: Any) -> Collection | None:
    if answer is None:
        return None
    record = answer["record"]
    return Collection(
        record,
        records.in_section_order(answer["images"]),
        equalization=records.channels(records.first_row(record.get("equalization"))),
    )


def _read_atlas(answer: Any) -> Collection | None:
    if answer is None:
        return None
    images = records.in_section_order(answer["images"])
    treatments = {text for image in images.values() for text in image.treatments}
    return Collection(answer["record"], images, treatments=tuple(sorted(treatments)))
