"""What is fetched ahead, what is not, and that nobody waits for it."""

from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fetcher_doubles import FIRST_ID, PATIENCE_S, AheadBench, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import image_bytes, put, store_at

from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ExhaustedError,
    ForbiddenError,
    ImageNotFoundError,
    ProxyLoginError,
    RejectedError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.service.slots import Priority

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from allenfs.model.images import ImageRequest
    from allenfs.model.nodes import CollectionDirectory
    from allenfs.store.stored_file import Image, TempFile

STRAINS = [
    BusyError("HTTP 429"),
    BusyError("HTTP 503"),
    UnreachableError("refused"),
    ProxyLoginError("proxy: 407"),
    ServiceTimeoutError("stalled"),
]


@pytest.fixture
def bench(tmp_path: Path) -> AheadBench:
    return AheadBench(tmp_path, capacity_bytes=2**33)


def test_two_in_a_row_fetch_the_next_two_and_hits_twice_as_many(
    bench: AheadBench,
) -> None:
    bench.read(0)
    assert bench.fetched == {0: 1}
    bench.read(1)
    assert bench.fetched == dict.fromkeys(range(4), 1)
    bench.read(2)
    assert bench.fetched == dict.fromkeys(range(7), 1)


@pytest.mark.parametrize("order", [range(40), range(39, -1, -1)])
def test_a_listing_in_order_is_fetched_once_each(
    bench: AheadBench, order: range
) -> None:
    for place in order:
        image = bench.open(place)
        assert image.read(0, 6000) == image_bytes(FIRST_ID + place, 5000)
    bench.settle()
    assert bench.fetched == dict.fromkeys(range(40), 1)


def test_scattered_images_cost_only_themselves(bench: AheadBench) -> None:
    places = [7, 3, 30, 12, 39, 0, 20]
    bench.read(*places)
    assert bench.fetched == dict.fromkeys(sorted(places), 1)


def test_who_jumps_away_has_paid_for_two_more_at_most(bench: AheadBench) -> None:
    bench.read(10, 11, 30, 20)
    assert bench.fetched == dict.fromkeys([10, 11, 12, 13, 20, 30], 1)


def test_two_listings_are_read_at_once(bench: AheadBench) -> None:
    for place in range(10):
        bench.open(place, "/dataset/1")
        bench.open(39 - place, "/dataset/1/expression")
    bench.settle()
    assert set(bench.fetched) >= {*range(10), *range(30, 40)}
    assert set(bench.fetched.values()) == {1}


@pytest.mark.parametrize(
    "options", [{"max_window": 0}, {"connections": 1}, {"capacity_bytes": 32 * 1024}]
)
def test_without_window_or_connections_or_room_nothing_is_read_ahead(
    tmp_path: Path, options: dict[str, int]
) -> None:
    bench = AheadBench(tmp_path, **options)
    bench.read(*range(5))
    assert bench.fetched == dict.fromkeys(range(5), 1)


def opened_while_ahead(bench: AheadBench) -> tuple[Future[Image], Future[Image]]:
    """Open the second image, and the third one while it is being fetched ahead."""
    bench.read(0)
    bench.service.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(bench.open, 1)
        until(lambda: set(bench.fetched) == {0, 1, 2, 3}, "two are fetched ahead")
        third = pool.submit(bench.open, 2)
        until(lambda: (FIRST_ID + 2) in joined(bench), "it is waited for")
        bench.service.gate.set()
    bench.settle()
    return second, third


def joined(bench: AheadBench) -> set[int]:
    """Images under way that somebody waits for."""
    flights = bench.fetcher._flights
    return {key.image_id for key in set(flights._flights) - flights._not_joined}


def test_an_open_of_what_is_being_fetched_ahead_waits_for_that(
    bench: AheadBench,
) -> None:
    for place, opened in enumerate(opened_while_ahead(bench), 1):
        image = opened.result(PATIENCE_S)
        assert image.read(0, 9000) == image_bytes(FIRST_ID + place, 5000)
    assert set(bench.fetched.values()) == {1}


