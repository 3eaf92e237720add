"""What statuses, dates and redirects mean."""

from __future__ import annotations

import datetime as dt
import email.utils

import pytest

from allenfs.errors import BusyError, WrongAnswerError
from allenfs.service import responses

HOST = "api.brain-map.org"
API = f"https://{HOST}/api/v2/image_download/1"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/cgi-bin/imageservice?x=1", f"https://{HOST}/cgi-bin/imageservice?x=1"),
        ("https://API.brain-map.org:443/a", "https://API.brain-map.org:443/a"),
        # whether the service redirects https to http is not known
        (f"http://{HOST}/a", f"http://{HOST}/a"),
        (f"//{HOST}/a", f"https://{HOST}/a"),
    ],
)
def test_redirect_on_the_same_host_is_followed(location, target):
    assert responses.next_url(API, location) == target


@pytest.mark.parametrize(
    "location",
    [
        "",
        f"https://{HOST}.evil.org/a",
        f"https://{HOST}@evil.org/a",
        f"https://user:secret@{HOST}/a",
        f"https://{HOST}:8443/a",
        *("http://127.0.0.1/a", "http://169.254.169.254/latest", "http://0x7f000001/a"),
        *("http://[::ffff:127.0.0.1]/a", "http://0.0.0.0/a", f"https://{HOST}./a"),
        *(f"https://{HOST}:443%2f@evil.org/a", "ht\ttp://evil.org/a"),
        *(
            "file:///etc/passwd",
            "data:image/jpeg;base64,/9j/2Q==",
            "http+unix://%2Frun/",
        ),
        f"ftp://{HOST}/a",
        "//evil.org/a",
        "http://[bad",
        f"https://{HOST}:port/a",
        "https://evil.org/\nWARNING forged",
    ],
)
def test_redirect_to_any_other_place_is_refused(location):
    with pytest.raises(WrongAnswerError) as caught:
        responses.next_url(API, location)
    assert "\n" not in str(caught.value)


def test_statuses_are_busy_or_wrong_answers():
    for status in (408, 429, 500, 502, 503, 504, 599):
        error = responses.error_of_status(status, "Busy", "")
        assert isinstance(error, BusyError)
        assert error.transient
        assert error.retry_after_s is None
    for status in (201, 204, 206, 300, 304, 405, 410, 418):
        error = responses.error_of_status(status, "", "")
        assert type(error) is WrongAnswerError
        assert not error.transient


def test_retry_after_is_seconds_or_a_date():
    in_a_minute = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=60)
    for text, low_s, high_s in (
        ("7", 7, 7),
        (email.utils.format_datetime(in_a_minute, usegmt=True), 30, 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ):
        error = responses.error_of_status(429, "", text)
        assert low_s <= error.retry_after_s <= high_s
    for text in ("", "soon", "-1", "1e9", "\u0661"):
        assert responses.error_of_status(429, "", text).retry_after_s is None


def test_last_modified_is_nanoseconds_or_nothing():
    # the recorded answer's
    recorded = "Thu, 31 Jan 2013 22:05:16 GMT"
    assert responses.modified_ns(recorded) == 1_359_669_916 * 10**9
    assert responses.modified_ns("Thu, 01 Jan 1960 00:00:00 GMT") == 0
    for text in ("", "yesterday", "Thu, 99 Jan 2013 22:05:16 GMT"):
        assert responses.modified_ns(text) is None


def test_a_servers_words_cannot_forge_a_log_line():
    error = responses.error_of_status(404, "Not\r\nFound \x1b[31m", "")
    assert str(error).isprintable()
