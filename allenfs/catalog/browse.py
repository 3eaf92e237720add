"""The directories below `browse`: lists of links to data sets and atlases."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, TypeVar

from allenfs.catalog import lists
from allenfs.catalog.entries import Entry, Folder, Link, deny
from allenfs.model import nodes
from allenfs.service.rma import is_askable
from allenfs.text import path_name, readable_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allenfs.catalog.queries import Question
    from allenfs.catalog.repository import Repository
    from allenfs.model.records import DataSetIds
    from allenfs.service.single_flight import Caller

_Record = TypeVar("_Record")

# Ten times as many as exist.
_MAX_DATA_SET_IDS = 500_000
# From `browse/product/ABBR/dataset`, `…/plane/PLANE` and `…/gene/ACRONYM/PLANE`.
_UP: dict[type[nodes.DataSetLinksDirectory], str] = {
    nodes.ProductDataSetsDirectory: "../" * 4,
    nodes.ProductPlaneDirectory: "../" * 5,
    nodes.PlaneDirectory: "../" * 6,
}


class Browser:
    """Products, genes, planes and atlases. Safe to use from many threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        # named by a list: they exist without a query for each
        self.data_set_ids: set[int] = set()

    def resolve(self, node: nodes.BrowseNode, caller: Caller) -> Entry:
        """Return the entry of a node; raises as `Catalog.resolve` does."""
        match node:
            case (
                nodes.BrowseDirectory()
                | nodes.ProductsDirectory()
                | nodes.AtlasesDirectory()
            ):
                return Folder()
            case (
                nodes.ProductDirectory(product)
                | nodes.ProductDataSetsDirectory(product)
                | nodes.ProductPlanesDirectory(product)
            ):
                name, exists = product, product in self._products(caller)
                exists = exists and is_askable(product)
            case nodes.GenesDirectory(product):
                name, exists = "gene", self._has_genes(product, caller)
            case nodes.GeneDirectory(product, name):
                exists = self._has_gene(product, name, caller)
            case nodes.PlaneDirectory(product, acronym, name):
                exists = name in self._planes(product, acronym, caller)
            case nodes.ProductPlaneDirectory(product, name):
                exists = name in self._product_data_sets(product, caller).by_plane
            case nodes.DataSetLink(directory, data_set_id):
                ids = self._data_sets(directory, caller)
                place = bisect.bisect_left(ids, data_set_id)  # a product has 26 000
                if ids[place : place + 1] == (data_set_id,):
                    return Link(f"{_UP[type(directory)]}dataset/{data_set_id}")
                return deny(f"data set {data_set_id}")
            case nodes.AtlasLink(name):
                atlas_id = self._atlas_names(caller).get(name)
                return deny(repr(name)) if atlas_id is None else Link(str(atlas_id))
        return Folder() if exists else deny(repr(name))

    def names(self, node: nodes.BrowseNode, caller: Caller) -> list[str]:
        """Return the names in a directory; raises as `resolve` does."""
        match node:
            case nodes.BrowseDirectory():
                return ["product", "atlas"]
            case nodes.ProductsDirectory():
                return _path_names(filter(is_askable, self._products(caller)))
            case nodes.ProductDirectory(product):
                genes = ["gene"] if self._has_genes(product, caller) else []
                return ["dataset", *genes, "plane"]
            case nodes.ProductPlanesDirectory(product):
                return _path_names(self._product_data_sets(product, caller).by_plane)
            case nodes.GenesDirectory(product):
                acronyms = self._get(lists.genes(product), caller).ids
                return _path_names(filter(is_askable, acronyms))
            case nodes.GeneDirectory(product, acronym):
                return _path_names(self._planes(product, acronym, caller))
            case (
                nodes.PlaneDirectory()
                | nodes.ProductDataSetsDirectory()
                | nodes.ProductPlaneDirectory()
            ):
                ids = self._data_sets(node, caller)
                self._note(ids)
                return [str(one) for one in ids]
            case nodes.AtlasesDirectory():
                atlases = [str(one) for one in self.atlas_ids(caller)]
                return atlases + list(self._atlas_names(caller))
            case nodes.DataSetLink() | nodes.AtlasLink():
                return deny("a link")

    def _note(self, data_set_ids: tuple[int, ...]) -> None:
        if len(self.data_set_ids) > _MAX_DATA_SET_IDS:
            self.data_set_ids.clear()  # then each is queried
        self.data_set_ids.update(data_set_ids)

    def atlas_ids(self, caller: Caller) -> list[int]:
        """Return the ids of all atlases."""
        return list(self._get(lists.atlases(), caller).by_id)

    def _atlas_names(self, caller: Caller) -> dict[str, int]:
        named: dict[str, int] = {}
        for atlas_id, title in self._get(lists.atlases(), caller).by_id.items():
            name = readable_name(title)
            if name is not None:
                # if two atlases have one name, it leads to the lower id
                named.setdefault(name, atlas_id)
        return named

    def _products(self, caller: Caller) -> dict[str, int]:
        return self._get(lists.products(), caller).ids

    def _has_genes(self, product: str, caller: Caller) -> bool:
        if self._repository.cache.fresh(lists.genes(product)) is not None:
            return True  # an empty list too: it is suspect, and no proof of no genes
        return bool(self._get(lists.has_genes(product), caller))

    def _has_gene(self, product: str, acronym: str, caller: Caller) -> bool:
        # `ls -l` looks up every name of the list it has just read
        listed = self._repository.cache.fresh(lists.genes(product))
        if listed is not None:
            is_listed = acronym in listed.record.ids
            if is_listed or not listed.is_suspect:
                return is_askable(acronym) and is_listed
        if self._planes(product, acronym, caller):
            return True
        # it has no data sets, or all of them failed
        return acronym in self._get(lists.has_gene(product, acronym), caller).ids

    def _planes(
        self, product: str, acronym: str, caller: Caller
    ) -> dict[str, tuple[int, ...]]:
        return self._get(lists.gene_data_sets(product, acronym), caller)

    def _product_data_sets(self, product: str, caller: Caller) -> DataSetIds:
        if product not in self._products(caller):
            return deny(repr(product))  # an unknown product is no warning in the log
        return self._get(lists.product_data_sets(product), caller)

    def _data_sets(
        self, directory: nodes.DataSetLinksDirectory, caller: Caller
    ) -> tuple[int, ...]:
        match directory:
            case nodes.ProductDataSetsDirectory(product):
                return self._product_data_sets(product, caller).ids
            case nodes.ProductPlaneDirectory(product, plane):
                planes = self._product_data_sets(product, caller).by_plane
            case nodes.PlaneDirectory(product, acronym, plane):
                planes = self._planes(product, acronym, caller)
        return planes[plane] if plane in planes else deny(repr(plane))

    def _get(self, question: Question[_Record], caller: Caller) -> _Record:
        return self._repository.get(question, caller).record


def _path_names(texts: Iterable[str]) -> list[str]:
    """Return the texts that can be names in a path, sorted."""
    return sorted(name for text in texts if (name := path_name(text)) is not None)
