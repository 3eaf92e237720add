"""Failures are the answer for a while, and gone with the image's arrival."""

from __future__ import annotations

import threading

import pytest
from store_helpers import section

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BrokenImageError,
    BusyError,
    CutAnswerError,
    ImageNotFoundError,
    ProxyLoginError,
    WrongAnswerError,
)
from allenfs.service.health import CircuitBreaker, FailureMemory, is_outage


class World:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.failures = FailureMemory(
            ServiceSettings("http://h"), clock=lambda: self.now_s
        )


def test_a_failure_is_remembered_for_ten_seconds_and_its_words_for_an_hour():
    world = World()
    world.failures.remember(section(1), CutAnswerError("cut"))
    world.failures.remember(section(2), ImageNotFoundError("none"))
    world.now_s += 9.9
    assert isinstance(world.failures.remembered(section(1)), CutAnswerError)
    world.now_s += 0.2
    assert world.failures.remembered(section(1)) is None
    assert isinstance(world.failures.remembered(section(2)), ImageNotFoundError)
    world.now_s += 50
    assert world.failures.remembered(section(2)) is None
    assert "cut" in (world.failures.reason(section(1)) or "")
    world.now_s += 3600
    assert world.failures.reason(section(1)) is None


def test_ten_thousand_failing_images_are_asked_for_once_a_minute():
    """More than four connections bring in that time from a service of 25 ms."""
    world = World()
    for _ in range(2):
        for number in range(1, 10_001):
            if world.failures.remembered(section(number)) is None:
                assert world.now_s == 100
                world.failures.remember(section(number), ImageNotFoundError("none"))
        world.now_s += 59


def test_an_image_that_is_here_has_no_failure_any_more():
    world = World()
    for number in (1, 2):
        world.failures.remember(section(number), BusyError("busy"))
    world.failures.forget(section(1))
    world.failures.forget(section(3))
    assert world.failures.remembered(section(1)) is None
    assert world.failures.reason(section(1)) is None
    assert world.failures.remembered(section(2)) is not None


def test_each_reader_gets_a_failure_of_his_own():
    world = World()
    error = CutAnswerError("cut")
    world.failures.remember(section(1), error)
    first, second = (world.failures.remembered(section(1)) for _ in range(2))
    assert first is not second
    assert error not in (first, second)


def test_trouble_is_the_services_not_an_images():
    for error in (
        CutAnswerError("cut"),
        BrokenImageError("no JPEG"),
        WrongAnswerError("wrong"),
        ImageNotFoundError("none"),
    ):
        assert not is_outage(error)
    assert is_outage(BusyError("busy"))
    assert is_outage(ProxyLoginError("407"))


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_a_breaker_is_open_for_its_pause_or_as_long_as_the_service_asked():
    clock = Clock()
    breaker = CircuitBreaker(10, clock=clock)
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    clock.now_s += 10
    assert not breaker.is_open
    breaker.failed(60)
    breaker.failed(1)  # the longer one counts
    clock.now_s += 59
    assert breaker.is_open
    clock.now_s += 1
    assert not breaker.is_open


def test_a_breaker_opens_after_consecutive_failures_and_closes_with_an_answer():
    breaker = CircuitBreaker(10, threshold=3, clock=Clock())
    for _ in range(5):
        for _ in range(2):
            with breaker.turn() as may_ask:
                assert may_ask
                breaker.failed()
        assert not breaker.is_open
        breaker.answered()
    for _ in range(3):
        breaker.failed()
    assert breaker.is_open
    breaker.answered()
    assert not breaker.is_open


def tripped(clock):
    breaker = CircuitBreaker(10, threshold=4, patience_s=30, clock=clock)
    for _ in range(4):
        breaker.failed()
    return breaker


def waiting(breaker, count):
    """Start threads that send a request in a turn; their turns, when they had them."""
    turns = []

    def take_turn():
        with breaker.turn() as may_ask:
            turns.append(may_ask)

    threads = [threading.Thread(target=take_turn) for _ in range(count)]
    for thread in threads:
        thread.start()
    return turns, threads


def test_an_open_breaker_gives_a_turn_every_pause_until_patience_is_over():
    clock = Clock()
    breaker = tripped(clock)
    for expected in (False, False, True):
        clock.now_s += 10
        with breaker.turn() as may_ask:
            assert may_ask
            breaker.failed()
        assert breaker.is_stopped is expected
    with breaker.turn() as may_ask:
        assert not may_ask


def test_patience_starts_again_after_an_answer():
    clock = Clock()
    breaker = tripped(clock)
    for _ in range(5):
        clock.now_s += 20
        with breaker.turn() as may_ask:
            assert may_ask
            breaker.answered()
        for _ in range(4):
            breaker.failed()
    assert not breaker.is_stopped


@pytest.mark.parametrize("is_stopped", [False, True])
def test_an_open_breaker_has_one_turn_at_a_time(is_stopped):
    clock = Clock()
    breaker = tripped(clock)
    clock.now_s += 10
    with breaker.turn():
        turns, threads = waiting(breaker, 3)
        assert turns == []
        if is_stopped:
            breaker.stop()
        else:
            breaker.answered()
        for thread in threads:
            thread.join(30)
    assert turns == [not is_stopped] * 3


def test_a_turn_without_a_request_leaves_it_to_the_next():
    clock = Clock()
    breaker = tripped(clock)
    clock.now_s += 10
    for _ in range(3):
        with breaker.turn() as may_ask:
            assert may_ask
    assert breaker.is_tripped
