"""Queries for complete lists of names and ids."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from allenfs.catalog.paging import Page, all_rows, first_rows
from allenfs.catalog.queries import PATIENCE_S, Question
from allenfs.model import records
from allenfs.model.records import DataSetIds, Names, Titles, record_id
from allenfs.service.rma import Query, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allenfs.model.records import Row

# enough that one of them has an acronym
_SOME = 10
# the directory of data sets whose plane is missing or unknown
_UNKNOWN_PLANE = "unknown"


def atlases() -> Question[Titles]:
    """Ask for the titles of all atlases, which need not be unique."""
    query = Query("Atlas", order="atlases.id")

    def ask(page: Page) -> Any:
        rows = all_rows(page, query, ("name",))
        return [[record_id(row), row.get("name")] for row in rows]

    return Question(("list", "atlases"), ask, _read_titles, expects_rows=True)


def products() -> Question[Names]:
    """Ask for the abbreviations of all products."""
    query = Query("Product", order="products.id")
    return _list(("list", "products"), query, "abbreviation")


def genes(product: str) -> Question[Names]:
    """Ask for the acronyms of all genes of a product.

    Raises
    ------
    PathNotFoundError
        Here and below: a query cannot contain the name.
    """
    return _list(
        ("genes", product), _genes_query(product), "acronym", patience_s=math.inf
    )


def has_genes(product: str) -> Question[Names]:
    """Ask whether a product has genes, by asking for a few."""
    query = _genes_query(product)

    def ask(page: Page) -> Any:
        return _pairs(first_rows(page, query, _SOME, ("id", "acronym")), "acronym")

    return Question(("has-genes", product), ask, _read_names)


def has_gene(product: str, acronym: str) -> Question[dict[str, int]]:
    """Ask whether a product has a gene, even if all its data sets failed."""
    criteria = f"[acronym$eq{quoted(acronym)}],"
    criteria += f"products[abbreviation$eq{quoted(product)}]"
    query = Query("Gene", criteria, order="genes.id")

    def ask(page: Page) -> Any:
        return _pairs(first_rows(page, query, _SOME, ("id", "acronym")), "acronym")

    return Question(("has-gene", _in_product(product, acronym)), ask, dict)


def _genes_query(product: str) -> Query:
    criteria = f"products[abbreviation$eq{quoted(product)}]"
    return Query("Gene", criteria, order="genes.id")


def product_data_sets(product: str) -> Question[DataSetIds]:
    """Ask for the data sets of a product, all and by plane of section."""
    query = Query(
        "SectionDataSet",
        f"[failed$eq'false'],products[abbreviation$eq{quoted(product)}]",
        order="data_sets.id",
    )
    # Only the id of the plane: an included row would count in the pages.
    fields = ("failed", "plane_of_section_id")
    return Question(
        ("data-sets", product),
        lambda page: _by_plane(_good(all_rows(page, query, fields))),
        _read_data_set_ids,
        patience_s=math.inf,
        expects_rows=True,
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
    fields = ("failed", "genes", "plane_of_section", "plane_of_section_id")

    def ask(page: Page) -> Any:
        # it is not known whether the service compares acronyms case-sensitively
        return _by_plane(
            row
            for row in _good(all_rows(page, query, fields))
            if acronym in (records.texts(row.get("genes"), "acronym") or (acronym,))
        )

    return Question(("gene", _in_product(product, acronym)), ask, _read_by_plane)


def _in_product(product: str, acronym: str) -> str:
    return f"{quote(product, safe='')}/{acronym}"


def _good(rows: list[Row]) -> list[Row]:
    """Omit failed data sets, even if the service returns them."""
    return [
        {**row, "id": record_id(row)}
        for row in rows
        if row.get("failed") not in (True, "true")
    ]


def _by_plane(rows: Iterable[Row]) -> dict[str, list[int]]:
    """Return the ids of data sets by the name of their plane."""
    by_plane: dict[str, list[int]] = {}
    for row in rows:
        plane = records.plane_of(row) or _UNKNOWN_PLANE
        by_plane.setdefault(plane, []).append(row["id"])
    return by_plane


def _read_by_plane(answer: Any) -> dict[str, tuple[int, ...]]:
    return {plane: tuple(sorted(ids)) for plane, ids in answer.items()}


def _read_data_set_ids(answer: Any) -> DataSetIds:
    if isinstance(answer, list):  # kept by a version that did not know the planes
        return DataSetIds(tuple(sorted(answer)), {})
    by_plane = _read_by_plane(answer)
    return DataSetIds(tuple(sorted(chain.from_iterable(by_plane.values()))), by_plane)


def _list(
    key: tuple[str, str], query: Query, name: str, *, patience_s: float = PATIENCE_S
) -> Question[Names]:
    def ask(page: Page) -> Any:
        return _pairs(all_rows(page, query, (name,)), name)

    return Question(key, ask, _read_names, patience_s, expects_rows=True)


def _pairs(rows: list[Row], name: str) -> list[list[Any]]:
    return [
        [row[name], record_id(row)]
        for row in rows
        if isinstance(row.get(name), str) and record_id(row) is not None
    ]


def _read_names(answer: Any) -> Names:
    # ids ascend: keep the lowest of a name
    return Names(dict(reversed(answer)))


def _read_titles(answer: Any) -> Titles:
    titles = {
        atlas_id: title if isinstance(title, str) else "" for atlas_id, title in answer
    }
    return Titles(dict(sorted(titles.items())))
