"""Answers to a request for an image from a service that means harm."""

from __future__ import annotations

import contextlib
import errno
import gzip
import itertools

import pytest
from hostile_service import (
    JPEG,
    MB,
    Elsewhere,
    HostileService,
    Says,
    Suspect,
    head,
    once,
    whole,
)
from mounted import errno_of_open

# What one answer may cost in memory: its window of 1 MiB, a head of 100 lines of
# 64 KiB twice, and what the allocator keeps.
MOST_BYTES = 64 * MB
PATH = "section/{}/image.jpg"
IMAGE = "Content-Type: image/jpeg"
CHUNKED = "Transfer-Encoding: chunked"
_ids = itertools.count(1)


def fails_then_recovers(
    hostile: HostileService, suspect: Suspect, says: Says, number: int
) -> str:
    """Return the log lines."""
    path = suspect.mounted / PATH.format(next(_ids))
    stored = suspect.mounted.stored
    hostile.image = says
    assert errno.errorcode[errno_of_open(path)] == errno.errorcode[number]
    assert suspect.mounted.stored == stored
    line = suspect.check_failure(path)
    hostile.heal()
    assert path.read_bytes() == JPEG
    return line


LEADS_AWAY = {
    "loopback 6": "http://[::1]:{six}/",
    "name of loopback": "http://localhost:{own}/elsewhere",
    "short loopback": "http://127.1:{own}/elsewhere",
    "wide digits": "http://\xb927.0.0.1:{own}/elsewhere",
    "no port": "http://127.0.0.1/elsewhere",
    "no scheme": "//localhost:{other}/",
    "user": "http://user@127.0.0.1:{own}/elsewhere",
    "host as user": "http://127.0.0.1:{own}@localhost:{other}/",
    "backslash as user": "http://localhost:{other}\\@127.0.0.1:{own}/elsewhere",
    "percent in the host": "http://127.0.0.1%2elocalhost:{other}/",
    "tab in the host": "http://local\thost:{other}/",
    "blank before": " http://localhost:{other}/",
    "folded line": "http://\r\n localhost:{other}/",
    "bracket": "http://[127.0.0.1:{own}/elsewhere",
    "file of a host": "file://127.0.0.1:{own}/etc/passwd",
    "escapes": "http://localhost:{other}/\x1b[2J\x1b]0;title\x07\r\x1b[A",
    "line of the log": "http://localhost/\rWARNING allenfs.fetch.fetcher: all is well",
    "60 kB": "http://localhost:{other}/" + "a" * 60_000,
}


@pytest.mark.parametrize("location", LEADS_AWAY.values(), ids=LEADS_AWAY)
def test_a_redirect_to_another_place_is_eio_and_no_connection_is_made_there(
    hostile, suspect, location
):
    with Elsewhere() as other, Elsewhere("::1") as six:
        target = location.format(own=hostile.port, other=other.port, six=six.port)
        answer = head("302 Found", f"Location: {target}", "Content-Length: 0")
        line = fails_then_recovers(hostile, suspect, once(answer), errno.EIO)
        assert "a redirect " in line
        assert "1 attempt," in line
        assert not other.was_called()
        assert not six.was_called()
    assert len(hostile.requests) == 2


@pytest.mark.parametrize(
    ("locations", "requests"),
    [
        # they look like another place, and are a path of this one, again and again
        (["///localhost:{}/"] * 6, 7),
        (["http:\\\\localhost:{}\\"] * 6, 7),
        (["/one", "two", "?three", "http://127.0.0.1:{}/"], 5),
    ],
)
def test_a_chain_that_leads_away_is_followed_to_its_last_own_place(
    hostile, suspect, locations, requests
):
    with Elsewhere() as other:
        chain = iter(locations)

        def says(_: str) -> list[bytes]:
            location = next(chain).format(other.port)
            return [head("307 There", f"Location: {location}", "Content-Length: 0")]

        fails_then_recovers(hostile, suspect, says, errno.EIO)
        assert not other.was_called()
    assert len(hostile.requests) == requests


