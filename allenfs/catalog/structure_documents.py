"""Documents about structures: the ontology, a place in a data set, expression."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from allenfs.catalog.documents import Document
from allenfs.catalog.lists import UNIONIZE_FIELDS
from allenfs.model import regions
from allenfs.model.rows import first_row, number
from allenfs.text import path_name

if TYPE_CHECKING:
    from allenfs.catalog.record_cache import CachedRecord
    from allenfs.model.regions import Place
    from allenfs.model.rows import Row
    from allenfs.model.structures import Structure, Structures

# The reference spaces that have columns: P56, and the same mirrored.
_SPACES = (9, 10)
_INDEX_COLUMNS = (
    *("structure_id", "acronym", "name", "directory"),
    *("parent_id", "parent_acronym", "depth", "color_hex_triplet"),
    *(f"{axis}_um_space_{space}" for space in _SPACES for axis in "pir"),
)


def index(structures: CachedRecord[Structures]) -> Document:
    """Return one line for each structure, in the order of the ontology.

    ``directory`` is its name below ``structure``. A centre is in the columns of its
    reference space; a cell is empty if the record has no value.
    """
    known = structures.record

    def lines() -> Iterable[Iterable[Any]]:
        for one in known.by_id.values():
            parent = known.by_id.get(one.parent_id or 0)
            yield (
                *(one.structure_id, one.acronym, one.name),
                path_name(known.name_of(one)),
                *(
                    one.parent_id,
                    parent and parent.acronym,
                    one.depth,
                    one.color_hex_triplet,
                ),
                *(
                    um
                    for space in _SPACES
                    for um in one.centres_um.get(space, [""] * 3)
                ),
            )

    return _table(_INDEX_COLUMNS, lines(), structures.fetched_ns)


def info(structure: Structure, structures: CachedRecord[Structures]) -> Document:
    """Return a structure as JSON, with its centres by reference space."""
    parent = structures.record.by_id.get(structure.parent_id or 0)
    content = {
        "id": structure.structure_id,
        "acronym": structure.acronym,
        "name": structure.name,
        "parent_id": structure.parent_id,
        "parent_acronym": parent.acronym if parent else None,
        "depth": structure.depth,
        "color_hex_triplet": structure.color_hex_triplet,
        "centres": [
            {"reference_space_id": space_id, **centre._asdict()}
            for space_id, centre in sorted(structure.centres_um.items())
        ],
    }
    return _json(content, structures.fetched_ns)


def where(place: Place, fetched_ns: int) -> Document:
    """Return a place as JSON."""
    return _json(regions.where(place), fetched_ns)


def unionizes(found: CachedRecord[dict[int, Row]]) -> Document:
    """Return one line for each structure in a data set, the highest energy first.

    The numbers are those of the service's StructureUnionize; pixels are at full
    resolution. ``graph_id`` is the ontology: 1 for the adult mouse.
    """

    def energy(row: Row) -> float:
        return number(row.get("expression_energy")) or 0.0

    def lines() -> Iterable[Iterable[Any]]:
        for row in sorted(found.record.values(), key=energy, reverse=True):
            structure = first_row(row.get("structure"))
            names = (structure.get(key) for key in ("graph_id", "acronym", "name"))
            numbers = (number(row.get(field)) for field in UNIONIZE_FIELDS)
            yield (
                row.get("structure_id"),
                *names,
                *("" if one is None else f"{one:.12g}" for one in numbers),
            )

    columns = ("structure_id", "graph_id", "acronym", "name", *UNIONIZE_FIELDS)
    return _table(columns, lines(), found.fetched_ns)


def _table(
    columns: Iterable[str], lines: Iterable[Iterable[Any]], fetched_ns: int
) -> Document:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return Document(table.getvalue().encode(errors="backslashreplace"), fetched_ns)


def _json(content: dict[str, Any], fetched_ns: int) -> Document:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return Document(text.encode(errors="backslashreplace") + b"\n", fetched_ns)
