"""Every row of a query, whatever the service puts on a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from allenfs.errors import WrongAnswerError
from allenfs.model.records import record_id, slim

if TYPE_CHECKING:
    from allenfs.model.records import Row
    from allenfs.service.rma import Query

# The institute's examples ask for no more at once.
PAGE_ROWS = 2000
# The longest list there is, the data sets of the mouse brain, has some 26 000: with
# what is kept of a row, 30 to 150 characters of JSON, that is 1 MB.
_MAX_ROWS = 200_000
_MAX_LIST_CHARS = 4 * 2**20
# A record without its images has some kB; each look at its `info.json` writes it.
_MAX_RECORD_CHARS = 2**20


class Page(Protocol):
    """Asks the service for one page of a query."""

    def __call__(
        self, query: Query, *, start_row: int, num_rows: int
    ) -> list[Row | None]:
        """Return the page's rows, or raise a ServiceError."""


class _Cut:
    """Cuts the rows of one list down to some fields, and ends what is too long."""

    def __init__(self, query: Query, fields: tuple[str, ...]) -> None:
        self._query = query
        self._fields = fields
        self._rows = 0
        self._chars = 0

    def __call__(self, rows: list[Row] | list[Row | None]) -> list[Row | None]:
        cut = [row and slim(row, self._fields) for row in rows]
        self._rows += len(cut)
        if self._rows > _MAX_ROWS:
            msg = f"more than {_MAX_ROWS} rows of {self._query.model}"
            raise WrongAnswerError(msg)
        self._chars += len(json.dumps(cut))
        if self._chars > _MAX_LIST_CHARS:
            msg = f"rows of {self._query.model} of more than {_MAX_LIST_CHARS} bytes"
            raise WrongAnswerError(msg)
        return cut


def bounded(row: Row | None) -> Row | None:
    """Return a record that is kept whole.

    Raises
    ------
    WrongAnswerError
        It is larger than any that there is.
    """
    if len(json.dumps(row)) > _MAX_RECORD_CHARS:
        msg = f"a record of more than {_MAX_RECORD_CHARS} bytes"
        raise WrongAnswerError(msg)
    return row


def one_row(page: Page, query: Query, row_id: int) -> Row | None:
    """Return the row of that id; None where the service finds none.

    A full page is asked for: whether rows that come nested in it count is not
    known (total_rows is recorded to count them).

    Raises
    ------
    WrongAnswerError
        There are rows, but not this one: that says nothing about it.
    """
    rows = page(query, start_row=0, num_rows=PAGE_ROWS)
    for row in rows:
        if row is not None and record_id(row) == row_id:
            return row
    if rows:
        msg = f"{len(rows)} rows of {query.model}, and none of id {row_id}"
        raise WrongAnswerError(msg)
    return None


def first_rows(
    page: Page, query: Query, num_rows: int, fields: tuple[str, ...]
) -> list[Row]:
    """Return some rows, those that a first page has, with these `fields`."""
    rows = _Cut(query, fields)(page(query, start_row=0, num_rows=num_rows))
    return [row for row in rows if row is not None]


def all_rows(page: Page, query: Query, fields: tuple[str, ...]) -> list[Row]:
    """Return every row, each once, whatever the size of the service's pages.

    total_rows is recorded to lie: the end is an empty page, or the same page
    again (of a service that does not know start_row). Where associations are
    included, the service may count joined rows: pages then overlap, and cut the
    lists that are nested in their first and last row.
    """
    cut = _Cut(query, ("id", *fields))
    found: dict[int | None, Row] = {}
    again: set[int | None] = set()
    start_row = 0
    last: list[Row | None] = []
    while rows := cut(page(query, start_row=start_row, num_rows=PAGE_ROWS)):
        if rows == last and any(rows):
            break
        start_row, last = start_row + len(rows), rows
        for row in filter(None, rows):
            row_id = record_id(row)
            if row_id not in found:
                found[row_id] = slim(row, row)  # lists of its own, to be extended
            elif row_id is not None:
                again.add(row_id)
                _extend(found[row_id], row)
    found.pop(None, None)  # rows without an id
    for row_id in again:
        _remove_repetitions(found[row_id])
    return list(found.values())


def _extend(row: Row, again: Row) -> None:
    """Bring the lists together that the edges of pages have cut."""
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

    The service is asked for what comes behind as many rows, mostly nothing. If
    there is more, nested and further rows are all there are, unless some are
    the same: then the nested ones were not the first ones.
    """
    cut = _Cut(query, ("id", *fields))
    found: dict[Any, Row] = {
        record_id(row): row for row in filter(None, cut(nested)) if record_id(row)
    }
    start_row = len(found)
    while rows := cut(page(query, start_row=start_row, num_rows=PAGE_ROWS)):
        start_row += len(rows)
        fresh = {record_id(row): row for row in rows if row is not None}
        if fresh.keys() & found.keys() or len(fresh) < len(rows):
            return all_rows(page, query, fields)
        found.update(fresh)
    found.pop(None, None)
    return list(found.values())
