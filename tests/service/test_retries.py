"""How often the service is asked, and when: exact counts, on real sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hostile_service import JPEG, HostileService, black_hole, head, whole

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ImageNotFoundError,
    ProxyLoginError,
    ServiceError,
    ServiceTimeoutError,
)
from allenfs.model import tree
from allenfs.model.nodes import ImageFile
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.rma import Query

if TYPE_CHECKING:
    from allenfs.model.images import ImageRequest


class Bytes:
    """A sink in memory, and what was promised before the first byte."""

    def __init__(self) -> None:
        self.data = b""
        self.promised: list[int | None] = []

    def restart(self) -> None:
        self.data = b""

    def expect(self, promised_bytes: int | None) -> None:
        assert self.data == b""
        self.promised.append(promised_bytes)

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def view(self) -> bytes:
        return self.data


class Clock:
    """Time that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


class Slot(contextlib.AbstractContextManager[None]):
    """Tells whether somebody is in it."""

    is_held = False

    def __enter__(self) -> None:
        self.is_held = True

    def __exit__(self, *_: object) -> None:
        self.is_held = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _request() -> ImageRequest:
    node = tree.parse("section/69750516/ds6/image.jpg")
    assert isinstance(node, ImageFile)
    return node.request


def _service(sample: SampleService, clock: Clock, **settings: float) -> AllenService:
    return AllenService(
        ServiceSettings(sample.url, **settings),  # type: ignore[arg-type]
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 0.5,
    )


def test_transient_failure_is_tried_four_times_with_doubling_pauses(
    sample: SampleService, clock: Clock
) -> None:
    service, sink = _service(sample, clock), Bytes()
    sample.fail(Fault.STATUS_503)
    with pytest.raises(BusyError) as caught:
        service.fetch(_request(), sink)
    assert clock.slept_s == [0.5, 1.0, 2.0]
    assert sample.image_requests == 4
    error = caught.value
    assert (error.attempts, error.elapsed_s) == (4, 3.5)
    assert error.url == _request().url(sample.url)
    sample.heal()
    service.fetch(_request(), sink)
    assert sink.data.startswith(b"\xff\xd8")


def test_answer_of_the_service_is_not_asked_again(
    sample: SampleService, clock: Clock
) -> None:
    sample.fail(Fault.STATUS_404)
    with pytest.raises(ImageNotFoundError):
        _service(sample, clock).fetch(_request(), Bytes())
    assert sample.image_requests == 1
    assert clock.slept_s == []


def test_every_attempt_is_heard_of_once(sample: SampleService, clock: Clock) -> None:
    heard: list[str | None] = []
    sample.fail(Fault.STATUS_503, times=2)
    service = AllenService(
        ServiceSettings(sample.url),
        on_attempt=lambda error: heard.append(error.cause if error else None),
        sleep=clock.sleep,
    )
    service.fetch(_request(), Bytes())
    assert heard == ["HTTP 503 Service Unavailable"] * 2 + [None]
    assert sample.image_requests == 3


def test_retry_after_is_the_pause(sample: SampleService, clock: Clock) -> None:
    sample.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    _service(sample, clock, first_backoff_s=0.01).fetch(_request(), Bytes())
    assert clock.slept_s == [1.0]


def test_no_pause_goes_beyond_the_deadline(sample: SampleService, clock: Clock) -> None:
    sample.fail(Fault.STATUS_503)
    with pytest.raises(BusyError):
        _service(sample, clock, deadline_s=2.0).fetch(_request(), Bytes())
    assert clock.slept_s == [0.5, 1.0]  # the next would end at 3.5 s


def test_attempt_after_a_cut_one_begins_anew(
    sample: SampleService, clock: Clock
) -> None:
    service, whole, again = _service(sample, clock), Bytes(), Bytes()
    service.fetch(_request(), whole)
    sample.fail(Fault.CUT_CHUNKED, times=3)
    service.fetch(_request(), again)
    assert again.data == whole.data
    sample.fail(Fault.CUT_CHUNKED, times=4)
    with pytest.raises(CutAnswerError):
        service.fetch(_request(), again)


