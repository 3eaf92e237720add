"""Rows with nested rows, and the part of them on a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from allenfs.sample.schema import MODELS

if TYPE_CHECKING:
    from allenfs.sample.database import Entry, Row


@dataclass(slots=True)
class Joined:
    """A row, what is nested in it by association, and the joined rows this makes."""

    entry: Entry
    nested: dict[str, list[Joined | None]] = field(default_factory=dict)
    count: int = 1


def rows_of(joined: Joined, table: str) -> Iterator[Row]:
    """Yield the rows of a table in a row and everything below it."""
    if MODELS[joined.entry.model].table == table:
        yield joined.entry.row
    for nested in joined.nested.values():
        for below in nested:
            if below is not None:
                yield from rows_of(below, table)


def cut(rows: list[Joined], start: int, stop: int) -> list[Joined]:
    """Return the rows reduced to some of their joined rows."""
    kept = []
    at = 0
    for joined in rows:
        left = _cut_one(joined, start - at, stop - at)
        if left is not None:
            kept.append(left)
        at += joined.count
    return kept


def _cut_one(joined: Joined, start: int, stop: int) -> Joined | None:
    """Take the joined rows `start` to `stop` of one row, the last association fastest.

    A list is cut exactly if it is the only one with many rows, as in most queries;
    of several, the first ones keep what any of the joined rows needs.
    """
    start, stop = max(start, 0), min(stop, joined.count)
    if start >= stop:
        return None
    left = Joined(joined.entry, count=stop - start)
    inner = joined.count
    for name, nested in joined.nested.items():
        many = sum(below.count for below in nested if below is not None) or 1
        inner //= many
        first, last = start // inner, (stop - 1) // inner
        if first // many != last // many:
            first, last = 0, many - 1
        left.nested[name] = _cut_nested(nested, first % many, last % many + 1)
    return left


def _cut_nested(
    nested: list[Joined | None], start: int, stop: int
) -> list[Joined | None]:
    kept: list[Joined | None] = []
    at = 0
    for below in nested:
        if below is not None:
            left = _cut_one(below, start - at, stop - at)
            if left is not None:
                kept.append(left)
            at += below.count
        elif start <= at < stop:
            kept.append(None)
    return kept
