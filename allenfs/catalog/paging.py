"""Fetch all rows of a query, whatever the service's page size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from allenfs.errors import WrongAnswerError
from allenfs.model.rows import record_id, slim
from allenfs.service.rma import ALL_ROWS

if TYPE_CHECKING:
    from allenfs.model.rows import Row
    from allenfs.service.rma import NumRows, Query, Rows

    Page = Callable[[Query, int, NumRows], Rows]

# The most that the institute's examples request at once.
PAGE_ROWS = 2000
# The longest list, the data sets of the mouse brain, has about 26 000 rows. At 30 to
# 150 characters of JSON kept per row, that is 1 MB.
_MAX_LIST_CHARS = 4 * 2**20
# A record without its images has a few kB; each access to `info.json` serializes it.
_MAX_RECORD_CHARS = 2**20


class _Cut:
    """Reduces the rows of a list; rejects lists that are too long."""

    def __init__(
        self,
        query: Query,
        fields: tuple[str, ...],
        reduced: Callable[[Row], Row] | None = None,
    ) -> None:
        self._query = query
        self._reduced = reduced or (lambda row: slim(row, fields))
        self._chars = 0

    def __call__(self, rows: list[Row] | list[Row | None]) -> list[Row | None]:
        cut = [row and self._reduced(row) for row in rows]
        self._chars += len(json.dumps(cut))
        if self._chars > _MAX_LIST_CHARS:
            raise WrongAnswerError(
                f"rows of {self._query.model} of more than {_MAX_LIST_CHARS} bytes"
            )
        return cut


def bounded(row: Row | None) -> Row | None:
    """Return a record; raises WrongAnswerError if it is larger than any real one."""
    if len(json.dumps(row)) > _MAX_RECORD_CHARS:
        raise WrongAnswerError(f"a record of more than {_MAX_RECORD_CHARS} bytes")
    return row


def one_row(page: Page, query: Query, row_id: int) -> Row | None:
    """Return the row with this id; None if the service has none.

    A full page is requested, because nested rows may count towards the page
    (total_rows was recorded to count them).

    Raises WrongAnswerError if the answer has rows, but not this one, which may exist.
    """
    rows = page(query, 0, PAGE_ROWS)
    for row in rows:
        if row is not None and record_id(row) == row_id:
            return row
    if rows:
        raise WrongAnswerError(
            f"{len(rows)} rows of {query.model}, none with id {row_id}"
        )
    return None


def first_rows(
    page: Page, query: Query, num_rows: int, fields: tuple[str, ...]
) -> list[Row]:
    """Return the rows of the first page, reduced to these `fields`."""
    rows = _Cut(query, fields)(page(query, 0, num_rows))
    return [row for row in rows if row is not None]


def all_rows(
    page: Page,
    query: Query,
    fields: tuple[str, ...] = (),
    reduced: Callable[[Row], Row] | None = None,
    *,
    at_once: bool = False,
) -> list[Row]:
    """Return every row once, whatever the service's page size.

    `reduced` replaces `fields`, to keep more of a row. `at_once` requests all rows in
    one answer, as clients do with lists of a few thousand rows; no other page follows
    if it has as many rows as the service announces.

    total_rows was recorded to be wrong, so the end is an empty page, or the same page
    again (from a service that ignores start_row). With included associations the
    service may count joined rows: pages then overlap, and truncate the lists nested
    in their first and last row.
    """
    cut = _Cut(query, ("id", *fields), reduced)
    if reduced is None:
        query = replace(query, fields=("id", *fields))
    found: dict[int | None, Row] = {}
    again: set[int | None] = set()
    start_row = 0
    last: list[Row | None] = []
    is_complete = False
    while not is_complete:
        answer = page(query, start_row, ALL_ROWS if at_once else PAGE_ROWS)
        rows = cut(answer)
        if not rows or (rows == last and any(rows)):
            break
        start_row, last = start_row + len(rows), rows
        is_complete = at_once and 0 < answer.total_rows <= start_row
        for row in filter(None, rows):
            row_id = record_id(row)
            if row_id not in found:
                found[row_id] = {  # its lists may be extended
                    name: [*nested] if isinstance(nested, list) else nested
                    for name, nested in row.items()
                }
            elif row_id is not None:
                again.add(row_id)
                _extend(found[row_id], row)
    found.pop(None, None)  # rows without an id
    for row_id in again:
        _remove_repetitions(found[row_id])
    return list(found.values())


def _extend(row: Row, again: Row) -> None:
    """Merge the lists that page boundaries have split."""
    for name, nested in again.items():
        there = row.get(name)
        if isinstance(nested, list) and isinstance(there, list):
            there.extend(nested)


def _remove_repetitions(row: Row) -> None:
    for name, nested in row.items():
        if isinstance(nested, list):
            row[name] = list({json.dumps(one): one for one in nested}.values())


def completed(
    page: Page, query: Query, nested: list[Row], fields: tuple[str, ...]
) -> list[Row]:
    """Return all images, given those that came nested in another row.

    The rows after the nested ones are requested; usually there are none. If there are
    any, both parts together are complete, unless they have rows in common: then the
    nested rows were not the first ones.
    """
    query = replace(query, fields=("id", *fields))
    cut = _Cut(query, query.fields)
    found: dict[Any, Row] = {
        record_id(row): row for row in filter(None, cut(nested)) if record_id(row)
    }
    start_row = len(found)
    while rows := cut(page(query, start_row, PAGE_ROWS)):
        start_row += len(rows)
        fresh = {record_id(row): row for row in rows if row is not None}
        if fresh.keys() & found.keys() or len(fresh) < len(rows):
            return all_rows(page, query, fields)
        found.update(fresh)
    found.pop(None, None)
    return list(found.values())
