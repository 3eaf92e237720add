"""Every fault, as a client sees it on the socket, and what the service counts."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple
from urllib.parse import quote

import pytest
from rma_client import QUERY, ask, connected, ids, query

from allenfs.sample.server import Fault, SampleService
from allenfs.sample.traffic import Asked, Traffic

THUMB = "/api/v2/image_download/69750516?downsample=6"
OTHER = "/api/v2/image_download/69750520?downsample=6"
PRODUCTS = QUERY + quote("model::Product")
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
ENDLESS = (Fault.SILENT, Fault.DRIP_BODY, Fault.DRIP_HEADERS, Fault.ENDLESS_BODY)
CUT = (Fault.CUT_CONTENT_LENGTH, Fault.CUT_CHUNKED)


class Kind(NamedTuple):
    """The request of a client, and the fault planned for it."""

    service: SampleService
    target: str
    content_type: str
    fail: Callable[..., None]
    counter: str
    good_status: int  # of the first response

    def requests(self) -> int:
        return getattr(self.service, self.counter)


@pytest.fixture(params=["image", "query"])
def kind(request, service):
    if request.param == "image":
        return Kind(service, THUMB, "image/jpeg", service.fail, "image_requests", 302)
    content_type = "application/json;charset=utf-8"
    fail, counter = service.fail_queries, "query_requests"
    return Kind(service, PRODUCTS, content_type, fail, counter, 200)


@pytest.fixture
def good(service, kind):
    kind.fail(Fault.WITH_CONTENT_LENGTH, times=1)
    return ask(service, kind.target)[1]


def until(condition: Callable[[], object]) -> None:
    tick = threading.Event()
    for _ in range(2000):
        if condition():
            return
        tick.wait(0.005)
    pytest.fail("waited 10 s")


@pytest.mark.parametrize("fault", STATUSES)
def test_a_status_fault_is_an_html_page(service, kind, fault):
    kind.fail(fault, times=1)
    response, body = ask(service, kind.target)
    assert response.status == STATUSES[fault]
    assert response.headers["Content-Type"].startswith("text/html")
    assert int(response.headers["Content-Length"]) == len(body)
    assert body.startswith(b"<!DOCTYPE")


def test_retry_after_is_one_second_and_only_where_named(service):
    service.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    service.fail(Fault.STATUS_429, times=1)
    assert ask(service, THUMB)[0].headers["Retry-After"] == "1"
    assert ask(service, THUMB)[0].headers["Retry-After"] is None


def test_answers_without_a_body(service, kind):
    kind.fail(Fault.STATUS_204, times=1)
    response, body = ask(service, kind.target)
    assert (response.status, body) == (204, b"")
    kind.fail(Fault.EMPTY_BODY, times=1)
    response, body = ask(service, kind.target)
    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == "0"
    assert response.headers["Content-Type"] == kind.content_type


def test_half_of_the_body(service, kind, good):
    half = good[: len(good) // 2]
    kind.fail(Fault.STATUS_206, times=1)
    response, body = ask(service, kind.target)
    assert (response.status, body) == (206, half)
    content_range = response.headers["Content-Range"]
    assert content_range == f"bytes 0-{len(half) - 1}/{len(good)}"
    kind.fail(Fault.HALF_JPEG_HONEST_LENGTH, times=1)
    response, body = ask(service, kind.target)
    assert int(response.headers["Content-Length"]) == len(body)
    assert (response.status, body) == (200, half)


@pytest.mark.parametrize("fault", [Fault.NOT_JSON, Fault.NOT_A_JPEG])
def test_a_body_that_is_not_what_its_type_says(service, kind, fault):
    kind.fail(fault)
    response, body = ask(service, kind.target)
    if fault is Fault.NOT_A_JPEG:
        assert response.headers["Content-Type"] == kind.content_type
    assert response.status == 200
    assert b"\xff\xd8" not in body[:16]
    with pytest.raises(ValueError):
        json.loads(body)


@pytest.mark.parametrize("fault", CUT)
def test_a_cut_body_ends_before_its_end(service, kind, good, fault):
    kind.fail(fault)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(service, kind.target)
    assert caught.value.partial == good[: len(good) // 2]


def test_a_cut_without_a_length_shows_only_in_the_body(service, kind, good):
    kind.fail(Fault.CUT_CLOSE)
    response, body = ask(service, kind.target)
    assert response.headers["Content-Length"] is None
    assert response.headers["Transfer-Encoding"] is None
    assert body == good[: len(good) // 2]


@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.RESET_MID_BODY])
def test_a_reset_is_a_reset(service, kind, fault):
    kind.fail(fault)
    with pytest.raises(ConnectionResetError):
        ask(service, kind.target)


@pytest.mark.parametrize("fault", ENDLESS)
def test_an_endless_answer_ends_when_healed(service, kind, fault):
    kind.fail(fault)
    with closing(connected(service)) as connection:
        connection.request("GET", kind.target)
        until(kind.requests)
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
    assert kind.requests() == 1


@pytest.mark.parametrize("fault", ENDLESS)
def test_an_endless_answer_ends_when_the_client_goes(fault):
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


def test_a_drip_goes_on_byte_by_byte_and_an_endless_body_as_fast_as_it_is_read(
    service, kind, good
):
    half = len(good) // 2
    for fault in (Fault.DRIP_BODY, Fault.ENDLESS_BODY):
        kind.fail(fault, times=1)
        with closing(connected(service)) as connection:
            connection.request("GET", kind.target)
            response = connection.getresponse()
            assert response.read(half) == good[:half]
            if fault is Fault.DRIP_BODY:
                assert response.read(1) == response.read(1) == b"\x00"
            else:
                assert len(response.read(30_000_000)) == 30_000_000


@pytest.mark.parametrize(
    ("fault", "location"),
    [
        (Fault.REDIRECT_OTHER_HOST, "http://other.invalid/"),
        (Fault.REDIRECT_OTHER_PORT, "http://127.0.0.1:1/"),
        (Fault.REDIRECT_FILE, "file:///etc/passwd"),
        (Fault.REDIRECT_NO_LOCATION, None),
        (Fault.REDIRECT_LOOP, "/cgi-bin/"),
    ],
)
def test_a_redirect_leads_elsewhere(service, kind, fault, location):
    kind.fail(fault)
    response, _ = ask(service, kind.target)
    assert response.status == 302
    found = response.headers["Location"]
    assert found is None if location is None else found.startswith(location)


def test_a_redirect_loop_never_ends_and_counts_once(service):
    service.fail(Fault.REDIRECT_LOOP)
    target = THUMB
    for _ in range(12):
        response, _ = ask(service, target)
        assert response.status == 302
        target = response.headers["Location"]
    assert service.image_requests == 1


def test_good_answers_without_a_redirect(service, kind, good):
    for fault in (Fault.GZIP_ANYWAY, Fault.WITH_CONTENT_LENGTH, Fault.CLOSE_DELIMITED):
        kind.fail(fault, times=1)
    gzipped, body = ask(service, kind.target)
    assert gzipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == good
    with_length, body = ask(service, kind.target)
    assert (with_length.headers["Content-Length"], body) == (str(len(good)), good)
    assert with_length.headers["Last-Modified"] is None
    until_close, body = ask(service, kind.target)
    assert until_close.headers["Content-Length"] is None
    assert until_close.headers["Transfer-Encoding"] is None
    assert body == good
    assert ask(service, kind.target)[0].status == kind.good_status


def test_a_refusal_of_a_query_is_an_envelope(service):
    service.fail_queries(Fault.SUCCESS_FALSE)
    response, body = ask(service, PRODUCTS)
    answer = json.loads(body)
    assert (response.status, answer["success"]) == (200, False)
    assert answer["msg"].startswith("line 1, column 92: ")


def test_faults_that_empty_truncate_or_miscount_a_list(service):
    good = ask(service, PRODUCTS)[1]
    whole = json.loads(good)
    service.fail_queries(Fault.NO_ROWS, times=1)
    service.fail_queries(Fault.CUT_LIST, times=1)
    service.fail_queries(Fault.LARGE_TOTAL, times=1)
    none, cut, large = (json.loads(ask(service, PRODUCTS)[1]) for _ in range(3))
    assert (none["success"], none["num_rows"], none["msg"]) == (True, 0, {})
    assert "total_rows" not in none
    assert (cut["num_rows"], cut["total_rows"]) == (2, 5)
    assert cut["msg"] == whole["msg"][:2]
    assert (large["msg"], large["total_rows"]) == (whole["msg"], 7)
    assert ask(service, PRODUCTS)[1] == good


# Which request a fault breaks


def test_counted_faults_are_used_up_in_order_then_it_is_well_again(service, kind):
    kind.fail(Fault.STATUS_500, times=2)
    kind.fail(Fault.STATUS_403, times=1)
    statuses = [ask(service, kind.target)[0].status for _ in range(5)]
    assert statuses == [500, 500, 403, kind.good_status, kind.good_status]
    assert kind.requests() == 5


def test_counted_faults_come_before_endless_ones_and_the_newest_endless_one_wins(
    service,
):
    service.fail(Fault.STATUS_503)
    service.fail(Fault.STATUS_404)
    service.fail(Fault.STATUS_429, times=1)
    assert [ask(service, THUMB)[0].status for _ in range(3)] == [429, 404, 404]


def test_a_fault_of_one_image_leaves_others_alone(service):
    service.fail(Fault.STATUS_404, image_id=69750516)
    assert ask(service, THUMB)[0].status == 404
    assert ask(service, OTHER)[0].status == 302
    service.fail(Fault.STATUS_503)
    assert ask(service, THUMB)[0].status == 404
    assert ask(service, OTHER)[0].status == 503
    service.heal()
    assert ask(service, THUMB)[0].status == 302


def test_faults_of_queries_and_of_images_are_independent(service):
    service.fail_queries(Fault.STATUS_500)
    assert ask(service, THUMB)[0].status == 302
    assert ask(service, PRODUCTS)[0].status == 500
    service.heal()
    service.fail(Fault.STATUS_503)
    assert ask(service, THUMB)[0].status == 503
    assert ask(service, PRODUCTS)[0].status == 200
    service.heal()
    assert ask(service, THUMB)[0].status == 302


def test_a_fault_for_an_unknown_image_that_needs_a_picture_is_404(service):
    service.fail(Fault.CUT_CHUNKED)
    assert ask(service, "/api/v2/image_download/1")[0].status == 404


def test_a_share_of_the_answers_is_broken_and_healed(service):
    faults = (Fault.STATUS_503, Fault.HTML_200)

    def statuses() -> list[int]:
        service.fail_sometimes(0.3, faults, seed=7)
        return [ask(service, THUMB)[0].status for _ in range(60)]

    first = statuses()
    assert set(first) == {302, 200, 503}
    assert 5 < 60 - first.count(302) < 31
    assert statuses() == first
    assert {ask(service, PRODUCTS)[0].status for _ in range(60)} == {200, 503}
    service.heal()
    assert {ask(service, THUMB)[0].status for _ in range(60)} == {302}


# Connections and counters


@pytest.mark.parametrize(
    "fault", [Fault.STATUS_500, Fault.EMPTY_BODY, Fault.NOT_A_JPEG]
)
def test_a_connection_is_kept_after_a_whole_answer(service, fault):
    service.fail(fault)
    with closing(connected(service)) as connection:
        for _ in range(2):
            connection.request("GET", THUMB)
            connection.getresponse().read()
    assert service.connections == 1


def test_head_gets_every_finite_fault_without_a_body(service, kind):
    assert ask(service, kind.target, method="HEAD")[1] == b""
    broken = {Fault.RESET_BEFORE, Fault.RESET_MID_BODY, *ENDLESS}
    for fault in {*Fault} - broken:
        service.heal()
        kind.fail(fault)
        assert ask(service, kind.target, method="HEAD")[1] == b""


def test_every_fault_counts_as_one_image_request(service):
    for fault, expected in zip(Fault, itertools.count(1)):
        service.fail(fault, times=1)
        with closing(connected(service)) as connection:
            connection.request("GET", THUMB)
            until(lambda expected=expected: service.image_requests >= expected)
            service.heal()
    assert service.image_requests == len(Fault)


def test_queries_are_counted_apart_from_images(service):
    service.fail_queries(Fault.STATUS_500, times=1)
    ask(service, PRODUCTS, {"X-Mine": "1"})
    ask(service, "/api/v2/data/Gene/2.xml")
    ask(service, QUERY + "nonsense")
    ask(service, THUMB)
    ask(service, "/api/v2/data/query.csv")
    assert service.query_requests == 3
    assert service.queried == [PRODUCTS, "/api/v2/data/Gene/2.xml", QUERY + "nonsense"]
    assert service.query_headers[0]["X-Mine"] == "1"
    assert (service.image_requests, service.requested) == (1, [THUMB])
    service.reset_counters()
    assert (service.query_requests, service.queried) == (0, [])
    assert service.query_headers == []
    assert (service.peak_requests, service.peak_all_requests) == (0, 0)


def test_the_peak_of_all_counts_queries_and_images_under_way():
    with SampleService(query_latency_s=0.5, latency_s=0.5) as service:
        service.fail(Fault.WITH_CONTENT_LENGTH)
        targets = (PRODUCTS, PRODUCTS, THUMB)
        threads = [threading.Thread(target=ask, args=(service, t)) for t in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert service.peak_requests == 1
        assert service.peak_all_requests == 3


def test_queries_have_a_separate_latency():
    with SampleService(latency_s=60) as service:  # longer than the client waits
        query(service, "model::Product")
    with SampleService(query_latency_s=0.3) as service:
        start = time.monotonic()
        query(service, "model::Product")
        assert time.monotonic() - start >= 0.3


def test_a_paused_service_still_answers_queries(service):
    service.pause()
    try:
        assert ids(query(service, "model::Product"))
    finally:
        service.resume()


def test_an_abandoned_request_and_the_next_one_count_as_one_under_way():
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
