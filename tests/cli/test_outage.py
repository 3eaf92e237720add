"""A service that does not answer is asked seldom, one at a time, and not for ever."""

from __future__ import annotations

import threading

from allenfs.cli.prefetch.outage import Outage


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def down(clock: Clock, *, patience_s: float = 30) -> Outage:
    outage = Outage(pause_s=10, patience_s=patience_s, clock=clock)
    for _ in range(4):
        assert outage.may_ask()
        outage.failed("no route")
    assert outage.is_on
    return outage


def test_three_failures_in_a_row_and_an_answer_are_no_outage() -> None:
    outage = Outage(pause_s=10, patience_s=30)
    for _ in range(5):
        for _ in range(3):
            assert outage.may_ask()
            assert not outage.failed("no route")
        assert outage.may_ask()
        outage.answered()
    assert outage.reason is None


def test_it_is_asked_again_every_pause_until_patience_is_over() -> None:
    clock = Clock()
    outage = down(clock)
    for _ in range(2):
        clock.now_s += 10
        assert outage.may_ask()
        assert outage.failed("no route")
    clock.now_s += 10
    assert outage.may_ask()
    assert not outage.failed("no route")
    assert not outage.may_ask()
    assert outage.reason == "the service does not answer: no route"


def test_one_answer_ends_it_and_patience_begins_anew() -> None:
    clock = Clock()
    outage = down(clock)
    for _ in range(5):
        clock.now_s += 10
        assert outage.may_ask()
        outage.answered()
        assert not outage.is_on
        for _ in range(4):
            assert outage.may_ask()
            outage.failed("no route")
    assert outage.reason is None


def test_while_one_asks_the_others_wait_and_then_all_go_on() -> None:
    clock = Clock()
    outage = down(clock)
    clock.now_s += 10
    assert outage.may_ask()
    went: list[bool] = []
    others = [
        threading.Thread(target=lambda: went.append(outage.may_ask())) for _ in range(3)
    ]
    for other in others:
        other.start()
    assert went == []
    outage.answered()
    for other in others:
        other.join(30)
    assert went == [True] * 3


def test_who_may_ask_and_does_not_leaves_it_to_another() -> None:
    clock = Clock()
    outage = down(clock)
    clock.now_s += 10
    for _ in range(3):
        assert outage.may_ask()
        outage.unasked()
    assert outage.is_on


def test_giving_up_lets_everybody_who_waits_go() -> None:
    outage = down(Clock())
    went: list[bool] = []
    waiting = threading.Thread(target=lambda: went.append(outage.may_ask()))
    waiting.start()
    outage.give_up("no room")
    outage.give_up("another reason")
    waiting.join(30)
    assert went == [False]
    assert outage.reason == "no room"
