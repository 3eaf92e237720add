"""The directories below `browse`: lists of links to data sets and atlases."""

from __future__ import annotations

import bisect
import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from allenfs.catalog import lists
from allenfs.catalog.entries import Entry, Folder, Link, deny
from allenfs.model.nodes import PatternNode
from allenfs.service.rma import is_askable
from allenfs.text import path_names, readable_name

if TYPE_CHECKING:
    from allenfs.catalog.queries import Question
    from allenfs.catalog.record_cache import RecordCache
    from allenfs.catalog.repository import Repository
    from allenfs.model.records import DataSetIds
    from allenfs.service.single_flight import Caller

_Record = TypeVar("_Record")

# Ten times as many as exist.
MAX_DATA_SET_IDS = 500_000


class Browser:
    """Products, genes, planes and atlases. Safe to use from many threads."""

    def __init__(self, repository: Repository, cache: RecordCache) -> None:
        self._repository = repository
        self._cache = cache
        # found in a list: no query is needed to know that they exist
        self.data_set_ids: set[int] = set()
        self._products_with_genes: set[str] = set()

    def resolve(self, node: PatternNode, caller: Caller) -> Entry:
        """Return the entry of a node; raises as `Catalog.resolve` does."""
        name = node.arguments[-1] if node.arguments else ""
        match node:
            case PatternNode("browse" | "browse/product" | "browse/atlas"):
                exists = True
            case PatternNode(
                "browse/product/ABBR"
                | "browse/product/ABBR/dataset"
                | "browse/product/ABBR/plane"
            ):
                exists = self._has_product(name, caller)
            case PatternNode("browse/product/ABBR/gene", (product,)):
                name, exists = "gene", self._has_genes(product, caller)
            case PatternNode("browse/product/ABBR/gene/ACRONYM", (product, acronym)):
                exists = self._has_gene(product, acronym, caller)
            case PatternNode(
                "browse/product/ABBR/gene/ACRONYM/PLANE", (product, acronym, plane)
            ):
                exists = plane in self._planes(product, acronym, caller)
            case PatternNode("browse/product/ABBR/plane/PLANE", (product, plane)):
                exists = plane in self._product_data_sets(product, caller).by_plane
            case PatternNode("browse/atlas/TITLE"):
                atlas_id = self._atlas_names(caller).get(name)
                return deny(repr(name)) if atlas_id is None else Link(str(atlas_id))
            case PatternNode(pattern, (*above, data_set_id)):  # a link to a data set
                ids = self._data_sets(posixpath.dirname(pattern), above, caller)
                place = bisect.bisect_left(ids, data_set_id)  # of up to 26 000
                if ids[place : place + 1] != (data_set_id,):
                    return deny(f"data set {data_set_id}")
                return Link(f"{'../' * pattern.count('/')}dataset/{data_set_id}")
        return Folder() if exists else deny(repr(name))

    def names(self, node: PatternNode, caller: Caller) -> list[str]:
        """Return the names in a directory; raises as `resolve` does."""
        match node:
            case PatternNode("browse"):
                return ["product", "atlas"]
            case PatternNode("browse/product"):
                return path_names(filter(is_askable, self._products(caller)))
            case PatternNode("browse/product/ABBR", (product,)):
                genes = ["gene"] if self._has_genes(product, caller) else []
                return ["dataset", *genes, "plane"]
            case PatternNode("browse/product/ABBR/plane", (product,)):
                return path_names(self._product_data_sets(product, caller).by_plane)
            case PatternNode("browse/product/ABBR/gene", (product,)):
                acronyms = self._get(lists.genes(product), caller)
                return path_names(filter(is_askable, acronyms))
            case PatternNode("browse/product/ABBR/gene/ACRONYM", (product, acronym)):
                return path_names(self._planes(product, acronym, caller))
            case PatternNode("browse/atlas"):
                atlases = [str(one) for one in self.atlas_ids(caller)]
                return atlases + list(self._atlas_names(caller))
        ids = self._data_sets(node.pattern, node.arguments, caller)
        self._note(ids)
        return [str(one) for one in ids]

    def _note(self, data_set_ids: tuple[int, ...]) -> None:
        if len(self.data_set_ids) > MAX_DATA_SET_IDS:
            self.data_set_ids.clear()  # if it is too long, each name is queried
        self.data_set_ids.update(data_set_ids)

    def sections(
        self, product: str, acronym: str, caller: Caller
    ) -> dict[str, tuple[int, ...]]:
        """Return the data sets of a gene by plane; their records are then cached."""
        by_plane = self._get(lists.gene_sections(product, acronym), caller)
        if by_plane:
            self._products_with_genes.add(product)
        return by_plane

    def atlas_ids(self, caller: Caller) -> list[int]:
        """Return the ids of all atlases."""
        return list(self._get(lists.atlases(), caller))

    def _atlas_names(self, caller: Caller) -> dict[str, int]:
        named: dict[str, int] = {}
        for atlas_id, title in self._get(lists.atlases(), caller).items():
            name = readable_name(title)
            if name is not None:
                # if two atlases have one name, it leads to the lower id
                named.setdefault(name, atlas_id)
        return named

    def _products(self, caller: Caller) -> dict[str, int]:
        return self._get(lists.products(), caller)

    def _has_product(self, name: str, caller: Caller) -> bool:
        if name in self._products_with_genes:
            return True
        return is_askable(name) and name in self._products(caller)

    def _has_genes(self, product: str, caller: Caller) -> bool:
        if product in self._products_with_genes:
            return True
        if self._cache.fresh(lists.genes(product)) is not None:
            return True  # also for an empty list, which is suspect: there may be genes
        return bool(self._get(lists.has_genes(product), caller))

    def _has_gene(self, product: str, acronym: str, caller: Caller) -> bool:
        # `ls -l` looks up every name of the list it has just read
        listed = self._cache.fresh(lists.genes(product))
        if listed is not None:
            is_listed = acronym in listed.record
            if is_listed or not listed.is_suspect:
                return is_askable(acronym) and is_listed
        if self._planes(product, acronym, caller):
            return True
        # the gene has no data sets, or all of them failed
        return acronym in self._get(lists.has_gene(product, acronym), caller)

    def _planes(
        self, product: str, acronym: str, caller: Caller
    ) -> dict[str, tuple[int, ...]]:
        with_sections = lists.gene_sections(product, acronym)
        if self._cache.any(with_sections) is not None:
            return self._get(with_sections, caller)
        return self._get(lists.gene_data_sets(product, acronym), caller)

    def _product_data_sets(self, product: str, caller: Caller) -> DataSetIds:
        if product not in self._products(caller):
            return deny(repr(product))  # an unknown product is not worth a warning
        return self._get(lists.product_data_sets(product), caller)

    def _data_sets(
        self, directory: str, arguments: Sequence[str], caller: Caller
    ) -> tuple[int, ...]:
        """Return the data sets that a directory links to, by its pattern."""
        match directory, arguments:
            case "browse/product/ABBR/dataset", [product]:
                return self._product_data_sets(product, caller).ids
            case "browse/product/ABBR/plane/PLANE", [product, plane]:
                planes = self._product_data_sets(product, caller).by_plane
            case "browse/product/ABBR/gene/ACRONYM/PLANE", [product, acronym, plane]:
                planes = self._planes(product, acronym, caller)
            case _:
                return deny(directory)
        return planes[plane] if plane in planes else deny(repr(plane))

    def _get(self, question: Question[_Record], caller: Caller) -> _Record:
        return self._repository.get(question, caller).record
