"""A few requests at a time, queries before images, and no slot is ever lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiters import PATIENCE_S

from allenfs.service.slots import Priority, Slots

QUERY, IMAGE, READ_AHEAD = Priority


class Locks:
    """The locks that several processes share, each with its own `Slots`."""

    def __init__(self):
        self.held = set()
        self._lock = threading.Lock()

    def try_lock(self, name):
        with self._lock:
            if name in self.held:
                return None
            self.held.add(name)
            return lambda: self.held.remove(name)


@pytest.fixture
def locks():
    return Locks()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(12) as running:
        yield running


def until(condition):
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.001)


def until_waiting(slots, *queue):
    until(lambda: slots.queue == [*queue])


@pytest.mark.parametrize(("processes", "limit"), [(1, 1), (1, 4), (3, 4)])
def test_as_many_as_the_limit_at_a_time_in_all_processes(locks, pool, processes, limit):
    each = [Slots(limit, locks.try_lock) for _ in range(processes)]
    together = threading.Barrier(limit)  # passed only by so many at once
    most = []

    def work(place):
        with each[place % processes].at(QUERY if place % 4 == 0 else IMAGE):
            most.append(sum(slots.in_use for slots in each))
            together.wait(PATIENCE_S)

    list(pool.map(work, range(24)))
    assert len(most) == 24
    assert max(most) == limit
    assert all(slots.is_one_free for slots in each)
    assert locks.held == set()


def test_requests_go_by_priority_and_then_in_order_of_arrival(pool):
    slots, order = Slots(2), []

    def request(name, priority):
        if priority is READ_AHEAD:
            slots.reserve().drop()
        else:
            slots.acquire(priority)
        order.append(name)
        if name not in ("ahead", "image 3"):
            slots.release()

    slots.acquire(IMAGE)
    slots.acquire(IMAGE)
    assert not slots.is_one_free
    names = ["ahead", "image 1", "image 2", "query 1", "query 2", "image 3"]
    queue = []
    for name in names:
        priority = {"ah": READ_AHEAD, "im": IMAGE, "qu": QUERY}[name[:2]]
        pool.submit(request, name, priority)
        queue = sorted([*queue, priority])
        until_waiting(slots, *queue)
    assert slots.waiting == 5
    slots.release()
    until(lambda: len(order) == 5)
    assert order == ["query 1", "query 2", "image 1", "image 2", "image 3"]
    slots.release()  # one is free: that is left to the next open
    until_waiting(slots, READ_AHEAD)
    slots.release()
    until(lambda: len(order) == 6 and slots.in_use == 0)


def test_images_that_a_query_overtook_use_the_other_slot(pool):
    """Two slots are free at once, one query waits: the other slot is an image's."""
    slots = Slots(2)
    together = threading.Barrier(3)

    def request(priority):
        with slots.at(priority):
            together.wait(PATIENCE_S)

    slots.acquire(IMAGE)
    slots.acquire(IMAGE)
    for priority in (IMAGE, QUERY):
        pool.submit(request, priority)
    until_waiting(slots, QUERY, IMAGE)
    slots.release()
    slots.release()
    together.wait(PATIENCE_S)
    until(lambda: slots.in_use == 0)


@pytest.mark.parametrize("priority", [QUERY, IMAGE])
def test_no_slot_is_lost_when_work_raises(priority):
    slots = Slots(2)
    slot = slots.at(priority)
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            with slot:
                raise error
    with slot, slots.at(IMAGE):  # both are there
        assert not slots.is_one_free
    assert slots.in_use == 0


def test_a_query_that_is_broken_off_while_it_waits_leaves_images_their_slots(pool):
    is_broken_off = True

    def try_lock(_name):
        if is_broken_off:
            raise KeyboardInterrupt
        return lambda: None

    slots = Slots(1, try_lock)
    with pytest.raises(KeyboardInterrupt), slots.at(QUERY):
        pytest.fail("entered")
    is_broken_off = False
    pool.submit(slots.acquire, IMAGE).result(PATIENCE_S)
    assert (slots.in_use, slots.queue) == (1, [])


