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
    included, the service may count joined rows: pages then overlap.
    """
    found: dict[int | None, Row] = {}
    start_row, last_ids = 0, None
    while rows := page(query, start_row=start_row, num_rows=PAGE_ROWS):
        ids = [record_id(row) for row in rows]
        if ids == last_ids:
            break
        found.update({record_id(row): row for row in rows if row is not None})
        start_row, last_ids = start_row + len(rows), ids
        if start_row > _MAX_ROWS:
            msg = f"more than {_MAX_ROWS} rows of {query.model}"
            raise WrongAnswerError(msg)
    found.pop(None, None)  # rows without an id
    return list(found.values())


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
