"""Answers to a request for an image from a service that means harm."""

from __future__ import annotations

import contextlib
import errno
import gzip
import itertools
import os
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from hostile_service import JPEG, MB, Elsewhere, HostileService, Suspect, head, whole
from mounted import Mounted, errno_of_open

# What one answer may cost in memory: its window of 1 MiB, a head of 100 lines of
# 64 KiB twice, and what the allocator keeps.
MOST_BYTES = 64 * MB
MAX_IMAGE_BYTES = 32 * MB
PATH = "section/{}/image.jpg"
ERROR = "user.allenfs.error"
IMAGE = "Content-Type: image/jpeg"
CHUNKED = "Transfer-Encoding: chunked"
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def service() -> Iterator[HostileService]:
    with HostileService() as running:
        yield running


@pytest.fixture(scope="module")
def suspect(
    service: HostileService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Suspect]:
    folder = tmp_path_factory.mktemp("hostile")
    with Mounted(
        folder,
        service.url,
        max_image_bytes=MAX_IMAGE_BYTES,
        stall_timeout_s=1,
        deadline_s=2,
        warnings=[""],
    ) as mounted:
        (mounted / PATH.format(10**6)).read_bytes()
        yield Suspect(mounted, folder, MOST_BYTES)


@pytest.fixture(autouse=True)
def healed(service: HostileService, suspect: Suspect) -> None:
    service.heal()
    service.requests.clear()
    suspect.begin()


def fails_then_recovers(
    service: HostileService,
    suspect: Suspect,
    says: Callable[[str], Iterable[bytes]],
    number: int,
) -> str:
    """Return what the log said."""
    path = suspect.mounted / PATH.format(next(_ids))
    stored = suspect.mounted.stored
    service.image = says
    found = errno_of_open(path)
    assert errno.errorcode[found] == errno.errorcode[number]
    assert suspect.mounted.stored == stored
    line = suspect.check()
    said = os.getxattr(path, ERROR).decode()
    assert said in line
    assert said.isprintable()
    assert said.isascii()
    service.heal()
    assert path.read_bytes() == JPEG
    return line


LEADS_AWAY = {
    "link-local": "http://169.254.169.254/latest/meta-data/",
    "loopback 6": "http://[::1]:{six}/",
    "loopback": "http://127.0.0.1:{other}/",
    "name of loopback": "http://localhost:{own}/elsewhere",
    "short loopback": "http://127.1:{own}/elsewhere",
    "hex loopback": "http://0x7f000001:{own}/elsewhere",
    "mapped loopback": "http://[::ffff:127.0.0.1]:{own}/elsewhere",
    "any address": "http://0.0.0.0:{own}/elsewhere",
    "wide digits": "http://\xb927.0.0.1:{own}/elsewhere",
    "dot at the end": "http://127.0.0.1.:{own}/elsewhere",
    "no port": "http://127.0.0.1/elsewhere",
    "empty port": "http://127.0.0.1:/elsewhere",
    "great port": "http://127.0.0.1:99999999/elsewhere",
    "signed port": "http://127.0.0.1:+{own}/elsewhere",
    "no scheme": "//localhost:{other}/",
    "user": "http://user@127.0.0.1:{own}/elsewhere",
    "user and password": "http://user:secret@127.0.0.1:{own}/elsewhere",
    "host as user": "http://127.0.0.1:{own}@localhost:{other}/",
    "backslash as user": "http://localhost:{other}\\@127.0.0.1:{own}/elsewhere",
    "percent as user": "http://127.0.0.1:{own}%2f@localhost:{other}/",
    "percent in the host": "http://127.0.0.1%2elocalhost:{other}/",
    "tab in the scheme": "ht\ttp://localhost:{other}/",
    "tab in the host": "http://local\thost:{other}/",
    "blank before": " http://localhost:{other}/",
    "folded line": "http://\r\n localhost:{other}/",
    "bracket": "http://[127.0.0.1:{own}/elsewhere",
    "https of the same port": "https://localhost:{own}/elsewhere",
    "file": "file:///etc/passwd",
    "file of a host": "file://127.0.0.1:{own}/etc/passwd",
    "ftp": "ftp://127.0.0.1:{other}/image.jpg",
    "gopher": "gopher://127.0.0.1:{other}/",
    "data": "data:image/jpeg;base64,/9j/2Q==",
    "unix": "http+unix://%2Frun%2Fdocker.sock/",
    "javascript": "javascript:alert(1)",
    "empty": "",
    "escapes": "http://localhost:{other}/\x1b[2J\x1b]0;title\x07\r\x1b[A",
    "line of the log": "http://localhost/\rWARNING allenfs.fetch.fetcher: all is well",
    "60 kB": "http://localhost:{other}/" + "a" * 60_000,
}


