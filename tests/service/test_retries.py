"""How often requests are sent, and when: exact counts, on real sockets."""

from __future__ import annotations

import socket
import time

import pytest
from hostile_service import JPEG, HostileService, black_hole, head, whole
from service_doubles import REQUEST, Bytes, Clock, Slot

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ImageNotFoundError,
    ProxyLoginError,
    ServiceError,
    ServiceTimeoutError,
)
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.rma import Query


@pytest.fixture
def clock():
    return Clock()


def _service(sample, clock, *, on_attempt=lambda _: None, sleep=None, **settings):
    return AllenService(
        ServiceSettings(sample.url, **settings),
        on_attempt=on_attempt,
        clock=clock,
        sleep=sleep or clock.sleep,
        jitter=lambda: 0.5,
    )


def test_transient_failure_is_tried_four_times_with_doubling_pauses(sample, clock):
    heard, sink = [], Bytes()
    service = _service(sample, clock, on_attempt=heard.append)
    sample.fail(Fault.STATUS_503)
    with pytest.raises(BusyError) as caught:
        service.fetch(REQUEST, sink)
    assert clock.slept_s == [0.5, 1.0, 2.0]
    assert sample.image_requests == 4
    error = caught.value
    assert (error.attempts, error.elapsed_s) == (4, 3.5)
    assert error.url == REQUEST.url(sample.url)
    assert [type(one) for one in heard] == [BusyError] * 4
    sample.heal()
    service.fetch(REQUEST, sink)
    assert sink.data.startswith(b"\xff\xd8")
    assert heard[4:] == [None]


def test_pause_between_attempts_holds_no_slot(sample, clock):
    slot, is_held = Slot(), []

    def sleep(seconds):
        is_held.append(slot.is_held)
        clock.sleep(seconds)

    sample.fail(Fault.STATUS_503, times=2)
    _service(sample, clock, sleep=sleep).fetch(REQUEST, Bytes(), slot)
    assert is_held == [False, False]


def test_answer_of_the_service_is_not_asked_again(sample, clock):
    sample.fail(Fault.STATUS_404)
    with pytest.raises(ImageNotFoundError):
        _service(sample, clock).fetch(
            REQUEST, Bytes(), may_retry=lambda _: pytest.fail("asked")
        )
    assert sample.image_requests == 1
    assert clock.slept_s == []


def test_retry_after_is_the_pause(sample, clock):
    sample.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    _service(sample, clock, first_backoff_s=0.01).fetch(REQUEST, Bytes())
    assert clock.slept_s == [1.0]


def test_no_pause_goes_beyond_the_deadline(sample, clock):
    sample.fail(Fault.STATUS_503)
    with pytest.raises(BusyError):
        _service(sample, clock, deadline_s=2.0).fetch(REQUEST, Bytes())
    assert clock.slept_s == [0.5, 1.0]  # the next would end at 3.5 s


def test_attempt_after_a_truncated_one_starts_over(sample, clock):
    service, whole, again = _service(sample, clock), Bytes(), Bytes()
    service.fetch(REQUEST, whole)
    sample.fail(Fault.CUT_CHUNKED, times=3)
    service.fetch(REQUEST, again)
    assert again.data == whole.data
    sample.fail(Fault.CUT_CHUNKED, times=4)
    with pytest.raises(CutAnswerError):
        service.fetch(REQUEST, again)


def test_a_transient_failure_is_reported_in_the_slot_and_may_end_the_attempts(
    sample, clock
):
    """Who gets the slot next must know of it already."""
    slot, is_held = Slot(), []

    def may_retry(error):
        is_held.append(slot.is_held)
        assert error.attempts == len(is_held)
        return len(is_held) < 2

    sample.fail(Fault.STATUS_503)
    with pytest.raises(BusyError) as raised:
        _service(sample, clock).fetch(REQUEST, Bytes(), slot, may_retry)
    assert is_held == [True, True]
    assert raised.value.attempts == sample.image_requests == 2
    assert clock.slept_s == [0.5]


def test_a_refused_login_is_the_error_of_all_requests_for_ten_seconds(clock):
    """Of images and queries alike: many failed log-ins lock an account."""
    query = Query("Product")
    with HostileService() as proxy:
        proxy.image = lambda _: [head("407 Proxy Authentication Required")]
        heard = []
        service = _service(proxy, clock, on_attempt=heard.append)
        for attempts in (1, 0, 0):
            with pytest.raises(ProxyLoginError) as raised:
                service.fetch(REQUEST, Bytes())
            assert raised.value.attempts == attempts
            assert raised.value.url == REQUEST.url(proxy.url)
        with pytest.raises(ProxyLoginError, match="proxy: 407"):
            service.page(query, start_row=0, num_rows=1)
        assert len(proxy.requests) == len(heard) == 1
        clock.now_s += 10
        meanwhile = []

        def says(_):
            try:
                service.page(query, start_row=0, num_rows=1)
            except ServiceError as error:
                meanwhile.append(error)
            return [whole(JPEG)]

        proxy.image = says
        service.fetch(REQUEST, Bytes())
        assert [type(error) for error in meanwhile] == [ProxyLoginError]
        assert service.page(query, start_row=0, num_rows=1) == []
        assert len(proxy.requests) == 1 + 2


def test_deadline_covers_all_addresses_of_a_host(monkeypatch):
    with black_hole() as url, SampleService() as sample:
        places = [one.rpartition("/")[2].split(":") for one in (url, sample.url)]
        found = [socket.getaddrinfo(*place)[0] for place in places]
        addresses = [found[0]] * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        service = AllenService(ServiceSettings(sample.url, deadline_s=0.5))
        began_s = time.monotonic()
        with pytest.raises(ServiceTimeoutError, match="deadline"):
            service.fetch(REQUEST, Bytes())
        assert time.monotonic() - began_s < 20  # and not 50
        # as long as there is time, the last address is as good as the first
        addresses[:] = found
        settings = ServiceSettings(sample.url, connect_timeout_s=0.2)
        AllenService(settings).fetch(REQUEST, Bytes())


def test_closing_ends_idle_connections_and_nothing_else(sample, clock):
    service, sink = _service(sample, clock), Bytes()
    for connections in (1, 2):
        for _ in range(2):
            service.fetch(REQUEST, sink)
        assert sample.connections == connections
        service.close()
