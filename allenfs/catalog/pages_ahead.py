"""Request the pages of a long list side by side."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from allenfs.catalog.paging import PAGE_ROWS
from allenfs.errors import ProcessLimitError
from allenfs.service.single_flight import SingleFlight
from allenfs.service.slots import Priority

if TYPE_CHECKING:
    from allenfs.service.rma import NumRows, Query, Rows

    _Place = tuple[Query, int, NumRows]


class PagesAhead:
    """The pages of one question, requested in order or ahead of their reader.

    The first page of a list tells where the others begin, if `total_rows` is right and
    all pages have the same length. They are requested ahead, and a page is used only
    if it begins where the reader goes on. If one does not, the rest is requested one
    after the other. So the reader always gets the pages that it would get without
    requests ahead; at most `connections` pages are requested in vain.

    Pages ahead queue with images: a program that opens an image meanwhile waits for one
    slot, not for the whole list.

    Parameters
    ----------
    page : callable
        Requests one page with a priority.
    connections : int
        The maximum number of pages that are requested ahead and not read yet.
    """

    def __init__(
        self, page: Callable[[Query, int, NumRows, Priority], Rows], connections: int
    ) -> None:
        self._page = page
        self._connections = connections
        self._flights: SingleFlight[_Place, Rows] = SingleFlight()
        self._ahead: dict[_Place, Future[Rows]] = {}
        self._places: Iterator[_Place] = iter(())  # of the pages not yet requested

    def __call__(self, query: Query, start_row: int, num_rows: NumRows) -> Rows:
        """Return a page; raises what `page` raises, for this page alone."""
        place = query, start_row, num_rows
        rows = None
        if place in self._ahead:
            # without a thread, it is requested now
            with contextlib.suppress(ProcessLimitError):
                rows = self._ahead.pop(place).result()
        else:
            self._ahead, self._places = {}, iter(())
        if rows is None:
            rows = self._page(*place, Priority.QUERY)
        if not start_row and _is_list(query, num_rows):
            self._places = ((query, one, num_rows) for one in _further_starts(rows))
        for ahead in itertools.islice(
            self._places, self._connections - len(self._ahead)
        ):
            work = functools.partial(self._page, *ahead, Priority.IMAGE)
            self._ahead[ahead] = self._flights.start(ahead, work)
        return rows


def _is_list(query: Query, num_rows: NumRows) -> bool:
    """Whether all pages of a query will be read, and `total_rows` counts their rows."""
    return bool(query.order) and query.counts_rows and num_rows == PAGE_ROWS


def _further_starts(first: Rows) -> Iterator[int]:
    """Yield the first row of each further page; the last one should be empty."""
    length, total_rows = len(first), first.total_rows
    if 0 < length < total_rows:
        yield from range(length, total_rows, length)
        yield total_rows
