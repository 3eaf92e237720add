"""What can go wrong with the answer to a query, and what is counted."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from contextlib import closing
from urllib.parse import quote

import pytest
from rma_client import QUERY, ask, connected, ids, query

from allenfs.sample.server import Fault, SampleService

TARGET = QUERY + quote("model::Product")
THUMB = "/api/v2/image_download/69750516?downsample=6"
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
REDIRECTS = (
    Fault.REDIRECT_LOOP, Fault.REDIRECT_OTHER_HOST, Fault.REDIRECT_OTHER_PORT,
    Fault.REDIRECT_FILE, Fault.REDIRECT_NO_LOCATION,
)  # fmt: skip
ENDLESS = (
    Fault.SILENT, Fault.DRIP_BODY, Fault.DRIP_HEADERS, Fault.ENDLESS_BODY
)  # fmt: skip
CUT = (Fault.CUT_CONTENT_LENGTH, Fault.CUT_CHUNKED, Fault.RESET_MID_BODY)


@pytest.fixture(scope="module")
def good(running):
    return ask(running, TARGET)[1]


@pytest.mark.parametrize("fault", STATUSES)
def test_a_status_is_an_html_page(service, fault):
    service.fail_queries(fault)
    response, body = ask(service, TARGET)
    assert response.status == STATUSES[fault]
    assert response.headers["Content-Type"].startswith("text/html")
    assert body.startswith(b"<!DOCTYPE")


@pytest.mark.parametrize("fault", REDIRECTS)
def test_a_redirect_is_not_an_answer(service, fault):
    service.fail_queries(fault)
    assert ask(service, TARGET)[0].status == 302


def test_success_false_is_the_envelope_of_a_refusal(service):
    service.fail_queries(Fault.SUCCESS_FALSE)
    response, body = ask(service, TARGET)
    assert response.status == 200
    answer = json.loads(body)
    assert answer["success"] is False
    assert answer["msg"].startswith("line 1, column 92: ")


def test_faults_that_empty_truncate_or_miscount_a_list(service, good):
    whole = json.loads(good)
    service.fail_queries(Fault.NO_ROWS, times=1)
    service.fail_queries(Fault.CUT_LIST, times=1)
    service.fail_queries(Fault.LARGE_TOTAL, times=1)
    none, cut, large = (json.loads(ask(service, TARGET)[1]) for _ in range(3))
    assert (none["success"], none["num_rows"], none["msg"]) == (True, 0, {})
    assert "total_rows" not in none
    assert (cut["num_rows"], cut["total_rows"]) == (2, 5)
    assert cut["msg"] == whole["msg"][:2]
    assert (large["msg"], large["total_rows"]) == (whole["msg"], 7)
    assert ask(service, TARGET)[1] == good


@pytest.mark.parametrize("fault", [Fault.NOT_JSON, Fault.NOT_A_JPEG])
def test_not_json_says_it_is_json(service, fault):
    service.fail_queries(fault)
    response, body = ask(service, TARGET)
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json;charset=utf-8"
    with pytest.raises(ValueError):
        json.loads(body)


def test_half_of_the_json(service, good):
    service.fail_queries(Fault.HALF_JPEG_HONEST_LENGTH)
    response, body = ask(service, TARGET)
    assert (response.status, body) == (200, good[: len(good) // 2])
    service.heal()
    service.fail_queries(Fault.STATUS_206)
    response, body = ask(service, TARGET)
    assert (response.status, body) == (206, good[: len(good) // 2])


def test_no_body(service):
    service.fail_queries(Fault.EMPTY_BODY)
    response, body = ask(service, TARGET)
    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Type"].startswith("application/json")
    service.heal()
    service.fail_queries(Fault.STATUS_204)
    assert ask(service, TARGET)[0].status == 204


@pytest.mark.parametrize("fault", CUT)
def test_a_cut_answer_is_seen_as_one(service, fault):
    service.fail_queries(fault)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(service, TARGET)


def test_a_cut_without_a_length_is_only_seen_in_the_json(service, good):
    service.fail_queries(Fault.CUT_CLOSE)
    assert ask(service, TARGET)[1] == good[: len(good) // 2]


def test_a_reset_before_any_byte(service):
    service.fail_queries(Fault.RESET_BEFORE)
    with pytest.raises(ConnectionResetError):
        ask(service, TARGET)


@pytest.mark.parametrize("fault", ENDLESS)
def test_an_endless_answer_ends_with_the_faults(service, fault):
    service.fail_queries(fault)
    with closing(connected(service)) as connection:
        connection.connect()
        connection.sock.sendall(f"GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.sock.settimeout(0.3)
        if fault is Fault.SILENT:
            with pytest.raises(socket.timeout):
                connection.sock.recv(1)
        else:
            assert connection.sock.recv(1) == b"H"
        service.heal()
        connection.sock.settimeout(10)
        while connection.sock.recv(1 << 16):
            pass


def test_good_answers_in_another_dress(service, good):
    service.fail_queries(Fault.GZIP_ANYWAY, times=1)
    service.fail_queries(Fault.WITH_CONTENT_LENGTH, times=1)
    service.fail_queries(Fault.CLOSE_DELIMITED, times=1)
    response, body = ask(service, TARGET)
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == good
    response, body = ask(service, TARGET)
    assert (int(response.headers["Content-Length"]), body) == (len(good), good)
    assert ask(service, TARGET)[1] == good
    assert ask(service, TARGET)[1] == good


def test_a_fault_of_queries_is_none_of_images_and_the_other_way_round(service):
    service.fail_queries(Fault.STATUS_500)
    assert ask(service, THUMB)[0].status == 302
    assert ask(service, TARGET)[0].status == 500
    service.heal()
    service.fail(Fault.STATUS_503)
    assert ask(service, THUMB)[0].status == 503
    assert ask(service, TARGET)[0].status == 200
    service.heal()
    assert ask(service, THUMB)[0].status == 302


def test_counted_faults_are_used_up(service):
    service.fail_queries(Fault.STATUS_503, times=2)
    assert [ask(service, TARGET)[0].status for _ in range(3)] == [503, 503, 200]


# Counters


def test_queries_are_counted_apart_from_images(service):
    service.fail_queries(Fault.STATUS_500, times=1)
    ask(service, TARGET, {"X-Mine": "1"})
    ask(service, "/api/v2/data/Gene/2.xml")
    ask(service, QUERY + "nonsense")
    ask(service, THUMB)
    ask(service, "/api/v2/data/query.csv")
    assert service.query_requests == 3
    assert service.queried == [TARGET, "/api/v2/data/Gene/2.xml", QUERY + "nonsense"]
    assert service.query_headers[0]["X-Mine"] == "1"
    assert (service.image_requests, service.requested) == (1, [THUMB])
    service.reset_counters()
    assert (service.query_requests, service.queried, service.query_headers) == (
        0,
        [],
        [],
    )
    assert (service.peak_requests, service.peak_all_requests) == (0, 0)


def test_head_is_answered_without_a_body(service):
    response, body = ask(service, TARGET, method="HEAD")
    assert (response.status, body) == (200, b"")


def in_threads(*calls) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_the_peak_of_all_counts_queries_and_images_under_way():
    with SampleService(query_latency_s=0.5, latency_s=0.5) as service:
        service.fail(Fault.WITH_CONTENT_LENGTH)
        in_threads(*[lambda: ask(service, TARGET)] * 2, lambda: ask(service, THUMB))
        assert service.peak_requests == 1
        assert service.peak_all_requests == 3


def test_the_latency_of_queries_is_their_own():
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
