"""One download for all who wait for it, a few at a time, and interrupts."""

from __future__ import annotations

import contextlib
import errno
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fetcher_doubles import MIB, PATIENCE_S, Bench, Waiters
from store_helpers import content, found, image_bytes, section, store_at

from allenfs.errors import CutAnswerError, ImageNotFoundError, InterruptedWaitError
from allenfs.model.images import ImageService
from allenfs.service.single_flight import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from allenfs.store.stored_file import Image


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_sixteen_readers_of_one_image_make_one_fetch_and_share_it(bench: Bench) -> None:
    images = [future.result() for future in bench.get_at_once(1)]
    assert bench.service.fetches == {1: 1}
    assert len(set(map(id, images))) == 1
    assert content(images[0]) == image_bytes(1, 5000)


def test_sixteen_readers_share_a_failure_and_then_the_image(bench: Bench) -> None:
    bench.service.failures[1] = CutAnswerError("cut")
    errors = [future.exception() for future in bench.get_at_once(1)]
    assert {type(error) for error in errors} == {CutAnswerError}
    assert bench.service.fetches == {1: 1}
    del bench.service.failures[1]
    bench.now_s += 10
    images = {id(future.result()) for future in bench.get_at_once(1)}
    assert len(images) == 1
    assert bench.service.fetches == {1: 2}


@pytest.mark.parametrize("connections", [1, 3, 4])
def test_never_more_downloads_than_connections_at_a_time(
    tmp_path: Path, connections: int
) -> None:
    bench = Bench(tmp_path, connections=connections)
    together = threading.Barrier(connections)  # passed only by so many at once
    bench.service.arrive = lambda: together.wait(PATIENCE_S)
    with ThreadPoolExecutor(12) as pool:
        images = list(pool.map(bench.get, range(1, 13)))
    assert bench.service.most_under_way == connections
    assert [content(image) for image in images] == [
        image_bytes(number, 5000) for number in range(1, 13)
    ]
    assert set(bench.service.fetches.values()) == {1}


def test_a_stored_image_waits_for_no_connection(tmp_path: Path) -> None:
    bench = Bench(tmp_path, connections=1)
    bench.get(1)
    gc.collect()
    bench.service.gate.clear()
    busy = threading.Event()
    bench.service.arrive = busy.set
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(bench.get, 2)
        assert busy.wait(PATIENCE_S)
        assert content(bench.get(1)) == image_bytes(1, 5000)
        bench.service.gate.set()
        assert content(slow.result()) == image_bytes(2, 5000)


def test_an_interrupted_reader_leaves_and_the_download_lands(bench: Bench) -> None:
    bench.service.gate.clear()
    with pytest.raises(InterruptedWaitError) as raised:
        bench.fetcher.get(section(1), Caller(is_interrupted=lambda: True))
    assert raised.value.errno == errno.EINTR
    assert found(bench.store, 1) is None
    bench.service.gate.set()
    assert bench.store.landed.wait(PATIENCE_S)
    assert found(store_at(bench.directory), 1) == image_bytes(1, 5000)
    assert content(bench.get(1)) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 1}


def test_an_interrupted_reader_takes_nobody_with_it(bench: Bench) -> None:
    bench.service.gate.clear()
    waiters = Waiters(1)
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(bench.fetcher.get, section(1), waiters.caller)
        assert waiters.all_wait.wait(PATIENCE_S)
        with pytest.raises(InterruptedWaitError):
            bench.fetcher.get(section(1), Caller(is_interrupted=lambda: True))
        bench.service.gate.set()
        assert content(patient.result()) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 1}


def test_an_interrupt_while_waiting_for_a_connection_is_heard(tmp_path: Path) -> None:
    bench = Bench(tmp_path, connections=1)
    bench.service.gate.clear()
    for number in (1, 2, 3):
        with pytest.raises(InterruptedWaitError):
            bench.fetcher.get(section(number), Caller(is_interrupted=lambda: True))
    bench.service.gate.set()
    for number in (1, 2, 3):
        assert content(bench.get(number)) == image_bytes(number, 5000)
    assert bench.service.fetches == {1: 1, 2: 1, 3: 1}


def test_an_image_that_cannot_be_stored_is_shared_while_held(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity_bytes=4096)
    image = bench.get(1)
    assert bench.get(1) is image
    assert bench.fetcher.peek(section(1)).size_bytes == 5000
    assert bench.service.fetches == {1: 1}
    del image
    gc.collect()
    assert bench.fetcher.peek(section(1)) is None
    assert content(bench.get(1)) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 2}