def test_read_ahead_leaves_one_slot_free(pool):
    slots = Slots(3)
    first, second = slots.reserve(), slots.reserve()
    assert slots.is_one_free
    third = pool.submit(slots.reserve)
    until_waiting(slots, READ_AHEAD)
    with slots.at(IMAGE):  # at once, and before the one that waits
        assert not slots.is_one_free
    until_waiting(slots, READ_AHEAD)
    first.drop()
    third.result(PATIENCE_S).drop()
    second.drop()
    assert slots.in_use == 0


@pytest.mark.parametrize("priority", [QUERY, IMAGE])
def test_read_ahead_may_fill_all_slots_until_anything_else_needs_one(pool, priority):
    slots = Slots(2)
    ahead = [slots.reserve()]
    second = pool.submit(slots.reserve)
    until_waiting(slots, READ_AHEAD)
    slots.let_read_ahead_fill()  # wakes it
    ahead.append(second.result(PATIENCE_S))
    assert slots.is_one_free  # as soon as one of these ends
    waiting = pool.submit(slots.acquire, priority)
    until_waiting(slots, priority)
    assert not slots.is_one_free
    ahead.pop().drop()
    waiting.result(PATIENCE_S)
    slots.release()
    assert slots.is_one_free  # which read-ahead leaves again
    third = pool.submit(slots.reserve)
    until_waiting(slots, READ_AHEAD)
    ahead.pop().drop()
    third.result(PATIENCE_S).drop()


def test_a_reserved_slot_serves_one_attempt_and_the_next_ones_wait_as_images():
    slots = Slots(2)
    slot = slots.reserve()
    for _ in range(2):  # the second attempt acquires another one
        with slot:
            assert slots.in_use == 1
        slot.drop()  # it was used, so no slot is held
        assert slots.in_use == 0
    unused = slots.reserve()
    unused.drop()
    unused.drop()
    assert slots.in_use == 0


# Several processes


def test_each_process_keeps_its_own_limit(locks, pool):
    large, small = Slots(3, locks.try_lock), Slots(1, locks.try_lock)
    with small.at(IMAGE):
        large.acquire(IMAGE)
        large.acquire(IMAGE)
        assert not large.is_one_free
    large.release()
    large.release()
    large.acquire(IMAGE)
    waiting = pool.submit(small.acquire, IMAGE)
    until(lambda: "next-1" in locks.held)
    for _ in range(2):  # which the one that waits does not stop
        large.acquire(IMAGE)
    assert not waiting.done()
    for _ in range(3):
        large.release()
    waiting.result(PATIENCE_S)


def test_a_busy_process_lets_another_one_go_next(locks, pool):
    busy, other = Slots(1, locks.try_lock), Slots(1, locks.try_lock)
    busy.acquire(IMAGE)
    waiting = pool.submit(other.acquire, IMAGE)
    until(lambda: "next-1" in locks.held)
    queue = [pool.submit(busy.acquire, QUERY) for _ in range(8)]
    until_waiting(busy, *[QUERY] * 8)
    busy.release()
    waiting.result(PATIENCE_S)
    assert busy.in_use == 0
    other.release()
    for request in queue:
        request.result(PATIENCE_S)
        busy.release()


@pytest.mark.parametrize("limit", [1, 2])
def test_read_ahead_waits_for_the_opens_of_other_processes(locks, pool, limit):
    reader, other = Slots(2, locks.try_lock), Slots(limit, locks.try_lock)
    reader.let_read_ahead_fill()
    ahead = [reader.reserve(), reader.reserve()]
    waiting = pool.submit(other.acquire, IMAGE)
    until(lambda: f"next-{limit}" in locks.held)
    more = pool.submit(reader.reserve)
    until_waiting(reader, READ_AHEAD)
    others = reader.others
    ahead.pop().drop()  # slot 1, which a limit of 1 cannot use
    until(lambda: waiting.done() or reader.others > others)
    ahead.pop().drop()
    waiting.result(PATIENCE_S)
    more.result(PATIENCE_S).drop()  # as soon as nothing else waits
    assert reader.in_use == 0
    other.release()
    assert locks.held == set()


def test_a_lock_that_is_held_for_ever_delays_a_request_and_does_not_stop_it(locks):
    locks.held = {"next-1", "slot-0"}
    slots = Slots(1, locks.try_lock, patience_s=0.05)
    with slots.at(IMAGE):
        assert slots.in_use == 1
    assert locks.held == {"next-1", "slot-0"}
