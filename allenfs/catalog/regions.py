"""The directories and links of structures: from a gene and a region to the picture."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn

from allenfs.catalog import lists, queries, structure_documents
from allenfs.catalog.entries import Entry, Folder, Link
from allenfs.catalog.ontology import Ontology, certain
from allenfs.errors import PathNotFoundError
from allenfs.model import tree
from allenfs.model.nodes import PatternNode
from allenfs.model.regions import LISTED_SIDES_MM, AlignedSections, Hemisphere
from allenfs.text import path_name, path_names

if TYPE_CHECKING:
    from allenfs.catalog.browse import Browser
    from allenfs.catalog.record_cache import CachedRecord, RecordCache
    from allenfs.catalog.repository import Repository
    from allenfs.model.records import Collection
    from allenfs.model.regions import Place
    from allenfs.model.structures import Structure
    from allenfs.service.single_flight import Caller

# `structure/ACR/gene/GENE` is short for a directory of this product.
_PRODUCT = "Mouse"
_MAX_REASONS = 3
# Sections whose data set is remembered. A gene has some 200 sections, a connectivity
# experiment 140.
_MAX_SECTIONS = 20_000


class Regions:
    """Structures, in data sets and in genes. Safe to use from many threads.

    PathNotFoundError says in words why a structure has no place. A failed query is a
    ServiceError, and so is an absence from an incomplete record.
    """

    def __init__(
        self, repository: Repository, cache: RecordCache, browser: Browser
    ) -> None:
        self._repository = repository
        self._cache = cache
        self._browser = browser
        self._ontology = Ontology(repository)
        # of each section, so that an equalized region needs no query of its record
        self.data_set_ids: dict[int, int] = {}

    def resolve(self, node: PatternNode, caller: Caller) -> Entry:
        """Return the entry of a node; raises as `Catalog.resolve` does."""
        match node:
            case PatternNode("structure/ACR/gene/GENE", (name, gene)):
                return self._gene_link(name, gene, caller)
            case PatternNode(pattern) if pattern.startswith("structure"):
                return self._ontology.resolve(node, caller)
            case PatternNode("dataset/ID/structures.csv", (data_set_id,)):
                self._data_set(data_set_id, caller)
                found = self._repository.get(lists.unionizes(data_set_id), caller)
                return structure_documents.unionizes(found)
            case PatternNode("dataset/ID/structure", (data_set_id,)):
                self._sections(data_set_id, caller)
                return Folder()
            case PatternNode(tree.GENE_STRUCTURES, (product, gene)):
                if not self._browser.sections(product, gene, caller):
                    _deny_gene(product, gene)
                return Folder()
            case PatternNode(pattern) if pattern.startswith("browse"):
                return self._in_gene(node, caller)
        return self._in_data_set(node, caller)

    def names(self, node: PatternNode, caller: Caller) -> list[str]:
        """Return the names in a directory; raises as `resolve` does."""
        match node:
            case PatternNode("structure"):
                return self._ontology.names(caller)
            case PatternNode("structure/ACR"):
                # not `gene`: a crawler would walk through all genes of all structures
                return [tree.INFO_FILE]
            case PatternNode("structure/ACR/gene", (name,)):
                return self._known_genes(name, caller)
            case PatternNode("dataset/ID/structure", (data_set_id,)):
                return self._covered([self._sections(data_set_id, caller)], caller)
            case PatternNode(tree.GENE_STRUCTURES, (product, gene)):
                found = self._gene_sections(product, gene, caller)
                aligned = [one for one in found.values() if not isinstance(one, str)]
                return self._covered(aligned, caller)
            case PatternNode(tree.GENE_STRUCTURE, (product, gene, name)):
                structure = self._ontology.find(name, caller)
                places = self._gene_places(product, gene, structure, caller)
                return ["best", *path_names(places)]
        return self._region_names(node, caller)

    def _region_names(self, node: PatternNode, caller: Caller) -> list[str]:
        data_set_id, name = node.arguments
        structure = self._ontology.find(name, caller)
        with self._certain(data_set_id, caller):
            places = self._sections(data_set_id, caller).places(structure)
        hemisphere, _ = _leaf(node.pattern)
        names = []
        if hemisphere in places:
            place = places[hemisphere]
            names += [f"{side}mm" for side in LISTED_SIDES_MM if place.has_region(side)]
            names += [tree.CLOSEST, tree.WHERE_FILE]
        if hemisphere is None:
            names += [one.value for one in Hemisphere if one in places]
        return names

    def _in_data_set(self, node: PatternNode, caller: Caller) -> Entry:
        data_set_id, name, *sizes = node.arguments
        structure = self._ontology.find(name, caller)
        hemisphere, leaf = _leaf(node.pattern)
        with self._certain(data_set_id, caller):
            sections = self._sections(data_set_id, caller)
            if hemisphere is None and not leaf:
                sections.places(structure)
                return Folder()
            place = sections.place(structure, hemisphere)
        to_root = "../" * node.pattern.count("/")
        match leaf:
            case "":
                return Folder()
            case tree.CLOSEST:
                return Link(to_root + place.section_path)
            case tree.WHERE_FILE:
                data_set = self._data_set(data_set_id, caller)
                structures = self._ontology.structures(caller)
                newest_ns = max(data_set.fetched_ns, structures.fetched_ns)
                return structure_documents.where(place, newest_ns)
        (size,) = sizes
        return Link(to_root + place.region_path(int(size.removesuffix("mm"))))

    def _in_gene(self, node: PatternNode, caller: Caller) -> Entry:
        product, gene, name, *planes_and_ids = node.arguments
        structure = self._ontology.find(name, caller)
        if planes_and_ids:
            (plane_and_id,) = planes_and_ids
            found = self._gene_sections(product, gene, caller)
            sections = found.get(plane_and_id, f"gene {gene} has no {plane_and_id}")
            if isinstance(sections, str):
                raise PathNotFoundError(sections)
            data_set_id = _id_of(plane_and_id)
            with self._certain(data_set_id, caller):
                sections.places(structure)  # raises if there are none
        else:
            places = self._gene_places(product, gene, structure, caller)
            if node.pattern == tree.GENE_STRUCTURE:
                return Folder()
            best = min(places.values(), key=_rank)
            data_set_id = next(iter(best.values())).data_set_id
        acronym = self._ontology.path_name(structure, caller)
        target = f"dataset/{data_set_id}/structure/{acronym}"
        return Link("../" * node.pattern.count("/") + target)

    def _gene_link(self, name: str, gene: str, caller: Caller) -> Link:
        structure = self._ontology.find(name, caller)
        self._gene_places(_PRODUCT, gene, structure, caller)
        acronym = self._ontology.path_name(structure, caller)
        return Link(
            f"../../../browse/product/{_PRODUCT}/gene/{path_name(gene)}"
            f"/structure/{acronym}"
        )

    def _known_genes(self, name: str, caller: Caller) -> list[str]:
        """Return the genes that were looked up before and show the structure.

        Not all 20 000: `ls` follows each link to colour it, which takes a query.
        """
        structure, prefix = self._ontology.find(name, caller), f"{_PRODUCT}/"
        names = self._cache.names(lists.GENE_SECTIONS)
        genes = (one.removeprefix(prefix) for one in names if one.startswith(prefix))
        return path_names(gene for gene in genes if self._is_known(gene, structure))

    def _is_known(self, gene: str, structure: Structure) -> bool:
        """Whether a gene shows a structure, according to cached records alone."""
        listed = self._cache.any(lists.gene_sections(_PRODUCT, gene))
        by_plane = listed.record if listed else {}
        for data_set_id in itertools.chain(*by_plane.values()):
            cached = self._cache.any(queries.data_set(data_set_id))
            if cached is not None and cached.record is not None:
                with contextlib.suppress(PathNotFoundError):
                    if AlignedSections(data_set_id, cached.record).has(structure):
                        return True
        return False

    def _gene_places(
        self, product: str, gene: str, structure: Structure, caller: Caller
    ) -> dict[str, dict[Hemisphere | None, Place]]:
        """Return the places of a structure in the data sets of a gene.

        PathNotFoundError, with the reasons, if there is none; WrongAnswerError if there
        is none in a record that seems to be incomplete.
        """
        places, reasons = {}, []
        for name, sections in self._gene_sections(product, gene, caller).items():
            if isinstance(sections, str):
                reasons.append(sections)
                continue
            try:
                with self._certain(_id_of(name), caller):
                    places[name] = sections.places(structure)
            except PathNotFoundError as error:
                reasons.append(str(error))
        if not places:
            more = len(reasons) - _MAX_REASONS
            shown = "; ".join(reasons[:_MAX_REASONS])
            raise PathNotFoundError(
                f"no data set of {gene} in product {product} shows the centre of "
                f"{structure.acronym}: {shown}{f'; and {more} more' * (more > 0)}"
            )
        return places

    def _gene_sections(
        self, product: str, gene: str, caller: Caller
    ) -> dict[str, AlignedSections | str]:
        """Return the sections of each data set of a gene, by ``PLANE-ID``.

        In place of those that have no alignment, the reason. PathNotFoundError if the
        gene has no data sets.
        """
        by_plane = self._browser.sections(product, gene, caller)
        if not by_plane:
            _deny_gene(product, gene)
        return {
            f"{plane}-{data_set_id}": self._sections_or_reason(data_set_id, caller)
            for plane, data_set_ids in by_plane.items()
            for data_set_id in data_set_ids
        }

    def _sections_or_reason(
        self, data_set_id: int, caller: Caller
    ) -> AlignedSections | str:
        try:
            return self._sections(data_set_id, caller)
        except PathNotFoundError as error:
            return str(error)

    def _covered(self, aligned: Iterable[AlignedSections], caller: Caller) -> list[str]:
        """Return the names of the structures whose centre any data set shows."""
        structures, aligned = self._ontology.structures(caller).record, list(aligned)

        def covered() -> Iterator[str]:
            for structure in structures.by_id.values():
                if any(one.has(structure) for one in aligned):
                    yield structures.name_of(structure)

        return path_names(covered())

    def _data_set(self, data_set_id: int, caller: Caller) -> CachedRecord[Collection]:
        return self._repository.existing(queries.data_set(data_set_id), caller)

    def _certain(
        self, data_set_id: int, caller: Caller
    ) -> contextlib.AbstractContextManager[None]:
        cached = self._data_set(data_set_id, caller)
        return certain(cached, f"the record of data set {data_set_id}")

    def _sections(self, data_set_id: int, caller: Caller) -> AlignedSections:
        collection = self._data_set(data_set_id, caller).record
        with self._certain(data_set_id, caller):
            sections = AlignedSections(data_set_id, collection)
        if collection.equalization is not None:
            if len(self.data_set_ids) > _MAX_SECTIONS:
                self.data_set_ids.clear()  # if it is too long, each is queried
            self.data_set_ids.update(dict.fromkeys(collection.images, data_set_id))
        return sections


def _rank(places: dict[Hemisphere | None, Place]) -> tuple[int, bool, float, int]:
    """Sorts the best data set first; of one orientation, those with a default place."""
    orientation, distance_um, data_set_id = next(iter(places.values())).rank
    return orientation, None not in places, distance_um, data_set_id


def _id_of(plane_and_id: str) -> int:
    return int(plane_and_id.rpartition("-")[2])


def _leaf(pattern: str) -> tuple[Hemisphere | None, str]:
    """Split what follows ``dataset/ID/structure/ACR``."""
    rest = pattern.split("/")[4:]
    hemisphere = None
    if rest and rest[0] in tree.HEMISPHERES:
        hemisphere = Hemisphere(rest.pop(0))
    return hemisphere, rest[0] if rest else ""


def _deny_gene(product: str, gene: str) -> NoReturn:
    raise PathNotFoundError(f"product {product} has no data sets of gene {gene!r}")
