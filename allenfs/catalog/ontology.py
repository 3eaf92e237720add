"""The directory `structure`: the structures of the adult mouse brain."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from allenfs.catalog import lists, structure_documents
from allenfs.catalog.entries import Entry, Folder
from allenfs.errors import PathNotFoundError, WrongAnswerError
from allenfs.model import tree
from allenfs.model.nodes import PatternNode
from allenfs.text import path_name, path_names

if TYPE_CHECKING:
    from allenfs.catalog.record_cache import CachedRecord
    from allenfs.catalog.repository import Repository
    from allenfs.model.structures import Structure, Structures
    from allenfs.service.single_flight import Caller


class Ontology:
    """Structures by name. Safe to use from many threads.

    Every method raises ServiceError if the query failed, or if a name is missing from
    a list that seems to be incomplete; PathNotFoundError for any other missing name.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def resolve(self, node: PatternNode, caller: Caller) -> Entry:
        """Return the entry of ``structure`` or a path below it."""
        match node:
            case PatternNode("structure/index.csv"):
                return structure_documents.index(self.structures(caller))
            case PatternNode("structure/ACR/info.json", (name,)):
                structure = self.find(name, caller)
                return structure_documents.info(structure, self.structures(caller))
            case PatternNode(_, (name,)):
                self.find(name, caller)
        return Folder()

    def names(self, caller: Caller) -> list[str]:
        """Return the names in ``structure``."""
        known = self.structures(caller).record
        names = map(known.name_of, known.by_id.values())
        return [tree.STRUCTURE_INDEX_FILE, *path_names(names)]

    def structures(self, caller: Caller) -> CachedRecord[Structures]:
        """Return all structures."""
        cached = self._repository.get(lists.structures(), caller)
        if not cached.record:
            raise WrongAnswerError("the service's list of structures is empty")
        return cached

    def find(self, name: str, caller: Caller) -> Structure:
        """Return the structure of an acronym, or ``ACRONYM~ID``."""
        structures = self.structures(caller)
        with certain(structures, "the list of structures"):
            return structures.record.find(name)

    def path_name(self, structure: Structure, caller: Caller) -> str:
        """Return the name of a structure in a path."""
        return path_name(self.structures(caller).record.name_of(structure)) or ""


@contextlib.contextmanager
def certain(cached: CachedRecord[Any], what: str) -> Iterator[None]:
    """Raise WrongAnswerError for an absence if rows or fields seem to be missing."""
    try:
        yield
    except PathNotFoundError as error:
        if not cached.is_suspect:
            raise
        raise WrongAnswerError(f"{what} is incomplete: {error}") from error
