"""Every fault, as a client sees it on the socket."""

from __future__ import annotations

import gzip
import http.client
import itertools
import socket
import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from allenfs.sample.server import Fault, SampleService
from allenfs.sample.traffic import Asked, Traffic

THUMB = "/api/v2/image_download/69750516?downsample=6"
OTHER = "/api/v2/image_download/69750520?downsample=6"
STATUSES = {
    Fault.STATUS_400: 400,
    Fault.STATUS_401: 401,
    Fault.STATUS_403: 403,
    Fault.STATUS_404: 404,
    Fault.STATUS_429: 429,
    Fault.STATUS_429_RETRY_AFTER: 429,
    Fault.STATUS_500: 500,
    Fault.STATUS_503: 503,
    Fault.HTML_200: 200,
}
ENDLESS = (
    Fault.SILENT, Fault.DRIP_BODY, Fault.DRIP_HEADERS, Fault.ENDLESS_BODY
)  # fmt: skip


def until(condition) -> None:
    tick = threading.Event()
    for _ in range(2000):
        if condition():
            return
        tick.wait(0.005)
    pytest.fail("waited 10 s")


def connected(service: SampleService) -> http.client.HTTPConnection:
    parts = urlsplit(service.url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)


def ask(service, target=THUMB, method="GET"):
    with closing(connected(service)) as connection:
        connection.request(method, target)
        response = connection.getresponse()
        return response, response.read()


@pytest.fixture
def jpeg(service):
    service.fail(Fault.WITH_CONTENT_LENGTH, times=1)
    return ask(service)[1]


@pytest.mark.parametrize("fault", STATUSES)
def test_status_fault_is_an_html_page(service, fault):
    service.fail(fault, times=1)
    response, body = ask(service)
    assert response.status == STATUSES[fault]
    assert response.headers["Content-Type"].startswith("text/html")
    assert int(response.headers["Content-Length"]) == len(body) > 0


def test_retry_after_is_one_second_and_only_where_named(service):
    service.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    service.fail(Fault.STATUS_429, times=1)
    assert ask(service)[0].headers["Retry-After"] == "1"
    assert ask(service)[0].headers["Retry-After"] is None


def test_no_content_has_no_body(service):
    service.fail(Fault.STATUS_204)
    response, body = ask(service)
    assert (response.status, body) == (204, b"")


def test_partial_content_is_half_of_the_jpeg(service, jpeg):
    service.fail(Fault.STATUS_206)
    response, body = ask(service)
    half = len(jpeg) // 2
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes 0-{half - 1}/{len(jpeg)}"
    assert body == jpeg[:half]


def test_not_a_jpeg_says_it_is_one(service):
    service.fail(Fault.NOT_A_JPEG)
    response, body = ask(service)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert b"\xff\xd8" not in body[:16]


