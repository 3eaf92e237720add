"""Queries on real sockets: rows, or an error that never says that something is not."""

from __future__ import annotations

import errno
import json

import pytest
from hostile_service import HostileService, head, whole
from test_hostile_answers import Flood, says
from test_retries import Bytes, Clock, Slot, _request

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    PortalError,
    QueryError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.rma import Query

QUERY = Query("Product", order="products.id")
ROWS = [{"id": 1}, None]
MIB = 2**20

# What a fault is, and how often it is asked in all.
FAULTS = [
    (Fault.STATUS_204, WrongAnswerError, 1),
    (Fault.STATUS_206, WrongAnswerError, 1),
    (Fault.STATUS_400, QueryError, 1),
    (Fault.STATUS_401, QueryError, 1),
    (Fault.STATUS_403, QueryError, 1),
    (Fault.STATUS_404, QueryError, 1),
    (Fault.STATUS_429, BusyError, 4),
    (Fault.STATUS_500, BusyError, 4),
    (Fault.STATUS_503, BusyError, 4),
    (Fault.HTML_200, PortalError, 1),
    (Fault.NOT_A_JPEG, WrongAnswerError, 1),
    (Fault.NOT_JSON, WrongAnswerError, 1),
    (Fault.SUCCESS_FALSE, QueryError, 3),
    (Fault.HALF_JPEG_HONEST_LENGTH, CutAnswerError, 4),
    (Fault.CUT_CONTENT_LENGTH, CutAnswerError, 4),
    (Fault.CUT_CHUNKED, CutAnswerError, 4),
    (Fault.CUT_CLOSE, CutAnswerError, 4),
    (Fault.EMPTY_BODY, CutAnswerError, 4),
    (Fault.RESET_BEFORE, CutAnswerError, 4),
    (Fault.RESET_MID_BODY, CutAnswerError, 4),
    (Fault.REDIRECT_LOOP, WrongAnswerError, 1),
    (Fault.REDIRECT_OTHER_HOST, PortalError, 1),
    (Fault.REDIRECT_OTHER_PORT, PortalError, 1),
    (Fault.REDIRECT_FILE, PortalError, 1),
    (Fault.REDIRECT_NO_LOCATION, WrongAnswerError, 1),
]


def service_at(url: str, clock: Clock | None = None, **settings: float) -> AllenService:
    if clock is None:
        settings.setdefault("first_backoff_s", 0)
        return AllenService(ServiceSettings(url, **settings))
    return AllenService(
        ServiceSettings(url, **settings),
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 0.5,
    )


def page_of(service: AllenService) -> list[object]:
    return list(service.page(QUERY, start_row=0, num_rows=2000))


@pytest.mark.parametrize(("fault", "kind", "asked"), FAULTS)
def test_failed_query_is_an_error_never_an_absence_and_recovers(
    fault: Fault, kind: type[ServiceError], asked: int, sample: SampleService
) -> None:
    service = service_at(sample.url)
    sample.fail_queries(fault)
    with pytest.raises(kind) as raised:
        page_of(service)
    error = raised.value
    assert type(error) is kind
    assert error.errno == errno.EIO
    assert sample.query_requests == asked == error.attempts
    assert error.url == QUERY.url(sample.url, start_row=0, num_rows=2000)
    assert str(error).isprintable()
    sample.heal()
    assert len(page_of(service)) == 5
    assert sample.query_requests == asked + 1


@pytest.mark.parametrize(
    ("fault", "times", "asked"),
    [
        *((fault, asked - 1, asked) for fault, _, asked in FAULTS if asked > 1),
        # answers of another form
        *((Fault.GZIP_ANYWAY, 1, 1), (Fault.WITH_CONTENT_LENGTH, 1, 1)),
        (Fault.CLOSE_DELIMITED, 1, 1),
    ],
)
def test_passing_fault_is_not_seen(
    fault: Fault, times: int, asked: int, sample: SampleService
) -> None:
    sample.fail_queries(fault, times=times)
    assert len(page_of(service_at(sample.url))) == 5
    assert sample.query_requests == asked


