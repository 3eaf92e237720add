"""Every row of a query, whatever the service puts on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from allenfs.errors import WrongAnswerError
from allenfs.records import record_id

if TYPE_CHECKING:
    from allenfs.rma import Query, Row

# The institute's examples ask for no more at once.
PAGE_ROWS = 2000
# The longest list there is, the data sets of the mouse brain, has some 26 000.
_MAX_ROWS = 200_000


class Page(Protocol):
    """Asks the service for one page of a query."""

    def __call__(
        self, query: Query, *, start_row: int, num_rows: int
    ) -> list[Row | None]:
        """Return the page's rows, or raise a ServiceError."""


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


def all_rows(page: Page, query: Query) -> list[Row]:
    """Return every row, each once, whatever the size of the service's pages.

    total_rows is recorded to lie: the end is an empty page, or the same page
    again (of a service that does not know start_row). Where associations are
    included, the service may count joined rows: pages then overlap, and cut the
    lists that are nested in their first and last row.
    """
    found: dict[int | None, Row] = {}
    start_row = 0
    last: list[Row | None] = []
    while rows := page(query, start_row=start_row, num_rows=PAGE_ROWS):
        if rows == last and any(rows):
            break
        start_row, last = start_row + len(rows), rows
        for row in rows:
            if row is not None:
                row_id = record_id(row)
                found[row_id] = _together(found.get(row_id, row), row)
        if start_row > _MAX_ROWS:
            msg = f"more than {_MAX_ROWS} rows of {query.model}"
            raise WrongAnswerError(msg)
    found.pop(None, None)  # rows without an id
    return list(found.values())


def _together(row: Row, again: Row) -> Row:
    """Bring the lists together that the edges of pages have cut."""
    if row == again:
        return row
    cut = {
        name: row[name] + [one for one in nested if one not in row[name]]
        for name, nested in again.items()
        if isinstance(nested, list) and isinstance(row.get(name), list)
    }
    return row | cut


def completed(page: Page, query: Query, nested: list[Row]) -> list[Row]:
    """Return all images, given those that came nested in another row.

    The service is asked for what comes behind as many rows, mostly nothing. If
    there is more, nested and further rows are all there are, unless some are
    the same: then the nested ones were not the first ones.
    """
    found = {record_id(row): row for row in nested if record_id(row) is not None}
    start_row = len(found)
    while rows := page(query, start_row=start_row, num_rows=PAGE_ROWS):
        start_row += len(rows)
        fresh = {record_id(row): row for row in rows if row is not None}
        if fresh.keys() & found.keys() or len(fresh) < len(rows):
            return all_rows(page, query)
        found.update(fresh)
    found.pop(None, None)
    return list(found.values())