def _endless(piece: bytes, first: bytes = b"") -> Says:
    many = piece * max(1, MB // len(piece))
    return lambda _: itertools.chain([first], itertools.repeat(many))


def _image(*fields: str) -> bytes:
    return head("200 OK", IMAGE, *fields)


_GZIPPED_MB = gzip.compress(bytes(MB))
# 1 GB in 1 MB: the members of a gzip follow one another.
_BOMB = gzip.compress(JPEG[:-2]) + _GZIPPED_MB * 1000
_EMPTY_BLOCK = b"\0\0\0\xff\xff"  # stored, of no bytes
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
# Some MB that are unpacked to GB, and to TB, and to nothing at all.
_LAYER = gzip.compress(gzip.compress(_EMPTY_BLOCK * 200_000) * 500)
_FIRST_LAYER = gzip.compress(_GZIP_HEAD + _EMPTY_BLOCK * 200_000)
_NOTHING = gzip.compress(_FIRST_LAYER) + _LAYER * 500
_GZIP_3 = "gzip, gzip, gzip"


def _encoded(coding: str, *pieces: bytes) -> Says:
    return once(_image(f"Content-Encoding: {coding}"), *pieces)


_GZIP, _DEFLATE = "Content-Encoding: gzip", "Content-Encoding: deflate"
_FIELDS = b"X-Field: " + b"a" * 90 + b"\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
_LINE = b"HTTP/1.1 200 "
_NAMED_GZIP = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"  # a name follows, without an end
_SOI, _REST = JPEG[:2], JPEG[2:]
_SCANS = JPEG[:-2] + b"\xff\xda\0\2a" * 5 * MB + b"\xff\xd9"
_UNTIL_9999 = "Retry-After: Fri, 31 Dec 9999 23:59:59 -2359"
_WORDS = "text/\x1b[2J\x9b\rWARNING x: y" + "a" * 5000


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n" % (len(data), data)


HARMS = {
    errno.EIO: {
        "header of 1 MB": once(_HEAD + b"X: " + b"a" * MB + b"\r\n\r\n" + JPEG),
        "endless status line": _endless(b"a", _LINE),
        "10 000 headers": once(_HEAD + b"X: y\r\n" * 10_000 + b"\r\n" + JPEG),
        "endless headers": _endless(_FIELDS, _HEAD),
        "endless header": _endless(b" folded\r\n", _HEAD),
        "endless blank lines": _endless(b"\r\n"),
        "no status line": once(b"\x1b[2J\x1b]0;x\x07\r\rWARNING x: y\r\n\r\n"),
        "status 99999": once(head("99999 OK")),
        "reason of 60 kB": once(head("418 " + "a\x1b" * 30_000)),
        "no Content-Type": once(head() + JPEG),
        "escapes as type": once(whole(JPEG, kind=_WORDS)),
        "two lengths": once(whole(JPEG, "Content-Length: 5")),
        "endless chunk size": _endless(b"1", _image(CHUNKED)),
        "chunk of 2^64 cut": once(_image(CHUNKED), b"f" * 16 + b"\r\n" + JPEG),
        "chunk of no number": once(_image(CHUNKED), b"\x1b[2J\x07\r\n" + JPEG),
        "chunk extension": once(_image(CHUNKED), b"5;" + b"a" * MB + b"\r\n" + JPEG),
        "no gzip": _encoded("gzip", JPEG),
        "gzip bomb, packed twice": _encoded("gzip, gzip", gzip.compress(_BOMB)),
        "deflate of nothing, endless": _endless(_EMPTY_BLOCK, _image(_DEFLATE)),
        "nothing in three layers": _encoded(_GZIP_3, _NOTHING),
        "unknown coding": _encoded("\x1b[2J" + "a" * 5000, JPEG),
        "millions of markers": once(_image(), _SOI + b"\xff\x01" * 5 * MB + _REST),
        "millions of scans": once(_image(), _SCANS),
        "Retry-After of digits": once(head("429 No", "Retry-After: " + "9" * 60_000)),
        "Retry-After in 9999": once(head("503 No", _UNTIL_9999)),
    },
    errno.EFBIG: {
        "10 GB without a length": _endless(b"a", _image()),
        "2^63 of length": once(_image(f"Content-Length: {2**63}")),
        "chunk of 2^63": _endless(b"a", _image(CHUNKED) + b"8%015x\r\n" % 0),
        "gzip bomb": _encoded("gzip", _BOMB),
        "fill bytes in place of a marker": _endless(b"\xff", _image() + b"\xff\xd8"),
    },
    errno.ETIMEDOUT: {
        "endless 100 Continue": _endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "endless chunks": _endless(b"1\r\na\r\n", _image(CHUNKED)),
        "endless trailers": _endless(b"X: y\r\n", _image(CHUNKED) + _chunk(JPEG)),
        "gzip of nothing, endless": _endless(_EMPTY_BLOCK, _image(_GZIP) + _GZIP_HEAD),
        "gzip members of nothing, endless": _endless(gzip.compress(b""), _image(_GZIP)),
        "gzip head, endless": _endless(b"a", _image(_GZIP) + _NAMED_GZIP),
    },
    errno.ENOENT: {
        "error page without end": _endless(b"a", head("404 Not Found")),
        "error page that is a bomb": once(head("404 Not Found", _GZIP), _BOMB),
        "error page of nothing in three layers": once(
            head("404 Not Found", f"Content-Encoding: {_GZIP_3}"), _NOTHING
        ),
    },
}


@pytest.mark.parametrize(
    ("says", "number"),
    [
        pytest.param(says, number, id=name)
        for number, harms in HARMS.items()
        for name, says in harms.items()
    ],
)
def test_a_harmful_answer_is_an_errno_and_costs_64_mb_at_most(
    hostile, suspect, says, number
):
    """At its end the daemon would say on stderr which sockets it left open."""
    fails_then_recovers(hostile, suspect, says, number)


@pytest.mark.parametrize("fill_bytes", [0, 20 * MB])
def test_a_picture_of_65535_x_65535_is_a_file_of_its_bytes(
    hostile, suspect, fill_bytes
):
    path = suspect.mounted / PATH.format(next(_ids))
    image = JPEG[:2] + b"\xff" * fill_bytes + JPEG[2:]
    hostile.image = once(whole(image))
    assert path.read_bytes() == image
    assert path.stat().st_size == len(image)
    suspect.check(failures=0)


@pytest.mark.parametrize(
    "date",
    [
        *("Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 0001 00:00:00 -2359"),
        *("9" * 60_000, "\x1b[2J\x9b\x85"),
    ],
    ids=lambda text: text[:10],
)
def test_a_senseless_last_modified_does_not_fail_an_image(hostile, suspect, date):
    path = suspect.mounted / PATH.format(next(_ids))
    hostile.image = lambda _: [whole(JPEG, f"Last-Modified: {date}")]
    assert path.read_bytes() == JPEG
    # a tmpfs keeps the year 9999, where ext4 ends in 2446
    assert 0 <= path.stat().st_mtime < 2**38
    suspect.check(failures=0)


@pytest.mark.parametrize("name", [b"X\x1b[2J", b"", b"\xff\xfe:\x9b"])
def test_a_head_that_cannot_be_read_writes_nothing_into_the_log(hostile, suspect, name):
    path = suspect.mounted / PATH.format(next(_ids))
    fields = b"Content-Type: image/jpeg\r\n" + name + b": y\r\nWARNING forged: z\r\n"
    hostile.image = lambda _: [b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + JPEG]
    with contextlib.suppress(OSError):
        assert path.read_bytes().endswith(JPEG)
    suspect.check(failures=min(1, len(suspect.lines())))
