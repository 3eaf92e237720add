"""What statuses, dates and redirects mean."""

from __future__ import annotations

import datetime as dt
import email.utils

import pytest

from allenfs.errors import BusyError, WrongAnswerError
from allenfs.service import responses

API = "https://api.brain-map.org/api/v2/image_download/1"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (
            "/cgi-bin/imageservice?x=1",
            "https://api.brain-map.org/cgi-bin/imageservice?x=1",
        ),
        ("https://api.brain-map.org/a", "https://api.brain-map.org/a"),
        ("https://API.brain-map.org:443/a", "https://API.brain-map.org:443/a"),
        # whether the service redirects https to http is not known
        ("http://api.brain-map.org/a", "http://api.brain-map.org/a"),
        ("//api.brain-map.org/a", "https://api.brain-map.org/a"),
    ],
)
def test_redirect_on_the_same_host_is_followed(location: str, target: str) -> None:
    assert responses.next_url(API, location) == target


@pytest.mark.parametrize(
    "location",
    [
        "",
        "https://other.org/a",
        "https://api.brain-map.org.evil.org/a",
        "https://api.brain-map.org@evil.org/a",
        "https://user:secret@api.brain-map.org/a",
        "https://api.brain-map.org:8443/a",
        "http://127.0.0.1/a",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "ftp://api.brain-map.org/a",
        "//evil.org/a",
        "http://[bad",
        "https://api.brain-map.org:port/a",
        "https://evil.org/\nWARNING forged",
    ],
)
def test_redirect_to_any_other_place_is_refused(location: str) -> None:
    with pytest.raises(WrongAnswerError) as caught:
        responses.next_url(API, location)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_busy_statuses_are_transient(status: int) -> None:
    error = responses.error_of_status(status, "Busy", "")
    assert isinstance(error, BusyError)
    assert error.transient
    assert error.retry_after_s is None


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 405, 410, 418])
def test_unknown_statuses_are_wrong_answers(status: int) -> None:
    error = responses.error_of_status(status, "", "")
    assert type(error) is WrongAnswerError
    assert not error.transient


def test_retry_after_is_seconds_or_a_date() -> None:
    in_a_minute = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=60)
    for text, low_s, high_s in (
        ("7", 7, 7),
        (email.utils.format_datetime(in_a_minute, usegmt=True), 30, 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ):
        error = responses.error_of_status(429, "", text)
        assert isinstance(error, BusyError)
        assert error.retry_after_s is not None
        assert low_s <= error.retry_after_s <= high_s
    for text in ("", "soon", "-1", "1e9", "\u0661"):
        error = responses.error_of_status(429, "", text)
        assert isinstance(error, BusyError)
        assert error.retry_after_s is None


def test_last_modified_is_nanoseconds_or_nothing() -> None:
    # the recorded answer's
    recorded = "Thu, 31 Jan 2013 22:05:16 GMT"
    assert responses.modified_ns(recorded) == 1_359_669_916 * 10**9
    assert responses.modified_ns("Thu, 01 Jan 1960 00:00:00 GMT") == 0
    for text in ("", "yesterday", "Thu, 99 Jan 2013 22:05:16 GMT"):
        assert responses.modified_ns(text) is None


def test_a_servers_words_cannot_forge_a_log_line() -> None:
    error = responses.error_of_status(404, "Not\r\nFound \x1b[31m", "")
    assert str(error).isprintable()