@pytest.mark.parametrize("connections", [2, 3, 4, 6])
def test_an_open_never_waits_behind_what_is_fetched_ahead(
    tmp_path: Path, connections: int
) -> None:
    bench = AheadBench(tmp_path, capacity_bytes=2**24, connections=connections)
    bench.read(0, 1, 2)
    known = set(bench.fetched)
    bench.service.gate.clear()  # nothing ends any more
    with ThreadPoolExecutor(1) as pool:
        bench.open(3)  # here already, and more is guessed
        until(
            lambda: bench.service.under_way == connections - 1,
            "all slots but one are taken",
        )
        assert not set(bench.fetched) & {35}
        waiting = pool.submit(bench.open, 35)
        until(lambda: bench.fetched.get(35) == 1, "the service is asked for it")
        assert bench.service.under_way == connections
        bench.service.gate.set()
        waiting.result(PATIENCE_S)
    bench.settle()
    assert bench.service.most_under_way <= connections
    assert len(set(bench.fetched) - known) >= 2


def test_with_every_slot_taken_nothing_is_read_ahead(bench: AheadBench) -> None:
    bench.read(0)
    bench.service.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        far = [pool.submit(bench.open, place) for place in (20, 25, 30, 35)]
        until(lambda: bench.service.under_way == 4, "four are under way")
        bench.open(0)
        bench.ahead.opened(bench.file(1))
        assert set(bench.fetched) == {0, 20, 25, 30, 35}
        bench.service.gate.set()
        for future in far:
            future.result(PATIENCE_S)
    bench.settle()
    assert {2, 3} <= set(bench.fetched)


@pytest.mark.parametrize("error", STRAINS, ids=lambda error: type(error).__name__)
def test_the_first_strain_ends_it_until_the_service_was_calm_for_ten_seconds(
    bench: AheadBench, error: ServiceError
) -> None:
    bench.read(0, 1)
    bench.service.failures[FIRST_ID + 5] = error
    bench.read(2)  # fetches 4, 5 and 6 ahead
    fetched = set(bench.fetched)
    assert fetched <= set(range(7))
    bench.read(3, 4)
    assert set(bench.fetched) == fetched | {3, 4}
    del bench.service.failures[FIRST_ID + 5]
    bench.now_s += 11
    bench.read(20, 21)
    assert {22, 23} <= set(bench.fetched)


def test_a_strain_of_who_waits_ends_it_too(bench: AheadBench) -> None:
    busy = bench.service.failures[FIRST_ID + 30] = BusyError("HTTP 503")
    busy.retry_after_s = 100
    with pytest.raises(BusyError):
        bench.open(30)
    bench.read(0, 1, 2)
    bench.now_s += 99
    bench.read(3)
    assert set(bench.fetched) == {0, 1, 2, 3, 30}
    bench.now_s += 2
    bench.read(4)
    assert set(bench.fetched) == {0, 1, 2, 3, 4, 5, 6, 30}


