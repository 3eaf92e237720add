"""Queries for complete lists of names and ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from allenfs.catalog.paging import all_rows, first_rows
from allenfs.catalog.queries import (
    DATA_SET_WITH_IMAGES,
    PATIENCE_FOR_IMAGES_S,
    PATIENCE_S,
    Question,
    WithRecords,
    data_set_part,
    reduced_data_set,
)
from allenfs.errors import QueryError, WrongAnswerError
from allenfs.model import records
from allenfs.model.records import DataSetIds
from allenfs.model.rows import record_id, rows_of, slim, texts
from allenfs.model.structures import CENTRE_FIELDS, STRUCTURE_FIELDS, read_structures
from allenfs.service.rma import Query, quoted

if TYPE_CHECKING:
    from allenfs.catalog.paging import Page
    from allenfs.model.rows import Row
    from allenfs.model.structures import Structures
    from allenfs.store.record_files import Key

# enough to include one with an acronym
_SOME = 10
# the ontology of the adult mouse: recorded, with 1327 structures
_GRAPH_ID = 1
GENE_SECTIONS = "gene-sections"
# Recorded fields of StructureUnionize; pixels are at full resolution.
UNIONIZE_FIELDS = (
    *("expression_energy", "expression_density", "sum_pixels"),
    *("sum_expressing_pixels", "sum_pixel_intensity"),
    *("sum_expressing_pixel_intensity", "voxel_energy_mean", "voxel_energy_cv"),
)
# the directory of data sets whose plane is missing or unknown
_UNKNOWN_PLANE = "unknown"


def atlases() -> Question[dict[int, str]]:
    """Request the titles of all atlases by id; "" for an atlas without one."""
    query = Query("Atlas", order="atlases.id")

    def ask(page: Page) -> Any:
        rows = all_rows(page, query, ("name",))
        return [[record_id(row), row.get("name")] for row in rows]

    return Question(("list", "atlases"), ask, _read_titles, expects_rows=True)


def products() -> Question[dict[str, int]]:
    """Request the abbreviations of all products, each with its id."""
    query = Query("Product", order="products.id")
    return _all_names(("list", "products"), query, "abbreviation", PATIENCE_S)


def genes(product: str) -> Question[dict[str, int]]:
    """Request the acronyms of all genes of a product, each with its id.

    Raises PathNotFoundError, here and below, if a query cannot contain the name.
    """
    return _all_names(("genes", product), _genes_query(product), "acronym", math.inf)


def _all_names(
    key: Key, query: Query, field: str, patience_s: float
) -> Question[dict[str, int]]:
    def ask(page: Page) -> Any:
        return _pairs(all_rows(page, query, (field,)), field)

    return Question(key, ask, _read_names, patience_s, expects_rows=True)


def has_genes(product: str) -> Question[dict[str, int]]:
    """Request a few genes of a product, to see whether it has any."""
    return _few_genes(("has-genes", product), _genes_query(product))


def has_gene(product: str, acronym: str) -> Question[dict[str, int]]:
    """Request a gene of a product, even if all its data sets failed."""
    criteria = f"[acronym$eq{quoted(acronym)}],"
    query = _genes_query(product, criteria)
    return _few_genes(("has-gene", _in_product(product, acronym)), query)


def _few_genes(key: Key, query: Query) -> Question[dict[str, int]]:
    def ask(page: Page) -> Any:
        return _pairs(first_rows(page, query, _SOME, ("id", "acronym")), "acronym")

    return Question(key, ask, _read_names)


def _genes_query(product: str, criteria: str = "") -> Query:
    criteria += f"products[abbreviation$eq{quoted(product)}]"
    return Query("Gene", criteria, order="genes.id")


def product_data_sets(product: str) -> Question[DataSetIds]:
    """Request the data sets of a product, all and by plane of section."""
    query = Query(
        "SectionDataSet",
        f"[failed$eq'false'],products[abbreviation$eq{quoted(product)}]",
        order="data_sets.id",
    )
    # Only the id of the plane: an included row would count in the pages.
    fields = ("failed", "plane_of_section_id")
    return Question(
        ("data-sets", product),
        lambda page: _by_plane(all_rows(page, query, fields)),
        _read_data_set_ids,
        patience_s=math.inf,
        expects_rows=True,
    )


def gene_data_sets(product: str, acronym: str) -> Question[dict[str, tuple[int, ...]]]:
    """Request the data sets of a gene in a product, by plane of section."""
    query = _gene_query(product, acronym, "genes,plane_of_section")
    fields = ("failed", "genes", "plane_of_section", "plane_of_section_id")

    def ask(page: Page) -> Any:
        return _by_plane(_of_gene(all_rows(page, query, fields), acronym))

    return Question(("gene", _in_product(product, acronym)), ask, _read_by_plane)


def gene_sections(product: str, acronym: str) -> Question[dict[str, tuple[int, ...]]]:
    """Request the same with the record and the sections of each data set.

    This replaces one question for each data set, if the service allows it.
    """
    query = replace(
        _gene_query(product, acronym, DATA_SET_WITH_IMAGES), has_substitute=True
    )
    without = gene_data_sets(product, acronym)

    def ask(page: Page) -> Any:
        try:
            rows = all_rows(page, query, reduced=reduced_data_set)
        except (QueryError, WrongAnswerError):  # see `queries.data_set`; or too many
            return without.ask(page)
        found = list(_of_gene(rows, acronym))
        parts = [*filter(None, map(data_set_part, found))]
        return WithRecords(_by_plane(found), parts if _is_whole(page, parts) else [])

    key = GENE_SECTIONS, _in_product(product, acronym)
    return Question(key, ask, _read_by_plane, PATIENCE_FOR_IMAGES_S)


def _is_whole(page: Page, parts: list[tuple[Question[Any], Any]]) -> bool:
    """Whether data sets have all their images, as the service counts them.

    No recorded list of images was cut in another answer, but one that was would be in
    use for a week.
    """
    if not parts:
        return True
    ids = ",".join(question.key[1] for question, _ in parts)
    images = Query("SectionImage", f"[data_set_id$in{ids}]", order="sub_images.id")
    try:
        counted = page(images, 0, 1).total_rows
    except QueryError:
        return False
    return counted <= sum(len(answer["images"]) for _, answer in parts)


def _gene_query(product: str, acronym: str, include: str) -> Query:
    return Query(
        "SectionDataSet",
        f"[failed$eq'false'],products[abbreviation$eq{quoted(product)}],"
        f"genes[acronym$eq{quoted(acronym)}]",
        include,
        "data_sets.id",
    )


def _of_gene(rows: Iterable[Row], acronym: str) -> Iterator[Row]:
    """Yield the data sets of a gene.

    It is not known whether the service compares acronyms case-sensitively.
    """
    for row in rows:
        if acronym in (texts(row.get("genes"), "acronym") or (acronym,)):
            yield row


def structures() -> Question[Structures]:
    """Request the structures of the adult mouse ontology, with their centres."""
    query = Query(
        "Structure", f"[graph_id$eq{_GRAPH_ID}]", "structure_centers", "structures.id"
    )

    def reduced(row: Row) -> Row:
        centres = rows_of(row.get("structure_centers"))
        kept = [{name: one.get(name) for name in CENTRE_FIELDS} for one in centres]
        return slim(row, STRUCTURE_FIELDS) | {"structure_centers": kept}

    def ask(page: Page) -> Any:
        return _at_once(page, query, reduced=reduced)

    return Question(
        ("list", "structures"),
        ask,
        read_structures,
        PATIENCE_FOR_IMAGES_S,
        expects_rows=True,
    )


def unionizes(data_set_id: int) -> Question[dict[int, Row]]:
    """Request the expression statistics of a data set, by structure."""
    query = Query(
        "StructureUnionize",
        f"[section_data_set_id$eq{data_set_id}]",
        "structure",
        "structure_unionizes.id",
        includes_one=True,
    )

    def ask(page: Page) -> Any:
        fields = ("structure_id", "structure", *UNIONIZE_FIELDS)
        return _at_once(page, query, fields)

    def read(answer: Any) -> dict[int, Row]:
        return {
            structure_id: row
            for row in answer
            if (structure_id := record_id(row, "structure_id")) is not None
        }

    key = "unionizes", str(data_set_id)
    return Question(key, ask, read, PATIENCE_FOR_IMAGES_S)


def _at_once(page: Page, query: Query, *args: Any, **options: Any) -> list[Row]:
    """Return all rows of a query in one answer.

    The order only matters if the service limits the rows of an answer. Without a
    recorded example, it is a guess, so it is left out of a rejected query.
    """
    try:
        ordered = replace(query, has_substitute=True)
        return all_rows(page, ordered, *args, **options, at_once=True)
    except QueryError:
        return all_rows(page, replace(query, order=""), *args, **options, at_once=True)


def _in_product(product: str, acronym: str) -> str:
    return f"{quote(product, safe='')}/{acronym}"


def _by_plane(rows: Iterable[Row]) -> dict[str, list[int | None]]:
    """Return the ids of data sets by the name of their plane.

    Failed ones are omitted, even if the service returns them.
    """
    by_plane: dict[str, list[int | None]] = {}
    for row in rows:
        if row.get("failed") not in (True, "true"):
            plane = records.plane_of(row) or _UNKNOWN_PLANE
            by_plane.setdefault(plane, []).append(record_id(row))
    return by_plane


def _read_by_plane(answer: Any) -> dict[str, tuple[int, ...]]:
    return {plane: tuple(sorted(ids)) for plane, ids in answer.items()}


def _read_data_set_ids(answer: Any) -> DataSetIds:
    if isinstance(answer, list):  # stored by an older version, without the planes
        return DataSetIds(tuple(sorted(answer)), {})
    by_plane = _read_by_plane(answer)
    return DataSetIds(tuple(sorted(chain.from_iterable(by_plane.values()))), by_plane)


def _pairs(rows: list[Row], name: str) -> list[list[Any]]:
    return [
        [row[name], record_id(row)]
        for row in rows
        if isinstance(row.get(name), str) and record_id(row) is not None
    ]


def _read_names(answer: Any) -> dict[str, int]:
    return dict(reversed(answer))  # ids ascend: keep the lowest id of a name


def _read_titles(answer: Any) -> dict[int, str]:
    return {
        atlas_id: title if isinstance(title, str) else ""
        for atlas_id, title in sorted(answer, key=itemgetter(0))
    }
