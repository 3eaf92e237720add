"""What is read ahead, what is not, and that no open waits for it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fetcher_doubles import FIRST_ID, AheadBench, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import image_bytes, put, store_at
from waiters import PATIENCE_S, Waiters

from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ExhaustedError,
    ImageNotFoundError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.service.slots import Priority


def raising(error):
    def fail(*_):
        raise error

    return fail


@pytest.fixture
def bench(tmp_path):
    return AheadBench(tmp_path, length=100, capacity_bytes=2**33)


# The window


@pytest.mark.parametrize("step", [1, -1])
def test_two_neighbours_are_enough_and_the_window_doubles(bench, step):
    here = 20
    assert bench.read(here) == set()
    assert bench.read(here + step) == {here + n * step for n in (2, 3)}
    # 2, then 4, then 8 ahead of the reader
    assert bench.read(here + 2 * step) == {here + n * step for n in (4, 5, 6)}
    assert bench.read(here + 3 * step) == {here + n * step for n in range(7, 12)}
    assert bench.read(here + 4 * step) == {here + 12 * step}


@pytest.mark.parametrize("max_window", [1, 3])
def test_the_window_has_its_limit(tmp_path, max_window):
    bench = AheadBench(tmp_path, max_window=max_window, capacity_bytes=2**33)
    for place in range(40):
        assert bench.read(place) <= {place + n + 1 for n in range(max_window)}
    assert bench.fetched == dict.fromkeys(range(40), 1)


@pytest.mark.parametrize("order", [range(100), range(99, -1, -1)])
def test_a_listing_in_order_is_fetched_once_each(bench, order):
    for place in order:
        bench.open(place)
    bench.settle()
    assert bench.fetched == dict.fromkeys(range(100), 1)


def test_a_jump_costs_two_more_at_most(bench):
    assert bench.read(10, 11) == {12, 13}
    bench.read(30, 20)
    assert bench.fetched == dict.fromkeys([10, 11, 12, 13, 20, 30], 1)
    assert bench.read(21) == {22, 23}
    assert bench.read(20) == {18, 19}  # turning round is a new run, too


def test_opening_a_file_again_changes_nothing(bench):
    assert bench.read(5, 5, 5) == set()
    assert bench.read(6) == {7, 8}
    assert bench.read(6, 6) == set()
    assert bench.read(7) == {9, 10, 11}
    assert bench.read(7) == set()


def test_skipped_guesses_shrink_the_window_to_nothing(bench):
    """Every second file after two neighbours: it ends, and does not begin again."""
    bench.read(0, 1, 3, 5, 7, 9, 11, 13, 15)
    ahead = set(bench.fetched) - {0, 1, 7, 9, 11, 13, 15}
    assert len(ahead) <= 4
    assert max(ahead) <= 6


@pytest.mark.parametrize("step", [1, -1])
def test_one_image_that_is_left_out_costs_half_the_window_once(bench, step):
    here = 50
    bench.read(*(here + step * n for n in range(8)))
    assert here + step * 15 in bench.fetched
    assert bench.read(here + step * 9) == set()  # 8 is left out: 4 ahead are enough
    assert bench.read(here + step * 10) == {here + step * n for n in (16, 17, 18)}
    for n in range(11, 30):
        assert bench.read(here + step * n) == {here + step * (n + 8)}


def test_four_that_read_at_once_a_little_out_of_order_keep_the_run(bench):
    bench.read(0)
    ahead = bench.read(1)
    for base in range(2, 30, 4):
        for place in (base + 1, base, base + 3, base + 2):
            ahead |= bench.read(place)
    assert set(range(2, 30)) <= ahead
    assert set(bench.fetched.values()) == {1}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(places=st.lists(st.integers(0, 39), max_size=40))
def test_whatever_the_order_bytes_are_right_and_none_is_fetched_twice(
    tmp_path_factory, places
):
    bench = AheadBench(tmp_path_factory.mktemp("store"), capacity_bytes=2**24)
    for place in places:
        bench.open(place)
    bench.settle()
    assert set(bench.fetched.values()) <= {1}
    if not any(abs(a - b) == 1 for a, b in itertools.pairwise(places)):
        assert set(bench.fetched) == set(places)
    assert bench.service.most_under_way <= 4
    assert bench.slots.in_use == 0


@pytest.mark.parametrize(
    "options", [{"max_window": 0}, {"connections": 1}, {"capacity_bytes": 32 * 1024}]
)
def test_without_window_or_connections_or_room_nothing_is_read_ahead(tmp_path, options):
    bench = AheadBench(tmp_path, **options)
    bench.read(*range(5))
    assert bench.fetched == dict.fromkeys(range(5), 1)


# Listings


def test_two_listings_are_read_at_once(bench):
    for place in range(10):
        bench.open(place, "/dataset/1")
        bench.open(39 - place, "/dataset/1/expression")
    bench.settle()
    assert set(bench.fetched) >= {*range(10), *range(30, 40)}
    assert set(bench.fetched.values()) == {1}


def test_of_two_readers_the_later_one_is_served_first(tmp_path):
    bench = AheadBench(tmp_path, capacity_bytes=2**33, connections=2)
    bench.slots.acquire(Priority.IMAGE)  # nothing can begin
    for place in (0, 1):
        bench.note(place, "/dataset/1")
    for place in (29, 28):
        bench.note(place, "/dataset/2")
    bench.slots.release()
    bench.settle()
    assert list(bench.fetched) == [27, 26, 2, 3]


def test_two_simultaneous_readers_of_a_listing_share_it(bench):
    """The one that has read the listing second uses what the first one has found."""
    read = bench.list

    def slow(directory):
        bench.list = read
        bench.note(0)  # another thread, meanwhile
        return read(directory)

    bench.list = slow
    bench.note(1)
    bench.settle()
    assert {2, 3} <= set(bench.fetched)


def test_a_listing_is_read_once_until_it_has_a_new_image(bench):
    bench.read(0, 1)
    assert len(bench.listed) == 1
    bench.note(99_999)
    bench.read(2)
    assert len(bench.listed) == 2


def test_only_so_many_listings_are_remembered(bench):
    for number in (*range(1, 101), 100, 1):
        bench.open(0, f"/dataset/{number}")
    assert len(bench.listed) == 101  # the last one was remembered, the first one not


# Opens go first


@contextlib.contextmanager
def held_downloads(bench):
    """Downloads that begin in the block end after it; yields a pool of readers."""
    bench.settle()
    bench.service.gate.clear()
    try:
        with ThreadPoolExecutor(4) as pool:
            yield pool
            bench.service.gate.set()
    finally:
        bench.service.gate.set()
    bench.settle()


def opened_while_ahead(bench):
    """Open the second image, and the third one while it is being fetched ahead."""
    bench.read(0)
    bench.service.gate.clear()
    waiters = Waiters()
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(bench.open, 1)
        until(lambda: set(bench.fetched) == {0, 1, 2, 3}, "two are fetched ahead")
        third = pool.submit(bench.open, 2, caller=waiters.caller)
        waiters.wait()
        bench.service.gate.set()
    bench.settle()
    return second, third


def test_an_open_of_what_is_being_fetched_ahead_waits_for_that(bench):
    for opened in opened_while_ahead(bench):
        opened.result()
    assert set(bench.fetched.values()) == {1}


def test_a_failing_download_ahead_that_was_joined_is_tried_again(bench):
    bench.service.failures[FIRST_ID + 2] = CutAnswerError("cut")
    second, third = opened_while_ahead(bench)
    second.result()
    with pytest.raises(CutAnswerError):
        third.result()
    assert bench.service.retried == [FIRST_ID + 2]
    assert bench.fetcher.last_failure(bench.request(2)) is not None


@pytest.mark.parametrize("connections", [2, 3, 4])
def test_an_open_never_waits_behind_a_run_that_is_not_sure(tmp_path, connections):
    bench = AheadBench(tmp_path, capacity_bytes=2**24, connections=connections)
    bench.read(0, 1)
    with held_downloads(bench) as pool:
        bench.open(2)  # stored already, and more is guessed
        until(
            lambda: bench.service.under_way == connections - 1,
            "all slots but one are in use",
        )
        waiting = pool.submit(bench.open, 35)
        until(lambda: bench.fetched.get(35) == 1, "the service is asked for it")
        assert bench.service.under_way == connections
    waiting.result(PATIENCE_S)
    assert bench.service.most_under_way <= connections


def test_a_run_that_skips_leaves_a_slot_again(tmp_path):
    bench = AheadBench(tmp_path, capacity_bytes=2**24, connections=3)
    bench.read(0, 1, 2, 3)
    with held_downloads(bench):
        bench.open(5)  # stored, as is the next one
        bench.open(6)  # three more are guessed
        until(lambda: bench.service.under_way == 2, "all slots but one are in use")
        until(lambda: bench.slots.queue, "the third one waits")


@pytest.mark.parametrize("connections", [2, 3, 4])
def test_an_open_waits_for_one_image_of_a_sure_run_which_then_leaves_a_slot(
    tmp_path, connections
):
    bench = AheadBench(
        tmp_path, length=100, capacity_bytes=2**24, connections=connections
    )
    bench.read(0, 1, 2)
    with held_downloads(bench) as pool:
        bench.open(3)
        until(lambda: bench.service.under_way == connections, "all slots are in use")
        waiting = pool.submit(bench.open, 90, "/dataset/2")
        until(lambda: bench.slots.waiting == 1, "it waits for a slot")
        known = list(bench.fetched)
        bench.service.let_one_end()
        until(lambda: len(bench.fetched) > len(known), "a slot is used again")
        assert list(bench.fetched) == [*known, 90]
    waiting.result(PATIENCE_S)
    with held_downloads(bench) as pool:
        for place in range(4, 10):
            bench.open(place)
        until(
            lambda: bench.service.under_way == connections - 1,
            "all slots but one are in use",
        )
        waiting = pool.submit(bench.open, 70, "/dataset/2")
        until(lambda: bench.fetched.get(70) == 1, "the service is asked for it")
    waiting.result(PATIENCE_S)
    bench.read(*range(10, 18))  # undisturbed
    with held_downloads(bench):
        for place in range(18, 24):
            bench.open(place)
        until(lambda: bench.service.under_way == connections, "all slots are in use")


def test_with_every_slot_in_use_nothing_is_read_ahead(bench):
    bench.read(0)
    bench.service.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        far = [pool.submit(bench.open, place) for place in (20, 25, 30, 35)]
        until(lambda: bench.service.under_way == 4, "four are under way")
        bench.open(0)
        bench.note(1)
        assert set(bench.fetched) == {0, 20, 25, 30, 35}
        bench.service.gate.set()
        for future in far:
            future.result(PATIENCE_S)
    bench.settle()
    assert {2, 3} <= set(bench.fetched)


# Failures


@pytest.mark.parametrize("error", [BusyError("503"), UnreachableError("refused")])
def test_an_outage_ends_read_ahead_for_ten_seconds(bench, error, caplog):
    bench.read(0, 1)
    bench.service.failures[FIRST_ID + 5] = error
    bench.read(2)  # fetches 4, 5 and 6 ahead
    assert bench.fetcher.last_failure(bench.request(5)) is None
    assert caplog.records == []
    fetched = set(bench.fetched)
    assert fetched <= set(range(7))
    bench.read(3, 4)
    assert set(bench.fetched) == fetched | {3, 4}
    del bench.service.failures[FIRST_ID + 5]
    bench.now_s += 11
    assert bench.read(20, 21) == {22, 23}


def test_an_outage_for_an_opened_image_ends_it_too(bench):
    busy = bench.service.failures[FIRST_ID + 30] = BusyError("HTTP 503")
    busy.retry_after_s = 100
    with pytest.raises(BusyError):
        bench.open(30)
    bench.read(0, 1, 2)
    bench.now_s += 99
    bench.read(3)
    assert set(bench.fetched) == {0, 1, 2, 3, 30}
    bench.now_s += 2
    assert bench.read(4) == {5, 6}


def test_what_was_guessed_before_an_outage_is_not_begun_after_it(tmp_path):
    bench = AheadBench(tmp_path, capacity_bytes=2**24, connections=2)
    bench.read(0)
    bench.service.failures[FIRST_ID + 2] = BusyError("HTTP 503")
    bench.read(1)  # one slot for two guesses, one after the other
    assert bench.fetched == {0: 1, 1: 1, 2: 1}


def test_a_query_that_failed_ends_it_too(bench):
    bench.read(0, 1)
    bench.is_out_of_reach = True
    bench.read(2, 3, 4, 5)
    assert set(bench.fetched) == set(range(6))
    bench.is_out_of_reach = False
    assert bench.read(20, 21) == {22, 23}


@pytest.mark.parametrize(
    "error", [CutAnswerError("cut"), ImageNotFoundError("404"), WrongAnswerError("x")]
)
def test_a_failed_read_ahead_is_not_the_failure_of_an_open(bench, error, caplog):
    """An open makes its own request, whatever the result of the read-ahead."""
    caplog.set_level(logging.INFO)
    bench.service.failures[FIRST_ID + 3] = error
    assert bench.read(0, 1) == {2, 3}
    assert bench.fetcher.last_failure(bench.request(3)) is None
    assert "not read ahead" in caplog.text
    assert {line.levelno for line in caplog.records} == {logging.INFO}
    assert bench.read(2) == {4, 5, 6}  # the others go on
    with pytest.raises(type(error)):
        bench.open(3)
    assert bench.fetched[3] == 2
    assert bench.fetcher.last_failure(bench.request(3)) is not None


def test_a_listing_of_failures_is_not_read_ahead(bench):
    for place in range(6):
        bench.service.failures[FIRST_ID + place] = ImageNotFoundError("HTTP 404")
        with pytest.raises(ImageNotFoundError):
            bench.open(place)
        bench.settle()
    assert set(bench.fetched) == set(range(6))


def test_a_bug_in_reading_ahead_costs_a_log_line_and_no_slot(
    bench, monkeypatch, caplog
):
    bench.read(0)
    with monkeypatch.context() as patched:
        patched.setattr(bench.fetcher, "read_ahead", raising(ZeroDivisionError))
        bench.read(1)
    assert "a bug" in caplog.text
    assert bench.slots.in_use == 0
    assert bench.read(20, 21) == {22, 23}


def test_no_descriptor_for_what_is_fetched_ahead_is_no_bug(bench, monkeypatch, caplog):
    bench.read(0)
    with monkeypatch.context() as patched:
        no_place = ExhaustedError("no place for a download")
        patched.setattr(bench.store, "temp_file", raising(no_place))
        with pytest.raises(ExhaustedError):
            bench.open(1)
        bench.settle()
    assert {one.levelname for one in caplog.records} == {"WARNING"}
    assert bench.read(10, 11) == {12, 13}


# The store


def test_what_is_fetched_ahead_is_not_evicted_before_it_is_opened(tmp_path):
    """5000 bytes take 8192: room for ten, of which a quarter may wait unread."""
    bench = AheadBench(tmp_path, capacity_bytes=140 * 1024)
    assert 8 <= bench.store.capacity_bytes // 8192 <= 20
    for place in range(40):
        bench.open(place)
    bench.settle()
    assert bench.fetched == dict.fromkeys(range(40), 1)


def test_nothing_is_read_ahead_if_the_store_keeps_nothing(bench):
    bench.store.keeps = False
    bench.read(*range(6))
    assert set(bench.fetched) == set(range(6))
    bench.store.keeps = True
    assert bench.read(20, 21) == {22, 23}


@pytest.mark.parametrize("stored_by", ["this mount", "another"])
def test_stored_images_wake_no_thread(tmp_path, monkeypatch, stored_by):
    bench = AheadBench(tmp_path, capacity_bytes=2**33)
    bench.store.load()
    if stored_by == "this mount":
        for place in range(40):
            bench.get(FIRST_ID + place)
        bench.service.fetches.clear()
    else:
        other = store_at(bench.directory, 2**33)
        for place in range(40):
            put(other, FIRST_ID + place, image_bytes(FIRST_ID + place, 5000))
        for place in (*range(0, 40, 2), *range(1, 40, 2)):
            bench.open(place)  # its checksum is compared, in a thread
        bench.settle()
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread"))
    for place in [*range(40), *range(39, -1, -1)]:
        bench.open(place)
    assert bench.fetched == {}


@pytest.mark.parametrize("stored", [3, 17, 18, 19, 30])
def test_reading_on_behind_stored_images_goes_ahead(tmp_path, stored):
    bench = AheadBench(tmp_path, capacity_bytes=2**33)
    for place in range(stored):
        bench.get(FIRST_ID + place)
    bench.service.fetches.clear()
    bench.read(*range(stored))
    assert set(bench.fetched) == {stored, stored + 1}
    bench.read(*range(stored, stored + 3))
    assert set(bench.fetched) == set(range(stored, min(40, stored + 11)))
