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


def one_row(page: Page, query: Query) -> Row | None:
    """Return the row of a query that finds one at most.

    A full page is asked for: whether rows that come nested in it count is not
    known (total_rows is recorded to count them).
    """
    rows = page(query, start_row=0, num_rows=PAGE_ROWS)
    return next((row for row in rows if row is not None), None)


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
        if rows == last:
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

    One request says whether there are more than those; only then are they
    asked for themselves.
    """
    by_id = {record_id(row): row for row in nested if record_id(row) is not None}
    rows = list(by_id.values())
    if not rows or page(query, start_row=len(rows), num_rows=1):
        rows = all_rows(page, query)
    return rows
