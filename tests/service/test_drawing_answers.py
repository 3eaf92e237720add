"""Downloads of drawings: what counts as one, and what is tried again."""

from __future__ import annotations

import pytest
from hostile_service import JPEG, envelope, head, whole
from service_doubles import MIB, Bytes, Flood, says

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BrokenDrawingError,
    CutAnswerError,
    ImageTooLargeError,
    WebPageError,
)
from allenfs.model.drawings import DrawingRequest
from allenfs.service.client import AllenService

REQUEST = DrawingRequest(100960224, (28, 32), 4)
SVG = b'<svg width="6" height="4" xmlns="http://www.w3.org/2000/svg"><g/></svg>'
TYPE = "image/svg+xml"
ENTITIES = b'<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>'


def chunked(*pieces: bytes) -> list[bytes]:
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    fields = (f"Content-Type: {TYPE}", "Transfer-Encoding: chunked")
    return [head("200 OK", *fields), *chunks, b"0\r\n\r\n"]


def fetch(hostile, **settings):
    sink = Bytes()
    settings = ServiceSettings(hostile.url, first_backoff_s=0, **settings)
    AllenService(settings).fetch(REQUEST, sink)
    return sink.data


@pytest.mark.parametrize(
    "kind",
    [
        TYPE,
        "image/svg+xml; charset=utf-8",
        "text/xml",
        "application/xml",
        "application/octet-stream",
        "image/jpeg",
        "",
    ],
)
def test_the_bytes_decide_what_is_a_drawing_not_the_type(hostile, kind):
    says(hostile, [whole(SVG, kind=kind)])
    assert fetch(hostile) == SVG
    (asked,) = hostile.requests
    assert asked == "/api/v2/svg_download/100960224?groups=28,32&downsample=4"


def test_a_drawing_may_come_in_chunks_without_a_type(hostile):
    says(hostile, [head("200 OK"), SVG])
    assert fetch(hostile) == SVG
    says(hostile, chunked(SVG[:9], SVG[9:]))
    assert fetch(hostile) == SVG


FAILURES = {
    "cut document": (chunked(SVG[:30]), CutAnswerError, "cut SVG"),
    "fewer bytes than promised": ([whole(SVG)[:-9]], CutAnswerError, "more expected"),
    "empty": ([whole(b"", kind=TYPE)], CutAnswerError, "empty"),
    "JPEG": ([whole(JPEG)], BrokenDrawingError, "not an SVG"),
    "JSON": ([envelope(b'{"success":false}')], BrokenDrawingError, "not an SVG"),
    "page without a type": (
        [head("200 OK"), b"<html></html>"],
        BrokenDrawingError,
        "root element is 'html'",
    ),
    "document type": (
        [whole(ENTITIES, kind=TYPE)],
        BrokenDrawingError,
        "document type 'svg'",
    ),
}


@pytest.mark.parametrize(
    ("answer", "error", "why"), FAILURES.values(), ids=FAILURES.keys()
)
def test_what_is_no_whole_drawing_is_tried_four_times(hostile, answer, error, why):
    says(hostile, *[answer] * 4)
    with pytest.raises(error, match=why) as raised:
        fetch(hostile)
    assert raised.value.attempts == len(hostile.requests) == 4
    assert raised.value.url == REQUEST.url(hostile.url)
    says(hostile, *[answer] * 3, [whole(SVG, kind=TYPE)])
    assert fetch(hostile) == SVG


def test_a_broken_drawing_says_what_it_is_not(hostile):
    says(hostile, *[[whole(JPEG)]] * 4)
    with pytest.raises(BrokenDrawingError) as raised:
        fetch(hostile)
    assert str(raised.value).startswith(
        "the service answers with something that is not an SVG drawing, tried 4 times"
    )


@pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml; charset=utf-8"])
def test_a_web_page_is_not_tried_again(hostile, kind):
    says(hostile, [whole(SVG, kind=kind)])
    with pytest.raises(WebPageError, match="instead of an SVG drawing"):
        fetch(hostile)
    assert len(hostile.requests) == 1


@pytest.mark.parametrize("settings", [{}, {"max_image_bytes": MIB}])
def test_a_drawing_has_a_limit_of_its_own(hostile, settings):
    start = head("200 OK", f"Content-Type: {TYPE}") + b"<svg>"
    flood = Flood(start, b" ")
    says(hostile, flood)
    with pytest.raises(ImageTooLargeError):
        fetch(hostile, **settings)
    # what sockets buffer on the way is not read by anybody
    assert flood.sent_bytes < 50 * MIB