@pytest.mark.parametrize("location", LEADS_AWAY.values(), ids=LEADS_AWAY)
def test_a_redirect_to_another_place_is_eio_and_nobody_is_called_there(
    service: HostileService, suspect: Suspect, location: str
) -> None:
    with Elsewhere() as other, Elsewhere("::1") as six:
        target = location.format(own=service.port, other=other.port, six=six.port)
        answer = head("302 Found", f"Location: {target}", "Content-Length: 0")
        line = fails_then_recovers(service, suspect, lambda _: [answer], errno.EIO)
        assert "a redirect " in line
        assert "1 attempt," in line
        assert not other.was_called()
        assert not six.was_called()
    assert len(service.requests) == 2


@pytest.mark.parametrize("location", ["///localhost:{}/", "http:\\\\localhost:{}\\"])
def test_a_redirect_that_looks_like_another_place_is_a_path_of_this_one(
    service: HostileService, suspect: Suspect, location: str
) -> None:
    with Elsewhere() as other:
        answer = head("302 Found", f"Location: {location.format(other.port)}")
        fails_then_recovers(service, suspect, lambda _: [answer], errno.EIO)
        assert not other.was_called()
    assert len(service.requests) == 7


def test_a_chain_that_leads_away_is_followed_to_its_last_own_place(
    service: HostileService, suspect: Suspect
) -> None:
    with Elsewhere() as other:
        chain = iter(["/one", "two", "?three", f"http://127.0.0.1:{other.port}/"])

        def says(_: str) -> list[bytes]:
            return [head("307 There", f"Location: {next(chain)}", "Content-Length: 0")]

        fails_then_recovers(service, suspect, says, errno.EIO)
        assert not other.was_called()
    assert len(service.requests) == 5


