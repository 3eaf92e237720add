"""A few requests at a time, queries before images, and no turn is ever lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from allenfs.service.slots import Rank, Turns

PATIENCE_S = 30


class WatchedTurns(Turns):
    """Tells when so many have begun to wait, which nobody else can see."""

    @property
    def waiting(self) -> int:
        return len(self._changed._waiters)


def until_waiting(turns: WatchedTurns, count: int) -> None:
    """Return once `count` threads sleep in `take`."""
    gone = threading.Event()
    for _ in range(PATIENCE_S * 200):
        with turns._changed:
            if turns.waiting == count:
                return
        gone.wait(0.005)
    pytest.fail(f"{turns.waiting} of {count} wait")


@pytest.mark.parametrize("number", [1, 2, 4])
def test_never_more_than_so_many_at_a_time_and_as_many_as_that(number: int) -> None:
    turns = Turns(number)
    together = threading.Barrier(number)  # passed only by so many at once
    lock = threading.Lock()
    under_way: list[int] = []
    most: list[int] = []

    def work(place: int) -> None:
        with turns.for_query if place % 3 == 0 else turns.for_image:
            with lock:
                under_way.append(place)
                most.append(len(under_way))
            together.wait(PATIENCE_S)
            with lock:
                under_way.remove(place)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(24)))
    assert len(most) == 24
    assert max(most) == number
    assert turns.is_one_free


def test_a_waiting_query_goes_before_images_that_waited_longer() -> None:
    turns = WatchedTurns(1)
    order: list[str] = []

    def take(name: str) -> None:
        with turns.for_query if name.startswith("query") else turns.for_image:
            order.append(name)

    names = ["image 1", "image 2", "image 3", "query 1", "query 2"]
    threads = [threading.Thread(target=take, args=(name,)) for name in names]
    with turns.for_image:
        assert not turns.is_one_free
        for count, thread in enumerate(threads, 1):
            thread.start()
            until_waiting(turns, count)
        assert order == []
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(order[:2]) == ["query 1", "query 2"]
    assert sorted(order[2:]) == ["image 1", "image 2", "image 3"]
    assert turns.is_one_free


@pytest.mark.parametrize("_", range(20))
def test_images_that_stood_back_go_on_beside_a_query(_: int) -> None:
    """Two turns come free at once, one query waits: the other turn is an image's."""
    turns = WatchedTurns(2)
    may_end = threading.Event()
    query_is_in, image_is_in = threading.Event(), threading.Event()

    def query() -> None:
        with turns.for_query:
            query_is_in.set()
            assert may_end.wait(PATIENCE_S)

    def image() -> None:
        with turns.for_image:
            image_is_in.set()
            assert may_end.wait(PATIENCE_S)

    threads = [threading.Thread(target=one, daemon=True) for one in (image, query)]
    turns.take(Rank.IMAGE)
    turns.take(Rank.IMAGE)
    for count, thread in enumerate(threads, 1):
        thread.start()
        until_waiting(turns, count)
    with turns._changed:  # nobody looks between the two
        turns.give_back()
        turns.give_back()
    assert query_is_in.wait(PATIENCE_S)
    assert image_is_in.wait(PATIENCE_S)  # while the query still has its turn
    assert not turns.is_one_free
    may_end.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert turns.is_one_free


@pytest.mark.parametrize("is_query", [True, False])
def test_no_turn_is_lost_when_work_raises(is_query: bool) -> None:
    turns = Turns(2)
    turn = turns.for_query if is_query else turns.for_image
    for error in (ValueError, KeyboardInterrupt, SystemExit) * 3:
        with pytest.raises(error):
            with turn:
                raise error
    with turn, turns.for_image:  # both are there
        assert not turns.is_one_free
    assert turns.is_one_free


def test_an_image_waits_for_no_query_that_has_gone() -> None:
    turns = Turns(1)
    for _ in range(100):
        with turns.for_query:
            pass
    done = threading.Event()

    def image() -> None:
        with turns.for_image:
            done.set()

    thread = threading.Thread(target=image, daemon=True)
    thread.start()
    assert done.wait(PATIENCE_S)
    thread.join(PATIENCE_S)


def test_a_waiting_query_that_is_broken_off_leaves_images_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns(1)

    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(turns._changed, "wait_for", broken_off)
        with pytest.raises(KeyboardInterrupt), turns.for_query:
            pytest.fail("entered")
    taken = threading.Event()

    def image() -> None:
        with turns.for_image:
            taken.set()

    thread = threading.Thread(target=image, daemon=True)
    thread.start()
    assert taken.wait(5)


def test_a_spare_turn_leaves_one_free() -> None:
    turns = WatchedTurns(3)
    first, second = turns.spare(), turns.spare()
    assert turns.is_one_free
    got = threading.Event()

    def third() -> None:
        turns.spare().drop()
        got.set()

    thread = threading.Thread(target=third, daemon=True)
    thread.start()
    until_waiting(turns, 1)
    with turns.for_image:  # at once, and before the one that waits
        assert not turns.is_one_free
    until_waiting(turns, 1)
    assert not got.is_set()
    first.drop()
    assert got.wait(PATIENCE_S)
    second.drop()
    thread.join(PATIENCE_S)
    assert turns._free == 3


def test_whoever_waits_goes_before_a_spare_turn() -> None:
    turns = WatchedTurns(2)
    order: list[str] = []

    def spare() -> None:
        turn = turns.spare()
        order.append("spare")
        turn.drop()

    def take(name: str) -> None:
        with turns.for_query if name == "query" else turns.for_image:
            order.append(name)

    threads = [threading.Thread(target=spare, daemon=True)]
    threads += [
        threading.Thread(target=take, args=(name,), daemon=True)
        for name in ("image", "query")
    ]
    turns.take(Rank.IMAGE)
    turns.take(Rank.IMAGE)
    for count, thread in enumerate(threads, 1):
        thread.start()
        until_waiting(turns, count)
    turns.give_back()
    for thread in threads[1:]:
        thread.join(PATIENCE_S)
    assert order == ["query", "image"]
    until_waiting(turns, 1)  # one is free: that is left to who asks
    turns.give_back()
    threads[0].join(PATIENCE_S)
    assert order == ["query", "image", "spare"]
    assert turns._free == 2


def test_a_spare_turn_is_given_back_once_and_then_taken_as_for_any_image() -> None:
    turns = Turns(2)
    turn = turns.spare()
    with turn:
        assert turns._free == 1
    assert turns._free == 2
    turn.drop()  # it was used: nothing is held
    assert turns._free == 2
    with turn:  # a further attempt of the same download
        assert turns._free == 1
    assert turns._free == 2
    unused = turns.spare()
    unused.drop()
    unused.drop()
    assert turns._free == 2
