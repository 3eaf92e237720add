"""Failures are remembered, and a service in trouble is left alone for a while."""

from __future__ import annotations

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ImageNotFoundError,
    ProxyLoginError,
    WrongAnswerError,
)
from allenfs.service.health import CircuitBreaker, FailureMemory, is_outage


def test_ten_thousand_failing_images_are_asked_for_once_a_minute():
    """More than four connections bring in that time from a service of 25 ms."""
    now_s = 100.0
    failures = FailureMemory(ServiceSettings("http://h"), clock=lambda: now_s)
    for _ in range(2):
        for number in range(10_000):
            if failures.remembered(number) is None:
                assert now_s == 100
                failures.remember(number, ImageNotFoundError("none"))
        now_s += 59


def test_an_outage_is_of_the_service_not_of_an_image():
    for error in (CutAnswerError, WrongAnswerError, ImageNotFoundError):
        assert not is_outage(error(""))
    assert is_outage(BusyError("busy"))
    assert is_outage(ProxyLoginError("407"))


def test_a_breaker_is_open_for_its_pause_or_as_long_as_the_service_asked():
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


def test_a_breaker_opens_after_consecutive_failures_and_closes_with_an_answer():
    breaker = CircuitBreaker(10, threshold=3, clock=lambda: 0)
    for _ in range(2):
        breaker.failed()
        breaker.failed()
        assert not breaker.is_open
        breaker.failed()
        assert breaker.is_open
        breaker.answered()
        assert not breaker.is_open
    breaker.failed()
    breaker.failed()
    breaker.answered()
    breaker.failed()
    assert not breaker.is_open