def test_a_refused_query_is_sent_three_times_or_only_once_if_requested(
    sample: SampleService,
) -> None:
    clock = Clock()
    service = service_at(sample.url, clock)
    sample.fail_queries(Fault.SUCCESS_FALSE)
    with pytest.raises(QueryError, match=r"told so \(3 attempts, 1\.5 s, "):
        page_of(service)
    assert clock.slept_s == [0.5, 1.0]
    with pytest.raises(QueryError, match=r"told so \(1 attempt, "):
        service.page(QUERY, start_row=0, num_rows=2000, once=True)
    assert sample.query_requests == 4
    sample.heal()
    assert len(page_of(service)) == 5


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DRIP_HEADERS, Fault.DRIP_BODY])
def test_stalled_query_times_out_and_recovers(
    fault: Fault, sample: SampleService
) -> None:
    service = service_at(sample.url, stall_timeout_s=0.3, deadline_s=0.6)
    sample.fail_queries(fault)
    with pytest.raises(ServiceTimeoutError) as raised:
        page_of(service)
    assert raised.value.errno == errno.ETIMEDOUT
    sample.heal()
    assert len(page_of(service_at(sample.url))) == 5


def test_service_that_is_not_there_is_unreachable_and_recovers() -> None:
    with SampleService() as sample:
        url = sample.url
    service = service_at(url)
    with pytest.raises(UnreachableError) as raised:
        page_of(service)
    assert raised.value.errno == errno.EHOSTUNREACH
    assert raised.value.attempts == 4
    with SampleService(port=int(url.rpartition(":")[2])):
        assert len(page_of(service)) == 5


def test_pauses_between_queries_are_those_of_images(sample: SampleService) -> None:
    clock = Clock()
    sample.fail_queries(Fault.STATUS_503)
    with pytest.raises(BusyError) as raised:
        page_of(service_at(sample.url, clock))
    assert clock.slept_s == [0.5, 1.0, 2.0]
    assert raised.value.elapsed_s == 3.5
    clock.slept_s.clear()
    sample.heal()
    sample.fail_queries(Fault.STATUS_429_RETRY_AFTER, times=1)
    page_of(service_at(sample.url, clock, first_backoff_s=0.01))
    assert clock.slept_s == [1.0]
    clock.slept_s.clear()
    sample.fail_queries(Fault.STATUS_503)
    with pytest.raises(BusyError):
        page_of(service_at(sample.url, clock, deadline_s=2.0))
    assert clock.slept_s == [0.5, 1.0]


def test_queries_and_images_share_a_connection(sample: SampleService) -> None:
    service = service_at(sample.url)
    for fault in (Fault.STATUS_404, Fault.SUCCESS_FALSE, Fault.STATUS_400):
        sample.fail_queries(fault, times=3 if fault is Fault.SUCCESS_FALSE else 1)
        with pytest.raises(QueryError):
            page_of(service)
    for _ in range(3):
        page_of(service)
        service.fetch(_request(), Bytes())
    assert (sample.query_requests, sample.image_requests) == (8, 3)
    assert sample.connections == 1
    assert all("allenfs/" in one["User-Agent"] for one in sample.query_headers)


def test_slot_is_taken_for_each_attempt_and_not_between_them(
    sample: SampleService,
) -> None:
    class Counted(Slot):
        entered = 0

        def __enter__(self) -> None:
            super().__enter__()
            self.entered += 1

    slot, slept_inside = Counted(), []
    service = AllenService(
        ServiceSettings(sample.url),
        sleep=lambda _: slept_inside.append(slot.is_held),
    )
    sample.fail_queries(Fault.STATUS_503, times=2)
    service.page(QUERY, start_row=0, num_rows=1, slot=slot)
    assert slot.entered == 3
    assert slept_inside == [False, False]