def test_connection_is_used_again_after_errors_and_redirects(
    sample: SampleService, clock: Clock
) -> None:
    service = _service(sample, clock)
    sample.fail(Fault.STATUS_404, times=1)
    with pytest.raises(ImageNotFoundError):
        service.fetch(_request(), Bytes())
    for _ in range(5):
        service.fetch(_request(), Bytes())
    assert sample.image_requests == 6
    assert sample.connections == 1


def test_pause_between_attempts_holds_no_slot(
    sample: SampleService, clock: Clock
) -> None:
    slot = Slot()
    slept_inside: list[bool] = []

    def sleep(seconds: float) -> None:
        slept_inside.append(slot.is_held)
        clock.sleep(seconds)

    service = AllenService(ServiceSettings(sample.url), clock=clock, sleep=sleep)
    sample.fail(Fault.STATUS_503, times=2)
    service.fetch(_request(), Bytes(), slot)
    assert slept_inside == [False, False]


@pytest.mark.parametrize("fault", [Fault.STATUS_503, Fault.CUT_CHUNKED])
def test_a_transient_failure_is_told_in_the_turn_and_may_end_the_attempts(
    sample: SampleService, clock: Clock, fault: Fault
) -> None:
    """Who gets the slot next must know of it already."""
    slot = Slot()
    told_inside: list[bool] = []

    def may_retry(error: ServiceError) -> bool:
        told_inside.append(slot.is_held)
        assert error.attempts == len(told_inside)
        return len(told_inside) < 2

    sample.fail(fault)
    with pytest.raises(ServiceError) as raised:
        _service(sample, clock).fetch(_request(), Bytes(), slot, may_retry)
    assert told_inside == [True, True]
    assert raised.value.attempts == 2
    assert sample.image_requests == 2
    assert clock.slept_s == [0.5]


def test_a_final_failure_is_not_asked_about(
    sample: SampleService, clock: Clock
) -> None:
    sample.fail(Fault.STATUS_404)
    with pytest.raises(ImageNotFoundError):
        _service(sample, clock).fetch(
            _request(), Bytes(), may_retry=lambda _: pytest.fail("asked")
        )


def test_a_refused_log_in_is_answered_to_everybody_for_ten_seconds(
    clock: Clock,
) -> None:
    """Of images and queries alike: many failed log-ins lock an account."""
    query = Query("Product")
    with HostileService() as proxy:
        proxy.image = lambda _: [head("407 Proxy Authentication Required")]
        heard: list[ServiceError | None] = []
        service = AllenService(
            ServiceSettings(proxy.url),
            clock=clock,
            sleep=clock.sleep,
            on_attempt=heard.append,
        )
        for attempts in (1, 0, 0):
            with pytest.raises(ProxyLoginError) as raised:
                service.fetch(_request(), Bytes())
            assert raised.value.attempts == attempts
            assert raised.value.url == _request().url(proxy.url)
        with pytest.raises(ProxyLoginError, match="proxy: 407"):
            service.page(query, start_row=0, num_rows=1)
        assert len(proxy.requests) == len(heard) == 1
        clock.now_s += 10
        meanwhile: list[Exception] = []

        def says(_: str) -> list[bytes]:
            try:
                service.page(query, start_row=0, num_rows=1)
            except ServiceError as error:
                meanwhile.append(error)
            return [whole(JPEG)]

        proxy.image = says
        service.fetch(_request(), Bytes())
        assert [type(error) for error in meanwhile] == [ProxyLoginError]
        assert service.page(query, start_row=0, num_rows=1) == []
        assert len(proxy.requests) == 1 + 2


def test_deadline_covers_all_addresses_of_a_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with black_hole() as url, SampleService() as sample:
        found = [socket.getaddrinfo(*_place(one))[0] for one in (url, sample.url)]
        addresses = [found[0]] * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        service = AllenService(ServiceSettings(sample.url, deadline_s=0.5))
        began_s = time.monotonic()
        with pytest.raises(ServiceTimeoutError, match="deadline"):
            service.fetch(_request(), Bytes())
        assert time.monotonic() - began_s < 20  # and not 50
        # as long as there is time, the last address is as good as the first
        addresses[:] = found
        settings = ServiceSettings(sample.url, connect_timeout_s=0.2)
        AllenService(settings).fetch(_request(), Bytes())


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port
