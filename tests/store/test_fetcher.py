"""One download for all who wait for it, in any process, and interrupts."""

from __future__ import annotations

import errno
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fetcher_doubles import READERS, Bench
from store_helpers import MIB, content, found, image_bytes, section, store_at
from waiters import INTERRUPTED, PATIENCE_S, Waiters

from allenfs.errors import CutAnswerError, ImageNotFoundError, InterruptedWaitError
from allenfs.model.images import ImageService

DATA = image_bytes(1, 5000)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def other(bench):
    """Another process on the same store, as seen by locks."""
    return Bench(bench.directory, service=bench.service)


# Many readers


@pytest.mark.parametrize(
    "error", [CutAnswerError("cut"), RuntimeError("bug"), MemoryError(), SystemExit(3)]
)
def test_sixteen_readers_share_a_failure_and_then_the_image(tmp_path, error):
    bench = Bench(tmp_path, connections=1)
    bench.service.failures[1] = error
    errors = [future.exception() for future in bench.get_at_once(1)]
    assert list(map(type, errors)) == [type(error)] * READERS
    assert bench.service.fetches == {1: 1}
    del bench.service.failures[1]
    bench.now_s += 10
    images = [future.result() for future in bench.get_at_once(1)]
    assert len(set(map(id, images))) == 1
    assert content(images[0]) == DATA
    assert bench.service.fetches == {1: 2}


def test_a_stored_image_waits_for_no_connection(tmp_path):
    bench = Bench(tmp_path, connections=1)
    bench.get(1)
    gc.collect()
    with bench.under_way(2) as slow:
        assert content(bench.get(1)) == DATA
    assert content(slow.result()) == image_bytes(2, 5000)


@pytest.mark.parametrize("capacity_bytes", [MIB, 4096], ids=["kept", "not kept"])
def test_a_reader_that_comes_while_an_image_lands_makes_no_second_fetch(
    tmp_path, capacity_bytes
):
    """The image is stored just after the store was checked."""
    bench = Bench(tmp_path, capacity_bytes)
    has_looked, may_go_on = threading.Event(), threading.Event()

    def hold_up():
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


def test_an_image_that_cannot_be_stored_is_shared_while_open(tmp_path):
    bench = Bench(tmp_path, capacity_bytes=4096)
    image = bench.get(1)
    assert bench.get(1) is image
    assert bench.fetcher.peek(section(1)).size_bytes == 5000
    assert bench.service.fetches == {1: 1}
    del image
    gc.collect()
    assert bench.fetcher.peek(section(1)) is None
    assert content(bench.get(1)) == DATA
    assert bench.service.fetches == {1: 2}


@pytest.mark.parametrize("capacity_bytes", [MIB, 4096], ids=["kept", "not kept"])
def test_an_image_that_was_opened_is_listed(tmp_path, capacity_bytes):
    bench = Bench(tmp_path, capacity_bytes)
    bench.service.failures[3] = ImageNotFoundError("404")
    bench.get(20)
    bench.get(1)
    bench.fails(3, ImageNotFoundError)
    assert bench.fetcher.used_ids(ImageService.SECTION) == [1, 20]
    assert bench.fetcher.used_ids(ImageService.ATLAS) == []
    again = Bench(tmp_path).fetcher.used_ids(ImageService.SECTION)
    assert again == ([1, 20] if capacity_bytes == MIB else [])


# Interrupts


def test_an_interrupted_reader_interrupts_no_other(bench):
    bench.service.gate.clear()
    waiters = Waiters()
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(bench.get, 1, waiters.caller)
        waiters.wait()
        with pytest.raises(InterruptedWaitError) as raised:
            bench.get(1, INTERRUPTED)
        assert raised.value.errno == errno.EINTR
        assert found(bench.store, 1) is None
        bench.service.gate.set()
        assert content(patient.result()) == DATA
    assert bench.service.fetches == {1: 1}


def test_downloads_of_interrupted_readers_land(tmp_path):
    bench = Bench(tmp_path, connections=1)  # which the second one waits for
    bench.service.gate.clear()
    for number in (1, 2):
        with pytest.raises(InterruptedWaitError):
            bench.get(number, INTERRUPTED)
    bench.service.gate.set()
    for number in (1, 2):
        assert content(bench.get(number)) == image_bytes(number, 5000)
        assert found(store_at(tmp_path), number) == image_bytes(number, 5000)
    assert bench.service.fetches == {1: 1, 2: 1}


# Other processes


def test_a_failure_in_another_process_is_not_the_answer_here(bench, other):
    bench.service.failures[1] = CutAnswerError("cut")
    with ThreadPoolExecutor(1) as pool:
        with bench.under_way(1) as first:
            waiters = Waiters()
            second = pool.submit(other.get, 1, waiters.caller)
            waiters.wait()
        for download in (first, second):
            with pytest.raises(CutAnswerError):
                download.result(PATIENCE_S)
    assert bench.service.fetches == {1: 2}
    del bench.service.failures[1]
    other.now_s += 10
    assert content(other.get(1)) == DATA


def test_a_reader_that_waits_for_another_process_can_be_interrupted(bench, other):
    with bench.under_way(1), pytest.raises(InterruptedWaitError):
        other.get(1, INTERRUPTED)
    assert content(other.get(1)) == DATA
    assert bench.service.fetches == {1: 1}


def test_another_process_that_hangs_is_waited_for_no_longer_than_the_deadline(bench):
    other = Bench(bench.directory, deadline_s=0.05)
    with bench.under_way(1):
        assert content(other.get(1)) == DATA
    assert (bench.service.fetches, other.service.fetches) == ({1: 1}, {1: 1})


def test_what_another_process_downloads_is_not_read_ahead(bench, other):
    with bench.under_way(1):
        slot = other.slots.reserve()
        other.fetcher.read_ahead(section(1), slot)
        slot.drop()
    assert bench.service.fetches == {1: 1}