# Raw answers


def _json(status: str, value: object, *fields: str) -> list[bytes]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    length = f"Content-Length: {len(body)}"
    return [head(status, "Content-Type: application/json", length, *fields), body]


SAID = {"success": False, "id": 0, "num_rows": 0, "msg": "line 1, column 92: no such"}
GOOD = _json("200 OK", {"success": True, "msg": ROWS})


@pytest.mark.parametrize(
    "status",
    ["200 OK", "400 Bad Request", "403 Forbidden", "404 Not Found", "500 Oops"],
)
def test_refused_query_says_why_whatever_its_status(
    status: str, hostile: HostileService
) -> None:
    says(hostile, *[_json(status, SAID)] * 3, GOOD)
    service = service_at(hostile.url)
    with pytest.raises(QueryError) as raised:
        page_of(service)
    assert raised.value.cause == "line 1, column 92: no such"
    assert raised.value.errno == errno.EIO
    assert raised.value.attempts == 3
    assert raised.value.url.startswith(hostile.url)
    assert page_of(service) == ROWS


@pytest.mark.parametrize("status", ["429 Slow down", "502 Bad", "503 Busy", "504 Late"])
def test_refusal_of_a_busy_service_is_asked_again(
    status: str, hostile: HostileService
) -> None:
    says(hostile, _json(status, SAID), _json(status, b"<html>"), GOOD)
    assert page_of(service_at(hostile.url)) == ROWS


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b'{"success": true, "msg": []}']
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 418, 451])
def test_status_that_refuses_is_never_an_absence(
    status: int, body: bytes, hostile: HostileService
) -> None:
    says(hostile, _json(f"{status} No", body), GOOD)
    service = service_at(hostile.url)
    with pytest.raises(ServiceError) as raised:
        page_of(service)
    assert raised.value.errno == errno.EIO  # not ENOENT, EINVAL or EACCES
    assert str(status) in raised.value.cause
    assert page_of(service) == ROWS


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_on_the_same_host_is_followed_with_its_query(
    status: int, hostile: HostileService
) -> None:
    moved = "/api/v2/data/query.json?criteria=x"
    says(hostile, _json(f"{status} Moved", b"", f"Location: {moved}"), GOOD)
    assert page_of(service_at(hostile.url)) == ROWS
    assert hostile.requests[1] == moved


def test_page_above_8_mib_is_refused_and_not_read_to_its_end(
    hostile: HostileService,
) -> None:
    start = head("200 OK", "Content-Type: application/json") + b'{"msg": ["'
    flood = Flood(start, b"x")
    says(hostile, flood, GOOD)
    service = service_at(hostile.url)
    with pytest.raises(WrongAnswerError, match="8388608 bytes") as raised:
        page_of(service)
    assert raised.value.errno == errno.EIO
    assert raised.value.attempts == 1
    assert flood.sent_bytes < 50 * MIB
    assert page_of(service) == ROWS


def test_page_below_8_mib_is_read(hostile: HostileService) -> None:
    rows = [{"id": 1, "name": "x" * (7 * MIB)}]
    says(hostile, _json("200 OK", {"msg": rows}))
    assert page_of(service_at(hostile.url)) == rows


@pytest.mark.parametrize("content_type", ["text/html", "image/jpeg", "", "text/json"])
def test_rows_are_rows_whatever_type_they_are_called(
    content_type: str, hostile: HostileService
) -> None:
    body = json.dumps({"success": True, "msg": ROWS}).encode()
    says(hostile, [whole(body, kind=content_type)])
    assert page_of(service_at(hostile.url)) == ROWS


def test_no_status_line_forges_a_line_of_the_log(hostile: HostileService) -> None:
    says(hostile, [head("404 No\x1b[2K\x85all is well", "Content-Length: 0")])
    with pytest.raises(QueryError) as raised:
        page_of(service_at(hostile.url))
    assert str(raised.value).isascii()
    assert str(raised.value).isprintable()
