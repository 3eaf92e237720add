"""The structures of the adult mouse brain: names, and centres in the reference spaces.

Rows of the model `Structure` in graph 1, with their `structure_centers`. Recorded: 1327
structures. Acronyms are unique there, but case-sensitive (two pairs differ only in
case); 61 contain a slash, 7 a space, 4 a comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from allenfs.errors import PathNotFoundError
from allenfs.model.geometry import Point
from allenfs.model.rows import Row, number, record_id, rows_of

# One of several structures that share an acronym.
_WITH_ID = re.compile(r"(.+)~([1-9][0-9]{0,17})", re.DOTALL)
_MAX_DEPTH = 1000
STRUCTURE_FIELDS = (
    *("id", "acronym", "name", "parent_structure_id", "color_hex_triplet", "depth"),
    "graph_order",
)
CENTRE_FIELDS = ("reference_space_id", "x", "y", "z")


class Structure(NamedTuple):
    """One structure.

    `color_hex_triplet` is six hex digits, and `depth` 0 for the root; "" and None if
    the record has no value. `centres_um` is by reference space.
    """

    structure_id: int
    acronym: str
    name: str
    parent_id: int | None
    color_hex_triplet: str
    depth: int | None
    centres_um: dict[int, Point]


@dataclass(frozen=True, slots=True)
class Structures:
    """All structures, in the order of the ontology."""

    by_id: dict[int, Structure]
    _by_acronym: dict[str, list[Structure]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for structure in self.by_id.values():
            self._by_acronym.setdefault(structure.acronym, []).append(structure)

    def __len__(self) -> int:
        return len(self.by_id)

    def name_of(self, structure: Structure) -> str:
        """Return its acronym, or ``ACRONYM~ID`` if another structure has it, too."""
        if len(self._by_acronym[structure.acronym]) == 1:
            return structure.acronym
        return f"{structure.acronym}~{structure.structure_id}"

    def find(self, name: str) -> Structure:
        """Return the structure of an acronym or ``ACRONYM~ID``.

        PathNotFoundError if there is none, or several have the acronym.
        """
        found = self._by_acronym.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(map(self.name_of, found))
            raise PathNotFoundError(f"several structures are called {name!r}: {names}")
        parts = _WITH_ID.fullmatch(name)
        structure = self.by_id.get(int(parts[2])) if parts else None
        if parts is None or structure is None or structure.acronym != parts[1]:
            raise PathNotFoundError(
                f"the adult mouse ontology has no structure {name!r}{self._hint(name)}"
            )
        return structure

    def _hint(self, name: str) -> str:
        folded = name.casefold()
        alike = [one for one in self._by_acronym if one.casefold() == folded]
        return f"; acronyms are case-sensitive: {', '.join(alike)}" if alike else ""


def read_structures(rows: Iterable[Row]) -> Structures:
    """Read rows of `Structure`; those without an id or acronym are skipped."""
    found = sorted(
        (_order(row), structure)
        for row in rows
        if (structure := _read_structure(row)) is not None
    )
    return Structures({one.structure_id: one for _, one in found})


def _order(row: Row) -> float:
    order = number(row.get("graph_order"))
    return float("inf") if order is None else order


def _read_structure(row: Row) -> Structure | None:
    structure_id, acronym = record_id(row), row.get("acronym")
    if structure_id is None or not isinstance(acronym, str) or not acronym:
        return None
    name, color_hex_triplet, depth = (
        row.get(key) for key in ("name", "color_hex_triplet", "depth")
    )
    return Structure(
        structure_id,
        acronym,
        name if isinstance(name, str) else "",
        record_id(row, "parent_structure_id"),
        color_hex_triplet if isinstance(color_hex_triplet, str) else "",
        depth if type(depth) is int and 0 <= depth < _MAX_DEPTH else None,
        _centres_um(row),
    )


def _centres_um(row: Row) -> dict[int, Point]:
    centres = {}
    for centre in rows_of(row.get("structure_centers")):
        space_id = record_id(centre, "reference_space_id")
        p_um, i_um, r_um = (number(centre.get(axis)) for axis in "xyz")
        if space_id is None or p_um is None or i_um is None or r_um is None:
            continue
        centres[space_id] = Point(p_um, i_um, r_um)
    return centres
