"""Long lists side by side: the rows of one page after the other, whatever is said."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from catalog_world import World
from hypothesis import given, settings
from hypothesis import strategies as st
from no_threads import no_threads

from allenfs.catalog import lists
from allenfs.catalog.pages_ahead import PagesAhead
from allenfs.catalog.paging import all_rows, completed
from allenfs.config import ServiceSettings
from allenfs.errors import ServiceError, UnreachableError, WrongAnswerError
from allenfs.model.rows import Row
from allenfs.sample.database import Database
from allenfs.sample.inventing import add_genes
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.rma import Query, Rows
from allenfs.service.single_flight import NOT_INTERRUPTED
from allenfs.service.slots import Priority, Slots

PATIENCE_S = 30
CONNECTIONS = 4
QUERY = Query("Gene", order="genes.id")
NAMES = [f"Gene{number:02}" for number in range(64)]


@dataclass
class Liar:
    """A service of rows by place; all but `ids` may differ from page to page.

    `lengths` are those of pages, `steps_back` the rows that a page repeats, `ranks` who
    is answered first of those that wait, `broken` the first rows of failing pages.
    """

    ids: list[int | None]
    total_rows: int
    lengths: list[int]
    steps_back: list[int]
    ranks: list[int]
    broken: set[int]

    def __post_init__(self) -> None:
        self.asked: list[int] = []
        self._waiting: list[tuple[int, int]] = []
        self._changed = threading.Condition()

    def in_order(self, query: Query, start_row: int, num_rows: object) -> Rows:
        self.asked.append(start_row)
        if start_row in self.broken:
            raise UnreachableError(str(start_row))
        length = self.lengths[start_row % len(self.lengths)]
        start = max(0, start_row - self.steps_back[start_row % len(self.steps_back)])
        rows: list[Row | None] = [
            None if one is None else {"id": one, "nested": [{"acronym": str(place)}]}
            for place, one in enumerate(self.ids)
        ]
        page = Rows(rows[start : start + length])
        page.total_rows = self.total_rows
        return page

    def by_rank(
        self, query: Query, start_row: int, num_rows: object, priority: Priority
    ) -> Rows:
        me = self.ranks[start_row % len(self.ranks)], start_row
        with self._changed:
            self._waiting.append(me)
            self._changed.wait_for(lambda: min(self._waiting) == me)
        try:
            return self.in_order(query, start_row, num_rows)
        finally:
            with self._changed:
                self._waiting.remove(me)
                self._changed.notify_all()


def few(least: int, most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(least, most), min_size=1, max_size=4)


liars = st.builds(
    Liar,
    ids=st.lists(st.none() | st.integers(1, 30), max_size=40),
    total_rows=st.integers(0, 50) | st.just(10**9),
    lengths=few(1, 9),
    steps_back=st.just([0]) | few(0, 3),
    ranks=few(0, 9),
    broken=st.sets(st.integers(0, 40), max_size=2),
)


def outcome(read: Callable[[Any], list[Row]], page: Any) -> list[Row] | str:
    try:
        return read(page)
    except ServiceError as error:
        return str(error)


@settings(max_examples=250, deadline=None)
@given(liars, st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_rows_are_those_of_one_page_after_the_other(liar, connections, nested, is_all):
    def read(page: Any) -> list[Row]:
        if is_all:
            return all_rows(page, QUERY, ("nested",))
        return completed(page, QUERY, [{"id": one + 1} for one in range(nested)], ())

    expected = outcome(read, liar.in_order)
    in_order, liar.asked = liar.asked, []
    assert outcome(read, PagesAhead(liar.by_rank, connections)) == expected
    assert {*in_order} <= {*liar.asked}
    read_lists = max(1, in_order.count(0))
    assert len(liar.asked) <= len(in_order) + read_lists * connections


@settings(max_examples=50, deadline=None)
@given(liars, st.integers(1, 9))
def test_an_honest_service_gets_the_requests_of_one_page_after_the_other(liar, length):
    liar.lengths, liar.steps_back, liar.broken = [length], [0], set()
    liar.total_rows, liar.ids = len(liar.ids), [*range(1, len(liar.ids) + 1)]
    rows = all_rows(PagesAhead(liar.by_rank, CONNECTIONS), QUERY)
    assert rows == [{"id": one} for one in liar.ids]
    assert sorted(liar.asked) == [*range(0, len(liar.ids), length), len(liar.ids)]


@pytest.mark.parametrize("after", [0, 2])
def test_without_threads_pages_are_requested_one_after_the_other(after):
    liar = Liar([*range(1, 30)], 29, [7], [0], [0], set())
    with no_threads(after=after):
        rows = all_rows(PagesAhead(liar.by_rank, CONNECTIONS), QUERY)
    assert len(rows) == 29
    assert sorted(liar.asked) == [0, 7, 14, 21, 28, 29]


@pytest.mark.parametrize(
    ("query", "num_rows"),
    [
        (Query("Gene"), 2000),
        (Query("Gene", include="products", order="genes.id"), 2000),
        (QUERY, 20),
        (QUERY, "all"),
    ],
    ids=["without an order", "joined rows may count", "a few rows", "all at once"],
)
def test_no_page_is_requested_ahead_unless_it_is_needed_and_begins_there(
    query, num_rows
):
    liar = Liar([*range(1, 30)], 29, [7], [0], [0], {14})
    page = PagesAhead(liar.by_rank, CONNECTIONS)
    with no_threads() as refused:
        assert [len(page(query, start, num_rows)) for start in (0, 7)] == [7, 7]
    assert liar.asked == [0, 7]
    assert not refused


def test_an_open_meanwhile_waits_for_one_page_only():
    slots, waiting = Slots(CONNECTIONS), threading.Semaphore(0)
    gates = {start_row: threading.Event() for start_row in range(1, 10)}
    order: list[str] = []

    def page(
        query: Query, start_row: int, num_rows: object, priority: Priority
    ) -> Rows:
        with slots.at(priority):
            order.append(f"page {start_row}")
            waiting.release()
            assert not start_row or gates[start_row].wait(PATIENCE_S)
            found = Rows([{"id": start_row + 1}] if start_row < 9 else [])
            found.total_rows = 9
            return found

    def open_image() -> None:
        with slots.at(Priority.IMAGE):
            order.append("image")
            opened.release()
            assert may_end.wait(PATIENCE_S)

    opened, may_end = threading.Semaphore(0), threading.Event()
    ahead = PagesAhead(page, CONNECTIONS)
    reading = threading.Thread(target=all_rows, args=(ahead, QUERY))
    reading.start()
    for _ in range(1 + CONNECTIONS):  # the first one, and all slots
        assert waiting.acquire(timeout=PATIENCE_S)
    opening = [threading.Thread(target=open_image) for _ in range(2)]
    for thread in opening:
        thread.start()
    while len(slots.queue) < 2:
        assert reading.is_alive()
    gates[1].set()
    assert opened.acquire(timeout=PATIENCE_S)
    while len(slots.queue) < 2:  # the other open, and one more page
        assert reading.is_alive()
    for event in (may_end, *gates.values()):
        event.set()
    for thread in (*opening, reading):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert order[1 + CONNECTIONS :][:2] == ["image", "image"]


class Meeting(AllenService):
    """A client whose further pages have slots four at a time."""

    meet = threading.Barrier(CONNECTIONS)

    def page(self, query: Query, *, start_row: int, slot: Any, **options: Any) -> Rows:
        with slot:
            if start_row:
                self.meet.wait(PATIENCE_S)
            return super().page(query, start_row=start_row, **options)


def test_a_long_list_uses_all_connections_and_each_page_is_requested_once(tmp_path):
    database = Database()
    add_genes(database, NAMES, product=database.add("Product", abbreviation="P"))
    with SampleService(database=database, page_rows=8) as sample:
        world = World(sample.url, tmp_path)
        config = ServiceSettings(sample.url)
        world.use(Meeting(config), config)
        genes = world.repository.get(lists.genes("P"), NOT_INTERRUPTED).record
        assert sorted(genes) == NAMES
        assert sample.query_requests == len({*sample.queried}) == 1 + 8
        assert sample.peak_all_requests <= CONNECTIONS


def test_a_page_that_fails_is_the_failure_of_the_list_and_no_further_one_is_requested():
    liar = Liar([*range(1, 100)], 99, [3], [0], [0], {3})
    with pytest.raises(UnreachableError, match="3"):
        all_rows(PagesAhead(liar.by_rank, CONNECTIONS), QUERY)
    assert {*liar.asked} <= {0, 3, 6, 9, 12}


def test_a_list_without_end_is_wrong_whatever_its_total():
    def page(query: Query, start_row: int, num_rows: Any, priority: Priority) -> Rows:
        found = Rows([{"id": start_row + more + 1} for more in range(num_rows)])
        found.total_rows = 10**9
        return found

    with pytest.raises(WrongAnswerError, match="rows of Gene of more than"):
        all_rows(PagesAhead(page, CONNECTIONS), QUERY, ("nested",))
