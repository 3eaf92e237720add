"""A few requests at a time, queries before images, and no slot is ever lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from allenfs.service.slots import Priority, Slots

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 30


def until_waiting(slots: Slots, *queue: Priority) -> None:
    """Return once these requests wait."""
    ends_s = time.monotonic() + PATIENCE_S
    while slots.queue != [*queue]:
        assert time.monotonic() < ends_s, f"{slots.queue} wait"
        time.sleep(0.005)


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_never_more_than_the_limit_at_a_time_and_as_many_as_that(limit: int) -> None:
    slots = Slots(limit)
    together = threading.Barrier(limit)  # passed only by so many at once
    lock = threading.Lock()
    under_way: list[int] = []
    most: list[int] = []

    def work(place: int) -> None:
        with slots.at(Priority.QUERY if place % 3 == 0 else Priority.IMAGE):
            with lock:
                under_way.append(place)
                most.append(len(under_way))
            together.wait(PATIENCE_S)
            with lock:
                under_way.remove(place)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(24)))
    assert len(most) == 24
    assert max(most) == limit
    assert slots.is_one_free


def test_requests_go_by_priority_and_then_in_order_of_arrival() -> None:
    slots = Slots(2)
    order: list[str] = []

    def request(name: str) -> None:
        if name == "ahead":
            slots.reserve().drop()
        else:
            priority = Priority.QUERY if "query" in name else Priority.IMAGE
            slots.acquire(priority)
        order.append(name)
        if name not in ("ahead", "image 3"):
            slots.release()

    names = ["ahead", "image 1", "image 2", "query 1", "query 2", "image 3"]
    queue: list[Priority] = []
    threads = [threading.Thread(target=request, args=(name,)) for name in names]
    slots.acquire(Priority.IMAGE)
    slots.acquire(Priority.IMAGE)
    assert not slots.is_one_free
    for name, thread in zip(names, threads, strict=True):
        thread.start()
        kind = {"ah": Priority.READ_AHEAD, "im": Priority.IMAGE, "qu": Priority.QUERY}
        queue = sorted([*queue, kind[name[:2]]])
        until_waiting(slots, *queue)
    assert slots.waiting == 5
    assert order == []
    slots.release()
    for thread in threads[1:]:
        thread.join(PATIENCE_S)
    assert order == ["query 1", "query 2", "image 1", "image 2", "image 3"]
    slots.release()  # one is free: that is left to the next open
    until_waiting(slots, Priority.READ_AHEAD)
    slots.release()
    threads[0].join(PATIENCE_S)
    assert order[-1] == "ahead"
    assert slots.in_use == 0


def test_images_that_a_query_overtook_use_the_other_slot() -> None:
    """Two slots are free at once, one query waits: the other slot is an image's."""
    slots = Slots(2)
    together = threading.Barrier(3)

    def request(priority: Priority) -> None:
        with slots.at(priority):
            together.wait(PATIENCE_S)

    kinds = [Priority.IMAGE, Priority.QUERY]
    threads = [threading.Thread(target=request, args=(kind,)) for kind in kinds]
    slots.acquire(Priority.IMAGE)
    slots.acquire(Priority.IMAGE)
    for thread in threads:
        thread.start()
    until_waiting(slots, Priority.QUERY, Priority.IMAGE)
    slots.release()
    slots.release()
    together.wait(PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert slots.in_use == 0


@pytest.mark.parametrize("priority", [Priority.QUERY, Priority.IMAGE])
def test_no_slot_is_lost_when_work_raises(priority: Priority) -> None:
    slots = Slots(2)
    slot = slots.at(priority)
    for error in (ValueError, KeyboardInterrupt, SystemExit) * 3:
        with pytest.raises(error):
            with slot:
                raise error
    with slot, slots.at(Priority.IMAGE):  # both are there
        assert not slots.is_one_free
    assert slots.in_use == 0


def test_a_query_that_is_broken_off_while_it_waits_leaves_images_their_slots() -> None:
    is_broken_off = True

    def try_lock(_name: str) -> Callable[[], None]:
        if is_broken_off:
            raise KeyboardInterrupt
        return lambda: None

    slots = Slots(1, try_lock)
    with pytest.raises(KeyboardInterrupt), slots.at(Priority.QUERY):
        pytest.fail("entered")
    is_broken_off = False
    with ThreadPoolExecutor(1) as pool:
        pool.submit(slots.acquire, Priority.IMAGE).result(PATIENCE_S)
    assert (slots.in_use, slots.queue) == (1, [])


def test_read_ahead_leaves_one_slot_free() -> None:
    slots = Slots(3)
    first, second = slots.reserve(), slots.reserve()
    assert slots.is_one_free
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(slots.reserve)
        until_waiting(slots, Priority.READ_AHEAD)
        with slots.at(Priority.IMAGE):  # at once, and before the one that waits
            assert not slots.is_one_free
        until_waiting(slots, Priority.READ_AHEAD)
        assert slots.is_one_free
        first.drop()
        third.result(PATIENCE_S).drop()
    second.drop()
    assert slots.in_use == 0


def test_a_reserved_slot_serves_one_attempt_and_the_next_ones_wait_as_images() -> None:
    slots = Slots(2)
    slot = slots.reserve()
    with slot:
        assert slots.in_use == 1
    assert slots.in_use == 0
    slot.drop()  # it was used: nothing is held
    assert slots.in_use == 0
    with slot:  # a further attempt of the same download
        assert slots.in_use == 1
    assert slots.in_use == 0
    unused = slots.reserve()
    unused.drop()
    unused.drop()
    assert slots.in_use == 0


class Locks:
    """The locks that several processes share, each with its own `Slots`."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self._lock = threading.Lock()

    def try_lock(self, name: str) -> Callable[[], None] | None:
        with self._lock:
            if name in self.held:
                return None
            self.held.add(name)
            return lambda: self.held.remove(name)


def test_processes_with_one_store_share_the_limit() -> None:
    locks = Locks()
    processes = [Slots(4, locks.try_lock) for _ in range(3)]
    together = threading.Barrier(4)  # passed only by so many at once
    most: list[int] = []

    def work(place: int) -> None:
        with processes[place % 3].at(Priority.IMAGE):
            most.append(sum(slots.in_use for slots in processes))
            together.wait(PATIENCE_S)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(24)))
    assert max(most) == 4
    assert locks.held == set()


def test_each_process_keeps_its_own_limit() -> None:
    locks = Locks()
    large, small = Slots(3, locks.try_lock), Slots(1, locks.try_lock)
    with small.at(Priority.IMAGE):
        large.acquire(Priority.IMAGE)
        large.acquire(Priority.IMAGE)
        assert not large.is_one_free
    assert large.is_one_free
    with ThreadPoolExecutor(1) as pool:
        large.release()
        large.release()
        large.acquire(Priority.IMAGE)
        waiting = pool.submit(small.acquire, Priority.IMAGE)
        until_waiting(small, Priority.IMAGE)
        assert not small.is_one_free
        large.release()
        waiting.result(PATIENCE_S)


def test_a_busy_process_lets_another_one_go_next() -> None:
    locks = Locks()
    busy, other = Slots(1, locks.try_lock), Slots(1, locks.try_lock)
    busy.acquire(Priority.IMAGE)
    with ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(other.acquire, Priority.IMAGE)
        while "next-1" not in locks.held:
            time.sleep(0.001)
        queue = [pool.submit(busy.acquire, Priority.QUERY) for _ in range(8)]
        until_waiting(busy, *[Priority.QUERY] * 8)
        busy.release()
        waiting.result(PATIENCE_S)
        assert busy.in_use == 0
        other.release()
        for request in queue:
            request.result(PATIENCE_S)
            busy.release()


def test_read_ahead_waits_for_the_opens_of_other_processes() -> None:
    locks = Locks()
    reader, other = Slots(2, locks.try_lock), Slots(2, locks.try_lock)
    other.acquire(Priority.IMAGE)
    other.acquire(Priority.IMAGE)
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(reader.reserve)
        until_waiting(reader, Priority.READ_AHEAD)
        assert locks.try_lock("next-2")  # read-ahead does not hold it for long
        other.release()
        until_waiting(reader, Priority.READ_AHEAD)
        assert not ahead.done()
        locks.held.remove("next-2")
        ahead.result(PATIENCE_S).drop()


def test_a_lock_that_is_held_for_ever_delays_a_request_and_does_not_stop_it() -> None:
    locks = Locks()
    locks.held = {"next-1", "slot-0"}
    slots = Slots(1, locks.try_lock, patience_s=0.05)
    with slots.at(Priority.IMAGE):
        assert slots.in_use == 1
    assert locks.held == {"next-1", "slot-0"}


def test_a_process_of_a_lower_limit_that_waits_stops_no_other() -> None:
    locks = Locks()
    small, large = Slots(1, locks.try_lock), Slots(4, locks.try_lock)
    large.acquire(Priority.IMAGE)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(small.acquire, Priority.IMAGE)
        while "next-1" not in locks.held:
            time.sleep(0.001)
        for _ in range(3):
            large.acquire(Priority.IMAGE)
        assert large.in_use == 4
        assert not waiting.done()
        for _ in range(4):
            large.release()
        waiting.result(PATIENCE_S)