def _endless(piece: bytes, first: bytes = b"") -> Callable[[str], Iterable[bytes]]:
    many = piece * max(1, MB // len(piece))
    return lambda _: itertools.chain([first], itertools.repeat(many))


def _once(*pieces: bytes) -> Callable[[str], Iterable[bytes]]:
    return lambda _: pieces


def _image(*fields: str) -> bytes:
    return head("200 OK", IMAGE, *fields)


_GZIPPED_MB = gzip.compress(bytes(MB))
# 1 GB in 1 MB: the members of a gzip follow one another.
_BOMB = gzip.compress(JPEG[:-2]) + _GZIPPED_MB * 1000
_EMPTY_BLOCK = b"\0\0\0\xff\xff"  # stored, of no bytes
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def _nothing_in_three_layers() -> bytes:
    """Return some MB that are unpacked to GB, and to TB, and to nothing at all."""
    first = gzip.compress(_GZIP_HEAD + _EMPTY_BLOCK * 200_000)
    more = gzip.compress(_EMPTY_BLOCK * 200_000)
    return gzip.compress(first) + gzip.compress(more * 500) * 500


def _encoded(coding: str, *pieces: bytes) -> Callable[[str], Iterable[bytes]]:
    return _once(_image(f"Content-Encoding: {coding}"), *pieces)


_GREAT = "Content-Length: 10000000000"
_FIELDS = b"X-Field: " + b"a" * 90 + b"\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
EIO, EFBIG, ETIMEDOUT = errno.EIO, errno.EFBIG, errno.ETIMEDOUT
HARMS: dict[str, tuple[Callable[[str], Iterable[bytes]], int]] = {
    "header of 1 MB": (_once(_HEAD + b"X: " + b"a" * MB + b"\r\n\r\n" + JPEG), EIO),
    "status line of 1 MB": (_once(b"HTTP/1.1 200 " + b"a" * MB + b"\r\n\r\n"), EIO),
    "endless status line": (_endless(b"a", b"HTTP/1.1 200 "), EIO),
    "10 000 headers": (_once(_HEAD + b"X: y\r\n" * 10_000 + b"\r\n" + JPEG), EIO),
    "endless headers": (_endless(_FIELDS, _HEAD), EIO),
    "endless header": (_endless(b" folded\r\n", _HEAD), EIO),
    "endless 100 Continue": (_endless(b"HTTP/1.1 100 Continue\r\n\r\n"), ETIMEDOUT),
    "endless blank lines": (_endless(b"\r\n"), EIO),
    "no status line": (_once(b"\x1b[2J\x1b]0;x\x07\r\rWARNING x: y\r\n\r\n"), EIO),
    "status 999": (_once(head("999 \x1b[2J\rWARNING x: y\x85\x9b2J")), EIO),
    "status 99999": (_once(head("99999 OK")), EIO),
    "status -200": (_once(head("-200 OK")), EIO),
    "reason of 60 kB": (_once(head("418 " + "a\x1b" * 30_000)), EIO),
    "no Content-Type": (_once(head() + JPEG), EIO),
    "escapes as type": (
        _once(whole(JPEG, kind="text/\x1b[2J\x9b\rWARNING x: y" + "a" * 5000)),
        EIO,
    ),
    "10 GB of Content-Length": (_once(_image(_GREAT)), EFBIG),
    "10 GB that come": (_endless(b"a", _image(_GREAT)), EFBIG),
    "10 GB without a length": (_endless(b"a", _image()), EFBIG),
    "two lengths": (_once(whole(JPEG, "Content-Length: 5")), EIO),
    "2^63 of length": (_once(_image(f"Content-Length: {2**63}")), EFBIG),
    "5000 digits of length": (_once(_image("Content-Length: " + "9" * 5000)), EIO),
    "endless chunk size": (_endless(b"1", _image(CHUNKED)), EIO),
    "chunk of 2^63": (_endless(b"a", _image(CHUNKED) + b"8%015x\r\n" % 0), EFBIG),
    "chunk of 2^64 cut": (_once(_image(CHUNKED), b"f" * 16 + b"\r\n" + JPEG), EIO),
    "chunk of less than nothing": (_once(_image(CHUNKED), b"-5\r\n" + JPEG), EIO),
    "chunk of no number": (_once(_image(CHUNKED), b"\x1b[2J\x07\r\n" + JPEG), EIO),
    "chunk extension of 1 MB": (
        _once(_image(CHUNKED), b"5;" + b"a" * MB + b"\r\n" + JPEG),
        EIO,
    ),
    "endless chunks": (_endless(b"1\r\na\r\n", _image(CHUNKED)), ETIMEDOUT),
    "endless trailers": (
        _endless(
            b"X: y\r\n", _image(CHUNKED) + b"%x\r\n%s\r\n0\r\n" % (len(JPEG), JPEG)
        ),
        ETIMEDOUT,
    ),
    "gzip bomb": (_encoded("gzip", _BOMB), EFBIG),
    "gzip bomb as chunks": (
        _once(
            _image(CHUNKED, "Content-Encoding: gzip"),
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BOMB), _BOMB),
        ),
        EFBIG,
    ),
    "gzip of nothing, endless": (
        _endless(_EMPTY_BLOCK, _image("Content-Encoding: gzip") + _GZIP_HEAD),
        ETIMEDOUT,
    ),
    "gzip members of nothing, endless": (
        _endless(gzip.compress(b""), _image("Content-Encoding: gzip")),
        ETIMEDOUT,
    ),
    "gzip head, endless": (
        _endless(
            b"a", _image("Content-Encoding: gzip") + b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"
        ),
        ETIMEDOUT,
    ),
    "no gzip": (_encoded("gzip", JPEG), EIO),
    "gzip twice": (_encoded("gzip, gzip", gzip.compress(gzip.compress(JPEG))), EIO),
    "gzip bomb, packed twice": (_encoded("gzip, gzip", gzip.compress(_BOMB)), EIO),
    "nothing, packed three times": (
        _encoded("gzip, gzip, gzip", _nothing_in_three_layers()),
        EIO,
    ),
    "ten codings": (_encoded(",".join(["gzip"] * 10), JPEG), EIO),
    "deflate": (_encoded("deflate", zlib.compress(bytes(100 * MB))), EIO),
    "deflate of nothing, endless": (
        _endless(_EMPTY_BLOCK, _image("Content-Encoding: deflate")),
        EIO,
    ),
    "br": (_encoded("br", JPEG), EIO),
    "zstd": (_encoded("zstd", JPEG), EIO),
    "unknown coding": (_encoded("\x1b[2J" + "a" * 5000, JPEG), EIO),
    "fill bytes in place of a marker": (
        _endless(b"\xff", _image() + b"\xff\xd8"),
        EFBIG,
    ),
    "30 MB of fill bytes": (_once(_image(), b"\xff\xd8" + b"\xff" * 30 * MB), EIO),
    "millions of markers": (
        _once(_image(), b"\xff\xd8" + b"\xff\x01" * 5 * MB + JPEG[2:]),
        EIO,
    ),
    "millions of segments": (
        _once(_image(), b"\xff\xd8" + b"\xff\xfe\0\2" * 5 * MB + JPEG[2:]),
        EIO,
    ),
    "millions of scans": (
        _once(_image(), JPEG[:-2] + b"\xff\xda\0\2a" * 5 * MB + b"\xff\xd9"),
        EIO,
    ),
    "Retry-After of 1e400": (_once(head("429 No", "Retry-After: 1e400")), EIO),
    "Retry-After below nothing": (_once(head("429 No", "Retry-After: -5")), EIO),
    "Retry-After of 60 000 digits": (
        _once(head("429 No", "Retry-After: " + "9" * 60_000)),
        EIO,
    ),
    "Retry-After in 9999": (
        _once(head("503 No", "Retry-After: Fri, 31 Dec 9999 23:59:59 -2359")),
        EIO,
    ),
    "error page without end": (_endless(b"a", head("404 Not Found")), errno.ENOENT),
    "error page that is a bomb": (
        _once(head("404 Not Found", "Content-Encoding: gzip"), _BOMB),
        errno.ENOENT,
    ),
}


