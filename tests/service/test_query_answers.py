"""Queries on real sockets: rows, or an error that never says that something is not."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import pytest
from hostile_service import head, whole
from service_doubles import MIB, REQUEST, Bytes, Clock, Flood, Slot, says

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ImageNotFoundError,
    PortalError,
    QueryError,
    ServiceError,
    ServiceTimeoutError,
    WrongAnswerError,
)
from allenfs.sample.faults import Fault
from allenfs.service.client import AllenService
from allenfs.service.rma import Query

QUERY = Query("Product", order="products.id")
ROWS = [{"id": 1}, None]
HTML = b"<html>"


def service_at(url, **settings):
    return AllenService(ServiceSettings(url, first_backoff_s=0, **settings))


def page_of(service):
    return list(service.page(QUERY, start_row=0, num_rows=2000))


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [
        (Fault.STATUS_206, WrongAnswerError, 1),
        (Fault.STATUS_400, QueryError, 1),
        (Fault.STATUS_403, QueryError, 1),
        (Fault.STATUS_404, QueryError, 1),
        (Fault.STATUS_503, BusyError, 4),
        (Fault.HTML_200, PortalError, 1),
        (Fault.NOT_JSON, WrongAnswerError, 1),
        (Fault.SUCCESS_FALSE, QueryError, 3),
        (Fault.CUT_CHUNKED, CutAnswerError, 4),
        (Fault.EMPTY_BODY, CutAnswerError, 4),
        (Fault.RESET_BEFORE, CutAnswerError, 4),
        (Fault.REDIRECT_LOOP, WrongAnswerError, 1),
        (Fault.REDIRECT_OTHER_HOST, PortalError, 1),
    ],
)
def test_failed_query_is_an_error_never_an_absence_and_recovers(
    fault, kind, attempts, sample
):
    service = service_at(sample.url)
    sample.fail_queries(fault)
    with pytest.raises(kind) as raised:
        page_of(service)
    error = raised.value
    assert type(error) is kind
    assert error.errno == errno.EIO
    assert sample.query_requests == attempts == error.attempts
    assert error.url == QUERY.url(sample.url, start_row=0, num_rows=2000)
    assert str(error).isprintable()
    sample.heal()
    assert len(page_of(service)) == 5
    assert sample.query_requests == attempts + 1


@pytest.mark.parametrize(
    ("fault", "times", "asked"),
    [
        (Fault.STATUS_503, 3, 4),
        (Fault.SUCCESS_FALSE, 2, 3),
        (Fault.CUT_CHUNKED, 3, 4),
        # answers of another form
        (Fault.GZIP_ANYWAY, 1, 1),
        (Fault.WITH_CONTENT_LENGTH, 1, 1),
        (Fault.CLOSE_DELIMITED, 1, 1),
    ],
)
def test_passing_fault_is_not_seen(fault, times, asked, sample):
    sample.fail_queries(fault, times=times)
    assert len(page_of(service_at(sample.url))) == 5
    assert sample.query_requests == asked


def test_a_refused_query_is_sent_three_times_or_only_once_if_requested(sample):
    clock, slot = Clock(), Slot()

    def sleep(seconds):
        assert not slot.is_held
        clock.sleep(seconds)

    service = AllenService(
        ServiceSettings(sample.url), clock=clock, sleep=sleep, jitter=lambda: 0.5
    )
    sample.fail_queries(Fault.SUCCESS_FALSE)
    with pytest.raises(QueryError, match=r"of the sample \(3 attempts, 1\.5 s, "):
        service.page(QUERY, start_row=0, num_rows=2000, slot=slot)
    assert clock.slept_s == [0.5, 1.0]
    with pytest.raises(QueryError, match=r"of the sample \(1 attempt, "):
        service.page(QUERY, start_row=0, num_rows=2000, once=True)
    assert sample.query_requests == 4


@pytest.mark.parametrize(
    ("fault", "attempts"), [(Fault.SUCCESS_FALSE, 1), (Fault.STATUS_503, 4)]
)
def test_a_rejected_query_that_has_a_substitute_is_sent_once(sample, fault, attempts):
    sample.fail_queries(fault)
    query = replace(QUERY, has_substitute=True)
    with pytest.raises(ServiceError):
        service_at(sample.url).page(query, start_row=0, num_rows=2000)
    assert sample.query_requests == attempts


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DRIP_BODY])
def test_stalled_query_times_out_and_recovers(fault, sample):
    service = service_at(sample.url, stall_timeout_s=0.3, deadline_s=0.6)
    sample.fail_queries(fault)
    with pytest.raises(ServiceTimeoutError) as raised:
        page_of(service)
    assert raised.value.errno == errno.ETIMEDOUT
    sample.heal()
    assert len(page_of(service_at(sample.url))) == 5


def test_queries_and_images_share_a_connection(sample):
    service = service_at(sample.url)
    for fault in (Fault.STATUS_404, Fault.SUCCESS_FALSE, Fault.STATUS_400):
        sample.fail_queries(fault, times=3 if fault is Fault.SUCCESS_FALSE else 1)
        with pytest.raises(QueryError):
            page_of(service)
    sample.fail(Fault.STATUS_404, times=1)
    with pytest.raises(ImageNotFoundError):
        service.fetch(REQUEST, Bytes())
    for _ in range(3):
        page_of(service)
        service.fetch(REQUEST, Bytes())
    assert (sample.query_requests, sample.image_requests) == (8, 4)
    assert sample.connections == 1


# Raw answers


def _json(status, value, *fields):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    length = f"Content-Length: {len(body)}"
    return [head(status, "Content-Type: application/json", length, *fields), body]


SAID = {"success": False, "id": 0, "num_rows": 0, "msg": "line 1, column 92: no such"}
GOOD = _json("200 OK", {"success": True, "msg": ROWS})


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops"])
def test_refused_query_says_why_whatever_its_status(status, hostile):
    says(hostile, *[_json(status, SAID)] * 3, GOOD)
    service = service_at(hostile.url)
    with pytest.raises(QueryError) as raised:
        page_of(service)
    assert raised.value.cause == "line 1, column 92: no such"
    assert raised.value.attempts == 3
    assert page_of(service) == ROWS


@pytest.mark.parametrize("status", ["429 Slow down", "503 Busy"])
def test_refusal_of_a_busy_service_is_asked_again(status, hostile):
    says(hostile, _json(status, SAID), _json(status, HTML), GOOD)
    assert page_of(service_at(hostile.url)) == ROWS


@pytest.mark.parametrize("body", [b"", HTML, b'{"success": true, "msg": []}'])
@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_status_that_refuses_is_never_an_absence(status, body, hostile):
    says(hostile, _json(f"{status} No", body), GOOD)
    service = service_at(hostile.url)
    with pytest.raises(ServiceError) as raised:
        page_of(service)
    assert raised.value.errno == errno.EIO  # not ENOENT, EINVAL or EACCES
    assert str(status) in raised.value.cause
    assert page_of(service) == ROWS


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_on_the_same_host_is_followed_with_its_query(status, hostile):
    moved = "/api/v2/data/query.json?criteria=x"
    says(hostile, _json(f"{status} Moved", b"", f"Location: {moved}"), GOOD)
    assert page_of(service_at(hostile.url)) == ROWS
    assert hostile.requests[1] == moved


def test_page_above_8_mib_is_refused_and_not_read_to_its_end(hostile):
    start = head("200 OK", "Content-Type: application/json") + b'{"msg": ["'
    flood, rows = Flood(start, b"x"), [{"id": 1, "name": "x" * (7 * MIB)}]
    says(hostile, flood, _json("200 OK", {"msg": rows}))
    service = service_at(hostile.url)
    with pytest.raises(WrongAnswerError, match="8388608 bytes") as raised:
        page_of(service)
    assert raised.value.errno == errno.EIO
    assert raised.value.attempts == 1
    assert flood.sent_bytes < 50 * MIB
    assert page_of(service) == rows  # below it


@pytest.mark.parametrize("content_type", ["text/html", "image/jpeg", ""])
def test_rows_are_rows_whatever_type_they_are_called(content_type, hostile):
    body = json.dumps({"success": True, "msg": ROWS}).encode()
    says(hostile, [whole(body, kind=content_type)])
    assert page_of(service_at(hostile.url)) == ROWS