@pytest.mark.parametrize(
    "error", [*STRAINS, CutAnswerError("cut")], ids=lambda error: type(error).__name__
)
def test_a_passing_failure_ahead_is_nobodys_failure(
    bench: AheadBench, error: ServiceError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.service.failures[FIRST_ID + 3] = error
    bench.read(0, 1)
    assert bench.fetched[3] == 1
    assert bench.fetcher.last_failure(bench.request(3)) is None
    assert not [line for line in caplog.records if line.levelno > logging.INFO]
    assert "not read ahead" in caplog.text
    del bench.service.failures[FIRST_ID + 3]
    assert bench.open(3).read(0, 5000) == image_bytes(FIRST_ID + 3, 5000)
    assert bench.fetched[3] == 2


def test_one_image_that_comes_cut_does_not_end_it(bench: AheadBench) -> None:
    bench.service.failures[FIRST_ID + 3] = CutAnswerError("cut")
    bench.read(0, 1, 2)
    assert set(bench.fetched) == set(range(7))


@pytest.mark.parametrize(
    "error",
    [
        ImageNotFoundError("HTTP 404"),
        RejectedError("HTTP 400"),
        ForbiddenError("HTTP 403"),
        WrongAnswerError("no image"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_final_failure_ahead_is_nobodys_failure(
    bench: AheadBench, error: ServiceError, caplog: pytest.LogCaptureFixture
) -> None:
    """Who opens the image is answered by the service, whatever a guess was told."""
    caplog.set_level(logging.INFO)
    bench.service.failures[FIRST_ID + 3] = error
    bench.read(0, 1, 2)
    assert bench.fetched == dict.fromkeys(range(7), 1)  # the others go on
    assert bench.fetcher.last_failure(bench.request(3)) is None
    assert not [line for line in caplog.records if line.levelno > logging.INFO]
    with pytest.raises(type(error)):
        bench.open(3)
    assert bench.fetched[3] == 2
    assert bench.fetcher.last_failure(bench.request(3)) is not None


def test_a_query_that_could_not_be_asked_ends_it_too(bench: AheadBench) -> None:
    bench.read(0, 1)
    bench.is_out_of_reach = True
    bench.read(2, 3, 4, 5)
    assert set(bench.fetched) == set(range(6))
    bench.is_out_of_reach = False
    bench.read(20, 21)
    assert {22, 23} <= set(bench.fetched)


def test_a_bug_in_guessing_costs_a_log_line_and_no_slot(
    bench: AheadBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    bench.read(0)
    with monkeypatch.context() as patched:
        patched.setattr(bench.ahead, "_next", broken)
        bench.read(1)
    assert "a bug" in caplog.text
    assert bench.slots.in_use == 0
    bench.read(20, 21)
    assert {22, 23} <= set(bench.fetched)


def test_no_descriptor_for_what_is_fetched_ahead_is_no_bug(
    bench: AheadBench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def exhausted() -> TempFile:
        raise ExhaustedError("no place for a download")

    bench.read(0)
    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "temp_file", exhausted)
        with pytest.raises(ExhaustedError):
            bench.open(1)
        bench.settle()
    assert {one.levelname for one in caplog.records} == {"WARNING"}
    bench.read(10, 11)
    assert {12, 13} <= set(bench.fetched)


def test_two_who_read_a_listing_at_the_same_time_read_one(
    bench: AheadBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back from reading it second takes what the first one has noted."""
    series = bench.ahead._series

    def slow(directory: CollectionDirectory) -> tuple[ImageRequest, ...]:
        monkeypatch.undo()
        bench.ahead.opened(bench.file(0))  # another thread, meanwhile
        return series(directory)

    monkeypatch.setattr(bench.ahead, "_series", slow)
    bench.ahead.opened(bench.file(1))
    bench.settle()
    assert {2, 3} <= set(bench.fetched)


def test_a_new_image_of_a_listing_makes_it_be_read_anew(bench: AheadBench) -> None:
    bench.read(0, 1)
    assert bench.file(1).directory in bench.ahead._listings
    bench.ahead.opened(bench.file(99_999))
    assert bench.file(1).directory not in bench.ahead._listings


def test_a_listing_of_failures_is_not_read_ahead(bench: AheadBench) -> None:
    for place in range(40):
        error = ImageNotFoundError("HTTP 404")
        bench.service.failures[FIRST_ID + place] = error
    for place in range(6):
        with pytest.raises(ImageNotFoundError):
            bench.open(place)
        bench.settle()
    assert set(bench.fetched) == set(range(6))


def test_who_joins_a_failing_download_ahead_has_it_tried_again(
    bench: AheadBench,
) -> None:
    bench.service.failures[FIRST_ID + 2] = CutAnswerError("cut")
    second, third = opened_while_ahead(bench)
    second.result(PATIENCE_S)
    with pytest.raises(CutAnswerError):
        third.result(PATIENCE_S)
    assert bench.service.went_on[FIRST_ID + 2] == [True]
    assert bench.fetcher.last_failure(bench.request(2)) is not None


def test_what_is_fetched_ahead_is_not_evicted_before_it_is_opened(
    tmp_path: Path,
) -> None:
    """5000 bytes take 8192: room for ten, of which a quarter may wait unread."""
    bench = AheadBench(tmp_path, capacity_bytes=140 * 1024)
    room = bench.store.capacity_bytes // 8192
    assert 8 <= room <= 20
    for place in range(40):
        bench.open(place)
    bench.settle()
    assert bench.fetched == dict.fromkeys(range(40), 1)
    assert len(bench.ahead._listings[bench.file(0).directory].run.guesses) == 0


def test_where_the_store_keeps_nothing_nothing_is_fetched_ahead(
    bench: AheadBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(bench.store), "_commit", lambda *_: None)
    bench.read(*range(6))
    assert set(bench.fetched) == set(range(6))
    monkeypatch.undo()
    bench.read(20, 21, 22)
    assert {23, 24} <= set(bench.fetched)


@pytest.mark.parametrize("stored_by", ["this mount", "another"])
def test_stored_images_wake_no_thread(
    bench: AheadBench, monkeypatch: pytest.MonkeyPatch, stored_by: str
) -> None:
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


@pytest.mark.parametrize("stored", [3, 10, 17, 18, 19, 20, 30])
def test_reading_on_behind_stored_images_goes_ahead(
    bench: AheadBench, stored: int
) -> None:
    for place in range(stored):
        bench.get(FIRST_ID + place)
    bench.service.fetches.clear()
    bench.read(*range(stored))
    assert set(bench.fetched) == {stored, stored + 1}
    bench.read(*range(stored, stored + 3))
    assert set(bench.fetched) == set(range(stored, min(40, stored + 11)))


def test_what_was_guessed_before_a_strain_is_not_begun_after_it(tmp_path: Path) -> None:
    bench = AheadBench(tmp_path, capacity_bytes=2**24, connections=2)
    bench.read(0)
    bench.service.failures[FIRST_ID + 2] = BusyError("HTTP 503")
    bench.read(1)  # one slot for two guesses, one after the other
    assert bench.fetched == {0: 1, 1: 1, 2: 1}


def test_of_two_readers_the_later_one_is_served_first(tmp_path: Path) -> None:
    bench = AheadBench(tmp_path, capacity_bytes=2**33, connections=2)
    bench.slots.acquire(Priority.IMAGE)  # nothing can begin
    for place in (0, 1):
        bench.ahead.opened(bench.file(place, "/dataset/1"))
    for place in (29, 28):
        bench.ahead.opened(bench.file(place, "/dataset/2"))
    bench.slots.release()
    bench.settle()
    order = [number - FIRST_ID for number in bench.service.fetches]
    assert order == [27, 26, 2, 3]


def test_only_so_many_listings_are_remembered(bench: AheadBench) -> None:
    for number in range(1, 101):
        bench.open(0, f"/dataset/{number}")
    assert len(bench.ahead._listings) == 32
    assert bench.file(0, "/dataset/100").directory in bench.ahead._listings


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(places=st.lists(st.integers(0, 39), max_size=40))
def test_whatever_the_order_bytes_are_right_and_none_is_fetched_twice(
    tmp_path_factory: pytest.TempPathFactory, places: list[int]
) -> None:
    bench = AheadBench(tmp_path_factory.mktemp("store"), capacity_bytes=2**24)
    for place in places:
        assert bench.open(place).read(0, 5000) == image_bytes(FIRST_ID + place, 5000)
    bench.settle()
    assert set(bench.fetched.values()) <= {1}
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(places))
    if not neighbours:
        assert set(bench.fetched) == set(places)
    assert bench.service.most_under_way <= 4
    assert bench.slots.in_use == 0
    assert bench.fetcher._flights._flights == {}
    assert bench.fetcher._flights._not_joined == set()