@pytest.mark.parametrize("capacity_bytes", [MIB, 4096], ids=["kept", "not kept"])
def test_a_reader_that_comes_while_an_image_lands_makes_no_second_fetch(
    tmp_path: Path, capacity_bytes: int
) -> None:
    """It has looked into the store in vain, and then the image is there."""
    bench = Bench(tmp_path, capacity_bytes)
    has_looked, may_go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        if threading.current_thread().name.startswith("late"):
            has_looked.set()
            assert may_go_on.wait(PATIENCE_S)

    bench.store.after_find = hold_up
    with ThreadPoolExecutor(1, thread_name_prefix="late") as pool:
        late = pool.submit(bench.get, 1)
        assert has_looked.wait(PATIENCE_S)
        image = bench.get(1)
        may_go_on.set()
        assert late.result() is image
    assert bench.service.fetches == {1: 1}


def test_an_image_that_was_opened_is_listed_kept_or_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity_bytes=4096)
    bench.service.failures[3] = ImageNotFoundError("404")
    bench.get(20)
    bench.get(1)
    bench.fails(3, ImageNotFoundError)
    assert bench.fetcher.used_ids(ImageService.SECTION) == [1, 20]
    assert bench.fetcher.used_ids(ImageService.ATLAS) == []
    kept = Bench(tmp_path / "kept")
    kept.get(7)
    assert Bench(tmp_path / "kept").fetcher.used_ids(ImageService.SECTION) == [7]


def test_a_damaged_image_is_fetched_again_once(bench: Bench) -> None:
    bench.get(1)
    (path,) = (bench.directory / "images").rglob("*.jpg")
    path.write_bytes(b"junk")
    again = Bench(bench.directory)
    assert content(again.get(1)) == image_bytes(1, 5000)
    assert content(again.get(1)) == image_bytes(1, 5000)
    assert again.service.fetches == {1: 1}


@pytest.fixture
def other(bench: Bench) -> Bench:
    """Another process on the same store, as far as locks can tell."""
    return Bench(bench.directory, service=bench.service)


@contextlib.contextmanager
def under_way(bench: Bench, number: int) -> Iterator[Future[Image]]:
    """A download by `bench`, which ends with the block."""
    bench.service.gate.clear()
    begun = threading.Event()
    bench.service.arrive = begun.set
    with ThreadPoolExecutor(1) as pool:
        try:
            download = pool.submit(bench.get, number)
            assert begun.wait(PATIENCE_S)
            yield download
        finally:
            bench.service.gate.set()


def test_two_processes_that_want_one_image_make_one_fetch(
    bench: Bench, other: Bench
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with under_way(bench, 1):
            waiters = Waiters(1)
            second = pool.submit(other.fetcher.get, section(1), waiters.caller)
            assert waiters.all_wait.wait(PATIENCE_S)
        assert content(second.result(PATIENCE_S)) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 1}


def test_a_reader_that_waits_for_another_process_can_be_interrupted(
    bench: Bench, other: Bench
) -> None:
    with under_way(bench, 1), pytest.raises(InterruptedWaitError):
        other.fetcher.get(section(1), Caller(is_interrupted=lambda: True))
    assert content(other.get(1)) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 1}


def test_a_failure_in_another_process_is_not_the_answer_here(
    bench: Bench, other: Bench
) -> None:
    bench.service.failures[1] = CutAnswerError("cut")
    with ThreadPoolExecutor(1) as pool:
        with under_way(bench, 1) as first:
            waiters = Waiters(1)
            second = pool.submit(other.fetcher.get, section(1), waiters.caller)
            assert waiters.all_wait.wait(PATIENCE_S)
        with pytest.raises(CutAnswerError):
            first.result(PATIENCE_S)
        with pytest.raises(CutAnswerError):
            second.result(PATIENCE_S)
    assert bench.service.fetches == {1: 2}
    del bench.service.failures[1]
    other.now_s += 10
    assert content(other.get(1)) == image_bytes(1, 5000)


def test_another_process_that_hangs_is_waited_for_no_longer_than_the_deadline(
    bench: Bench,
) -> None:
    other = Bench(bench.directory, deadline_s=0.05)
    with under_way(bench, 1):
        assert content(other.get(1)) == image_bytes(1, 5000)
    assert (bench.service.fetches, other.service.fetches) == ({1: 1}, {1: 1})


def test_what_another_process_downloads_is_not_read_ahead(
    bench: Bench, other: Bench
) -> None:
    with under_way(bench, 1):
        slot = other.slots.reserve()
        other.fetcher.read_ahead(section(1), slot)
        slot.drop()
    assert bench.service.fetches == {1: 1}
