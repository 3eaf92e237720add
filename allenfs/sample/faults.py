"""Faults on request: broken responses, written to the real socket."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from allenfs.sample.envelope import (
    CONTENT_TYPES,
    cut_body,
    error_body,
    inflated_body,
    none_body,
)

if TYPE_CHECKING:
    from allenfs.sample.wire import Field, Fields, Wire


class Fault(Enum):
    """A response in place of the recorded one.

    What applies to a JPEG here also applies to the JSON of a query.
    """

    STATUS_204 = auto()
    STATUS_206 = auto()  # a part of the JPEG, with Content-Range
    STATUS_400 = auto()
    STATUS_401 = auto()
    STATUS_403 = auto()
    STATUS_404 = auto()
    STATUS_429 = auto()
    STATUS_429_RETRY_AFTER = auto()  # Retry-After: 1
    STATUS_500 = auto()
    STATUS_503 = auto()
    HTML_200 = auto()  # an error page under status 200
    NOT_A_JPEG = auto()  # other bytes under image/jpeg
    HALF_JPEG_HONEST_LENGTH = auto()  # half a JPEG, and that half's Content-Length
    CUT_CONTENT_LENGTH = auto()  # the whole length promised, half sent, closed
    CUT_CHUNKED = auto()  # no last chunk, closed
    CUT_CLOSE = auto()  # neither length nor chunks, half sent, closed
    EMPTY_BODY = auto()  # 200 image/jpeg, Content-Length: 0
    RESET_BEFORE = auto()  # RST instead of any byte
    RESET_MID_BODY = auto()  # RST after half of the promised body
    SILENT = auto()  # reads the request and never answers
    DRIP_BODY = auto()  # half the JPEG, then a byte now and then, forever
    DRIP_HEADERS = auto()  # a header byte now and then, forever
    REDIRECT_LOOP = auto()
    REDIRECT_OTHER_HOST = auto()
    REDIRECT_OTHER_PORT = auto()
    REDIRECT_FILE = auto()  # Location: file:///etc/passwd
    REDIRECT_NO_LOCATION = auto()
    ENDLESS_BODY = auto()  # half the JPEG, then bytes as fast as they are read
    GZIP_ANYWAY = auto()  # a good JPEG, gzipped though the client did not accept gzip
    NOT_JSON = auto()  # other bytes under application/json
    SUCCESS_FALSE = auto()  # the envelope of a refused query, under status 200
    NO_ROWS = auto()  # an answer without rows: `msg: {}`
    CUT_LIST = auto()  # JSON only: half of all rows, but the right total_rows
    LARGE_TOTAL = auto()  # JSON only: all rows, but a total_rows of two more
    # The two below are valid responses, which a client must accept.
    WITH_CONTENT_LENGTH = auto()  # no redirect, no Last-Modified, a length
    CLOSE_DELIMITED = auto()  # no redirect, neither length nor chunks, closed


#: the loop is a second leg, so that it counts as one image request
LOOP_TARGET: Final = "/cgi-bin/imageservice?loop=1"

_JSON: Final = ("Content-Type", CONTENT_TYPES["json"])
_CHUNKED: Final = ("Transfer-Encoding", "chunked")
_REDIRECTS: Final = {
    Fault.REDIRECT_LOOP: LOOP_TARGET,
    Fault.REDIRECT_OTHER_HOST: "http://other.invalid/cgi-bin/imageservice?mime=1",
    # Nothing listens on port 1: following the redirect fails to connect.
    Fault.REDIRECT_OTHER_PORT: "http://127.0.0.1:1/cgi-bin/imageservice?mime=1",
    Fault.REDIRECT_FILE: "file:///etc/passwd",
}
_STATUSES: Final[dict[Fault, tuple[int, Fields]]] = {
    Fault.STATUS_400: (400, ()),
    Fault.STATUS_401: (401, (("WWW-Authenticate", 'Basic realm="sample"'),)),
    Fault.STATUS_403: (403, ()),
    Fault.STATUS_404: (404, ()),
    Fault.STATUS_429: (429, ()),
    Fault.STATUS_429_RETRY_AFTER: (429, (("Retry-After", "1"),)),
    Fault.STATUS_500: (500, ()),
    Fault.STATUS_503: (503, ()),
    Fault.HTML_200: (200, ()),
}


def needs_answer(fault: Fault) -> bool:
    """Return whether the fault uses the requested image or rows."""
    return fault in _BODIES


def answer(
    fault: Fault,
    wire: Wire,
    make: Callable[[], bytes],
    content_type: str = "image/jpeg",
) -> None:
    """Write `fault` as the answer to one request; `make` returns the good body."""
    kind = ("Content-Type", content_type)
    if fault in _STATUSES:
        status, fields = _STATUSES[fault]
        wire.page(status, f"Planned fault of the sample: {fault.name}", fields)
    elif fault in _REDIRECTS:
        wire.page(302, "The document has moved.", (("Location", _REDIRECTS[fault]),))
    elif fault in _BODIES:
        _BODIES[fault](wire, kind, make())
    elif fault in _PRETENDED:
        _PRETENDED[fault](wire, kind)
    else:
        _WITHOUT_BODY[fault](wire)


def _length(size_bytes: int) -> tuple[str, str]:
    return ("Content-Length", str(size_bytes))


def _half(good: bytes) -> bytes:
    return good[: len(good) // 2]


def _no_content(wire: Wire) -> None:
    wire.head(204, last=True)


def _not_a_jpeg(wire: Wire, kind: Field) -> None:
    data = b"AFF\x01" + bytes(range(256)) * 16
    wire.head(200, (kind, _length(len(data))))
    wire.body(data)


def _not_json(wire: Wire, _kind: Field) -> None:
    _not_a_jpeg(wire, _JSON)


def _success_false(wire: Wire, _kind: Field) -> None:
    data = error_body("line 1, column 92: a planned fault of the sample", "json")
    wire.head(200, (_JSON, _length(len(data))))
    wire.body(data)


def _no_rows(wire: Wire, _kind: Field) -> None:
    data = none_body()
    wire.head(200, (_JSON, _length(len(data))))
    wire.body(data)


def _cut_list(wire: Wire, kind: Field, good: bytes) -> None:
    _with_content_length(wire, kind, cut_body(good) if kind == _JSON else good)


def _large_total(wire: Wire, kind: Field, good: bytes) -> None:
    _with_content_length(wire, kind, inflated_body(good) if kind == _JSON else good)


def _empty_body(wire: Wire, kind: Field) -> None:
    wire.head(200, (kind, _length(0)), last=True)


def _redirect_no_location(wire: Wire) -> None:
    wire.page(302, "The document has moved.")


def _drip_headers(wire: Wire) -> None:
    start = b"HTTP/1.1 200 OK\r\nX-Drip: "
    wire.drip(itertools.chain((start,), itertools.repeat(b"a")))


def _silent(wire: Wire) -> None:
    wire.silence()


def _reset_before(wire: Wire) -> None:
    wire.reset()


def _part(wire: Wire, kind: Field, good: bytes) -> None:
    half = _half(good)
    content_range = ("Content-Range", f"bytes 0-{len(half) - 1}/{len(good)}")
    wire.head(206, (kind, content_range, _length(len(half))))
    wire.body(half)


def _half_honest(wire: Wire, kind: Field, good: bytes) -> None:
    half = _half(good)
    wire.head(200, (kind, _length(len(half))))
    wire.body(half)


def _cut_content_length(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, _length(len(good))))
    wire.body(_half(good))
    wire.end()


def _cut_chunked(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, _CHUNKED))
    wire.chunks(_half(good), last=False)
    wire.end()


def _cut_close(wire: Wire, kind: Field, good: bytes) -> None:
    wire.end()
    wire.head(200, (kind,))
    wire.body(_half(good))


def _reset_mid_body(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, _length(len(good))))
    wire.body(_half(good))
    wire.reset()


def _drip_body(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, _CHUNKED))
    wire.chunks(_half(good), last=False)
    wire.drip(itertools.repeat(b"1\r\n\x00\r\n"))


def _endless_body(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, _CHUNKED))
    wire.chunks(_half(good), last=False)
    size = 64 * 1024
    wire.flood(itertools.repeat(b"%x\r\n%b\r\n" % (size, bytes(size))))


def _gzip_anyway(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, ("Content-Encoding", "gzip"), _CHUNKED))
    wire.chunks(gzip.compress(good, 1, mtime=0))


def _with_content_length(wire: Wire, kind: Field, good: bytes) -> None:
    wire.head(200, (kind, _length(len(good))))
    wire.body(good)


def _close_delimited(wire: Wire, kind: Field, good: bytes) -> None:
    wire.end()
    wire.head(200, (kind,))
    wire.body(good)


_WITHOUT_BODY: Final[dict[Fault, Callable[[Wire], None]]] = {
    Fault.STATUS_204: _no_content,
    Fault.REDIRECT_NO_LOCATION: _redirect_no_location,
    Fault.DRIP_HEADERS: _drip_headers,
    Fault.SILENT: _silent,
    Fault.RESET_BEFORE: _reset_before,
}
_PRETENDED: Final[dict[Fault, Callable[[Wire, Field], None]]] = {
    Fault.NOT_A_JPEG: _not_a_jpeg,
    Fault.NOT_JSON: _not_json,
    Fault.SUCCESS_FALSE: _success_false,
    Fault.NO_ROWS: _no_rows,
    Fault.EMPTY_BODY: _empty_body,
}
_BODIES: Final[dict[Fault, Callable[[Wire, Field, bytes], None]]] = {
    Fault.STATUS_206: _part,
    Fault.HALF_JPEG_HONEST_LENGTH: _half_honest,
    Fault.CUT_CONTENT_LENGTH: _cut_content_length,
    Fault.CUT_CHUNKED: _cut_chunked,
    Fault.CUT_CLOSE: _cut_close,
    Fault.RESET_MID_BODY: _reset_mid_body,
    Fault.DRIP_BODY: _drip_body,
    Fault.ENDLESS_BODY: _endless_body,
    Fault.GZIP_ANYWAY: _gzip_anyway,
    Fault.CUT_LIST: _cut_list,
    Fault.LARGE_TOTAL: _large_total,
    Fault.WITH_CONTENT_LENGTH: _with_content_length,
    Fault.CLOSE_DELIMITED: _close_delimited,
}