def test_half_a_jpeg_under_an_honest_length(service, jpeg):
    service.fail(Fault.HALF_JPEG_HONEST_LENGTH)
    response, body = ask(service)
    assert int(response.headers["Content-Length"]) == len(body)
    assert body == jpeg[: len(jpeg) // 2]


@pytest.mark.parametrize("fault", [Fault.CUT_CONTENT_LENGTH, Fault.CUT_CHUNKED])
def test_cut_body_ends_before_its_end(service, jpeg, fault):
    service.fail(fault)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(service)
    assert caught.value.partial == jpeg[: len(jpeg) // 2]


def test_cut_close_shows_only_in_the_jpeg(service, jpeg):
    service.fail(Fault.CUT_CLOSE)
    response, body = ask(service)
    assert response.headers["Content-Length"] is None
    assert response.headers["Transfer-Encoding"] is None
    assert body == jpeg[: len(jpeg) // 2]


def test_empty_body_has_length_zero(service):
    service.fail(Fault.EMPTY_BODY)
    response, body = ask(service)
    assert (response.headers["Content-Length"], body) == ("0", b"")
    assert response.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.RESET_MID_BODY])
def test_reset_is_a_reset(service, fault):
    service.fail(fault)
    with pytest.raises(ConnectionResetError):
        ask(service)


@pytest.mark.parametrize("fault", ENDLESS)
def test_endless_answer_ends_when_healed(service, fault):
    service.fail(fault)
    with closing(connected(service)) as connection:
        connection.request("GET", THUMB)
        until(lambda: service.image_requests)
        if fault is Fault.SILENT:
            connection.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.sock.recv(1)
            connection.sock.settimeout(10)
        else:
            assert connection.sock.recv(4) == b"HTTP"
        service.heal()
        while connection.sock.recv(1 << 20):
            pass
    assert service.image_requests == 1


def test_drip_goes_on_byte_by_byte(service, jpeg):
    service.fail(Fault.DRIP_BODY)
    with closing(connected(service)) as connection:
        connection.request("GET", THUMB)
        response = connection.getresponse()
        assert response.read(len(jpeg) // 2) == jpeg[: len(jpeg) // 2]
        assert response.read(1) == b"\x00"
        assert response.read(1) == b"\x00"


def test_endless_body_goes_on_as_fast_as_it_is_read(service):
    service.fail(Fault.ENDLESS_BODY)
    with closing(connected(service)) as connection:
        connection.request("GET", THUMB)
        response = connection.getresponse()
        assert len(response.read(30_000_000)) == 30_000_000


@pytest.mark.parametrize("fault", ENDLESS)
def test_endless_answer_ends_when_the_client_goes(fault):
    before = set(threading.enumerate())
    with SampleService() as service:
        service.fail(fault)
        with closing(connected(service)) as connection:
            connection.request("GET", THUMB)
            until(lambda: service.image_requests)
            if fault is not Fault.SILENT:
                connection.sock.recv(4)
            assert len(set(threading.enumerate()) - before) == 2
        # What is left is the thread that accepts.
        until(lambda: len(set(threading.enumerate()) - before) == 1)
    assert service.image_requests == 1


@pytest.mark.parametrize(
    ("fault", "location"),
    [
        (Fault.REDIRECT_OTHER_HOST, "http://other.invalid/"),
        (Fault.REDIRECT_OTHER_PORT, "http://127.0.0.1:1/"),
        (Fault.REDIRECT_FILE, "file:///etc/passwd"),
    ],
)
def test_redirect_leads_elsewhere(service, fault, location):
    service.fail(fault)
    response, _ = ask(service)
    assert response.status == 302
    assert response.headers["Location"].startswith(location)


def test_redirect_loop_never_ends_and_counts_once(service):
    service.fail(Fault.REDIRECT_LOOP)
    target = THUMB
    for _ in range(12):
        response, _ = ask(service, target)
        assert response.status == 302
        target = response.headers["Location"]
    assert service.image_requests == 1


def test_redirect_without_location(service):
    service.fail(Fault.REDIRECT_NO_LOCATION)
    response, _ = ask(service)
    assert response.status == 302
    assert response.headers["Location"] is None


def test_gzip_anyway_is_gzipped_and_good(service, jpeg):
    service.fail(Fault.GZIP_ANYWAY)
    response, body = ask(service)
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == jpeg


def test_other_good_answers_have_no_redirect_and_all_bytes(service, jpeg):
    service.fail(Fault.WITH_CONTENT_LENGTH, times=1)
    service.fail(Fault.CLOSE_DELIMITED, times=1)
    with_length, body = ask(service)
    assert with_length.headers["Content-Length"] == str(len(body))
    assert with_length.headers["Last-Modified"] is None
    until_close, same = ask(service)
    assert until_close.headers["Content-Length"] is None
    assert until_close.headers["Transfer-Encoding"] is None
    assert body == same == jpeg
    assert jpeg.endswith(b"\xff\xd9")


def test_counted_faults_are_used_up_in_order_then_it_is_well_again(service):
    service.fail(Fault.STATUS_500, times=2)
    service.fail(Fault.STATUS_403, times=1)
    statuses = [ask(service)[0].status for _ in range(5)]
    assert statuses == [500, 500, 403, 302, 302]
    assert service.image_requests == 5


def test_counted_faults_come_before_endless_ones_and_the_newest_endless_one_wins(
    service,
):
    service.fail(Fault.STATUS_503)
    service.fail(Fault.STATUS_404)
    service.fail(Fault.STATUS_429, times=1)
    assert [ask(service)[0].status for _ in range(3)] == [429, 404, 404]


def test_fault_of_one_image_leaves_others_alone(service):
    service.fail(Fault.STATUS_404, image_id=69750516)
    assert ask(service, THUMB)[0].status == 404
    assert ask(service, OTHER)[0].status == 302
    service.fail(Fault.STATUS_503)
    assert ask(service, THUMB)[0].status == 404
    assert ask(service, OTHER)[0].status == 503
    service.heal()
    assert ask(service, THUMB)[0].status == 302


def test_connection_is_kept_after_a_whole_answer_and_closed_after_a_cut_one(service):
    for fault, connections in (
        (Fault.STATUS_500, 1), (Fault.EMPTY_BODY, 1), (Fault.NOT_A_JPEG, 1),
    ):  # fmt: skip
        service.heal()
        service.reset_counters()
        service.fail(fault)
        with closing(connected(service)) as connection:
            for _ in range(2):
                connection.request("GET", THUMB)
                connection.getresponse().read()
        assert service.connections == connections


def test_head_gets_every_finite_fault_without_a_body(service):
    broken = {Fault.RESET_BEFORE, Fault.RESET_MID_BODY, *ENDLESS}
    for fault in Fault:
        if fault not in broken:
            service.heal()
            service.fail(fault)
            assert ask(service, method="HEAD")[1] == b""


def test_fault_for_an_unknown_image_that_needs_a_picture_is_404(service):
    service.fail(Fault.CUT_CHUNKED)
    assert ask(service, "/api/v2/image_download/1")[0].status == 404


def test_every_fault_counts_as_one_image_request(service):
    for fault, expected in zip(Fault, itertools.count(1)):
        service.fail(fault, times=1)
        parts = urlsplit(service.url)
        with socket.create_connection((parts.hostname, parts.port), 10) as plain:
            plain.sendall(f"GET {THUMB} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            until(lambda: service.image_requests >= expected)  # noqa: B023
            service.heal()
    assert service.image_requests == len(Fault)


def test_a_share_of_the_answers_is_broken_and_healed(service: SampleService) -> None:
    faults = (Fault.STATUS_503, Fault.HTML_200)

    def fallen() -> list[int]:
        service.fail_sometimes(0.3, faults, seed=7)
        return [ask(service)[0].status for _ in range(60)]

    first = fallen()
    assert set(first) == {302, 200, 503}
    assert 5 < 60 - first.count(302) < 31
    assert fallen() == first
    query = "/api/v2/data/query.json?criteria=model::Product"
    assert {ask(service, query)[0].status for _ in range(60)} == {200, 503}
    service.heal()
    assert {ask(service)[0].status for _ in range(60)} == {302}


def test_who_gave_a_request_up_and_asks_the_next_has_one_under_way() -> None:
    """Whenever the service notices: its thread may still wait for its turn."""
    traffic, gone = Traffic(), threading.Event()
    with traffic.under_way(Asked.IMAGE, gone.is_set):
        gone.set()
        with traffic.under_way(Asked.IMAGE, lambda: False):
            assert traffic.peak_images == traffic.peak_all == 1
            with traffic.under_way(Asked.QUERY, lambda: False):
                assert (traffic.peak_images, traffic.peak_all) == (1, 2)
                traffic.reset()
    assert (traffic.peak_images, traffic.peak_all) == (1, 2)
