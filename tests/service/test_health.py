"""Failures are the answer for a while, and gone with the image's arrival."""

from __future__ import annotations

from store_helpers import section

from allenfs.config import ServiceSettings
from allenfs.errors import (
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


def test_a_failure_is_remembered_for_ten_seconds_and_its_words_for_an_hour() -> None:
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


def test_ten_thousand_failing_images_are_asked_for_once_a_minute() -> None:
    """More than four connections bring in that time from a service of 25 ms."""
    world = World()
    for _ in range(2):
        for number in range(1, 10_001):
            if world.failures.remembered(section(number)) is None:
                assert world.now_s == 100
                world.failures.remember(section(number), ImageNotFoundError("none"))
        world.now_s += 59


def test_an_image_that_is_here_has_no_failure_any_more() -> None:
    world = World()
    for number in (1, 2):
        world.failures.remember(section(number), BusyError("busy"))
    world.failures.forget(section(1))
    world.failures.forget(section(3))
    assert world.failures.remembered(section(1)) is None
    assert world.failures.reason(section(1)) is None
    assert world.failures.remembered(section(2)) is not None


def test_each_reader_gets_a_failure_of_his_own() -> None:
    world = World()
    error = CutAnswerError("cut")
    world.failures.remember(section(1), error)
    first, second = (world.failures.remembered(section(1)) for _ in range(2))
    assert first is not second
    assert error not in (first, second)


def test_trouble_is_the_services_not_an_images() -> None:
    for error in (
        CutAnswerError("cut"),
        WrongAnswerError("wrong"),
        ImageNotFoundError("none"),
    ):
        assert not is_outage(error)
    assert is_outage(BusyError("busy"))
    assert is_outage(ProxyLoginError("407"))


def test_a_breaker_is_open_for_its_pause_or_as_long_as_the_service_asked() -> None:
    now_s = 100.0
    breaker = CircuitBreaker(10, clock=lambda: now_s)
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    now_s += 10
    assert not breaker.is_open
    breaker.failed(60)
    breaker.failed(1)  # the longer one counts
    now_s += 59
    assert breaker.is_open
    now_s += 1
    assert not breaker.is_open


def test_a_breaker_opens_after_consecutive_failures_and_closes_with_an_answer() -> None:
    breaker = CircuitBreaker(10, threshold=3, clock=lambda: 0)
    breaker.failed()
    breaker.failed()
    breaker.answered()
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    breaker.answered()
    assert not breaker.is_open