@pytest.mark.parametrize(("says", "number"), HARMS.values(), ids=HARMS)
def test_a_harmful_answer_is_an_errno_and_costs_64_mb_at_most(
    service: HostileService,
    suspect: Suspect,
    says: Callable[[str], Iterable[bytes]],
    number: int,
) -> None:
    fails_then_recovers(service, suspect, says, number)


def test_a_picture_of_65535_x_65535_is_a_file_of_its_bytes(suspect: Suspect) -> None:
    path = suspect.mounted / PATH.format(next(_ids))
    assert path.read_bytes() == JPEG
    assert path.stat().st_size == len(JPEG)
    suspect.check(failures=0)


def test_a_whole_image_of_many_fill_bytes_is_given(
    service: HostileService, suspect: Suspect
) -> None:
    path = suspect.mounted / PATH.format(next(_ids))
    image = JPEG[:2] + b"\xff" * 20 * MB + JPEG[2:]
    service.image = lambda _: [whole(image)]
    assert path.read_bytes() == image
    suspect.check(failures=0)


@pytest.mark.parametrize(
    "date",
    [
        *("Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 0001 00:00:00 -2359"),
        *("Wed, 31 Dec 1969 23:59:59 GMT", "Tue, 99 Foo 99999999999 99:99:99 +9999"),
        *("9" * 60_000, "\x1b[2J\x9b\x85", ", " * 30_000),
    ],
    ids=lambda text: text[:10],
)
def test_a_senseless_last_modified_takes_no_image_away(
    service: HostileService, suspect: Suspect, date: str
) -> None:
    path = suspect.mounted / PATH.format(next(_ids))
    service.image = lambda _: [whole(JPEG, f"Last-Modified: {date}")]
    assert path.read_bytes() == JPEG
    # a tmpfs keeps the year 9999, where ext4 ends in 2446
    assert 0 <= path.stat().st_mtime < 2**38
    suspect.check(failures=0)


@pytest.mark.parametrize("name", [b"X\x1b[2J", b"\x00", b"", b" ", b"\xff\xfe:\x9b"])
def test_a_head_that_cannot_be_read_writes_nothing_into_the_log(
    service: HostileService, suspect: Suspect, name: bytes
) -> None:
    path = suspect.mounted / PATH.format(next(_ids))
    fields = b"Content-Type: image/jpeg\r\n" + name + b": y\r\nWARNING forged: z\r\n"
    service.image = lambda _: [b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + JPEG]
    with contextlib.suppress(OSError):
        assert path.read_bytes().endswith(JPEG)
    suspect.check(failures=min(1, len(suspect.lines())))


def test_codings_in_layers_are_refused_and_not_unpacked_for_hours(
    service: HostileService, suspect: Suspect
) -> None:
    packed = _nothing_in_three_layers()
    coding = "Content-Encoding: gzip, gzip, gzip"
    for status, number in (("200 OK", errno.EIO), ("404 Not Found", errno.ENOENT)):
        answer = head(status, IMAGE, coding) + packed
        fails_then_recovers(service, suspect, _once(answer), number)
        suspect.begin()


@pytest.mark.mounted(warnings=["two", "Content-Length"])
def test_an_answer_of_two_lengths_leaves_no_socket_open(
    mounted: Mounted, service: HostileService
) -> None:
    service.image = _once(whole(JPEG, "Content-Length: 5"))
    assert errno_of_open(mounted / PATH.format(1)) == errno.EIO
    # at its end the daemon would have said on stderr what it left open
