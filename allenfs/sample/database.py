"""The rows of the sample database, and the links between them."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from allenfs.sample.schema import MODELS, Association, concrete, find_association

Value = str | int | float | bool | None
Row = dict[str, Value]


class Entry(NamedTuple):
    """A row and its model."""

    model: str
    row: Row


class Database:
    """Tables in memory. Fill it before a service uses it; then it is read-only."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[int, Row]] = {
            model: {} for model in MODELS if not MODELS[model].parts
        }
        self._last_ids: dict[str, int] = {}
        #: per table of pairs: from the first id to the second ones, and back
        self._links: dict[str, tuple[dict[int, list[int]], dict[int, list[int]]]] = {}
        self._nulls: dict[tuple[str, int, str], list[int]] = {}
        #: ids of a model's rows by the value of one of its fields; made when needed
        self._indexes: dict[tuple[str, str], dict[Value, list[int]]] = {}

    def copy(self) -> Database:
        """Return a copy; rows are shared, because they are never modified."""
        other = Database()
        other._tables = {model: dict(rows) for model, rows in self._tables.items()}
        other._last_ids = dict(self._last_ids)
        other._links = {
            name: (_copied(forth), _copied(back))
            for name, (forth, back) in self._links.items()
        }
        other._nulls = {key: list(places) for key, places in self._nulls.items()}
        return other

    def add(self, model: str, **fields: Value) -> int:
        """Add a row, or replace the one with that id; return its id.

        Fields that are not given are null. Without an `id` the row gets the next one.

        Raises
        ------
        KeyError
            No such model.
        ValueError
            No such field.
        """
        rows = self._tables[model]
        unknown = fields.keys() - set(MODELS[model].fields)
        if unknown:
            raise ValueError(f"{model} has no {', '.join(sorted(unknown))}")
        row_id = fields.get("id")
        if not isinstance(row_id, int):
            row_id = self._last_ids.get(model, 0) + 1
        self._last_ids[model] = max(row_id, self._last_ids.get(model, 0))
        rows[row_id] = {**dict.fromkeys(MODELS[model].fields), **fields, "id": row_id}
        self._forget_indexes(model)
        return row_id

    def change(self, model: str, row_id: int, **fields: Value) -> None:
        """Give some fields of a row other values."""
        self.add(model, **{**self._tables[model][row_id], **fields})

    def remove(self, model: str, row_id: int) -> None:
        """Remove a row; links to it then lead to nothing."""
        del self._tables[model][row_id]
        self._forget_indexes(model)

    def link(self, model: str, row_id: int, association: str, other_id: int) -> None:
        """Pair two rows in a many-to-many association, in both directions."""
        found = find_association(model, association)
        if found is None or not found.link:
            raise ValueError(f"{model}.{association} is not a table of pairs")
        empty: dict[int, list[int]] = defaultdict(list)
        tables = self._links.setdefault(found.link, (empty, defaultdict(list)))
        tables[found.side][row_id].append(other_id)
        tables[1 - found.side][other_id].append(row_id)

    def add_null(self, model: str, row_id: int, association: str, place: int) -> None:
        """Let the nested list of one row hold a null at that place, as recorded."""
        self._nulls.setdefault((model, row_id, association), []).append(place)

    def rows(self, model: str) -> Iterator[Entry]:
        """Yield the rows of a model in the order in which they were added."""
        for part in concrete(model):
            for row in tuple(self._tables[part].values()):
                yield Entry(part, row)

    def get(self, model: str, row_id: int) -> Entry | None:
        """Return the row with that id, or None."""
        for part in concrete(model):
            row = self._tables[part].get(row_id)
            if row is not None:
                return Entry(part, row)
        return None

    def related(self, entry: Entry, association: str) -> list[Entry | None]:
        """Return the rows that one row links to, including nulls.

        Empty if the row's own model has no such association: a row of a model with
        parts may lack what another part has.
        """
        found = find_association(entry.model, association)
        if found is None:
            return []
        related: list[Entry | None] = [
            other
            for other_id in self._related_ids(entry.row, found)
            if (other := self.get(found.target, other_id)) is not None
        ]
        row_id = entry.row["id"]
        if self._nulls and isinstance(row_id, int):
            for place in self._nulls.get((entry.model, row_id, association), ()):
                related.insert(place, None)
        return related

    def _related_ids(self, row: Row, association: Association) -> list[int]:
        if association.field:
            value = row[association.field]
            return [value] if isinstance(value, int) else []
        row_id = row["id"]
        if association.link and isinstance(row_id, int):
            tables = self._links.get(association.link)
            return tables[association.side].get(row_id, []) if tables else []
        return self._index(association.target, association.target_field).get(row_id, [])

    def _index(self, model: str, field: str) -> dict[Value, list[int]]:
        index = self._indexes.get((model, field))
        if index is None:
            index = defaultdict(list)
            for row_id, row in self._tables[model].items():
                index[row[field]].append(row_id)
            self._indexes[model, field] = index
        return index

    def _forget_indexes(self, model: str) -> None:
        if self._indexes:
            stale = [key for key in self._indexes if key[0] == model]
            for key in stale:
                del self._indexes[key]


def _copied(links: dict[int, list[int]]) -> dict[int, list[int]]:
    return defaultdict(list, {row_id: list(ids) for row_id, ids in links.items()})


def facet(text: str) -> int:
    """Return the number of a text in a facet, computed like every recorded one."""
    return zlib.crc32(text.encode())
