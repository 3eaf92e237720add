"""Answers that no service gives, and those of another form than the recorded ones."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from hostile_service import JPEG, HostileService, head, whole
from test_retries import Bytes, _request

from allenfs.config import ServiceSettings
from allenfs.errors import ImageTooLargeError, ServiceError, WrongAnswerError
from allenfs.sample.faults import Fault
from allenfs.service.client import AllenService

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from allenfs.sample.server import SampleService

_MIB = 2**20
_IMAGE = [whole(JPEG)]


class Flood:
    """200 MiB of a body, and how much of it was sent."""

    sent_bytes = 0

    def __init__(self, start: bytes, piece: bytes) -> None:
        self._start, self._piece = start, piece

    def __iter__(self) -> Iterator[bytes]:
        yield self._start
        for _ in range(200):
            yield self._piece * _MIB
            self.sent_bytes += _MIB


def says(hostile: HostileService, *answers: Iterable[bytes]) -> None:
    """Give each connection the next of `answers`, to images and queries alike."""
    following = iter(answers)
    hostile.image = hostile.query = lambda _: next(following, ())


def _fetch(hostile: HostileService) -> bytes:
    sink = Bytes()
    settings = ServiceSettings(hostile.url, first_backoff_s=0)
    AllenService(settings).fetch(_request(), sink)
    return sink.data


def test_endless_body_of_a_redirect_is_not_read(hostile: HostileService) -> None:
    flood = Flood(head("302 Found", "Location: /there"), b"x")
    says(hostile, flood, _IMAGE)
    assert _fetch(hostile) == JPEG
    # what sockets buffer on the way is not read by anybody
    assert flood.sent_bytes < 50 * _MIB


def test_length_above_the_limit_is_refused_before_the_body(
    hostile: HostileService,
) -> None:
    fields = ("Content-Type: image/jpeg", f"Content-Length: {2**31}")
    says(hostile, [head("200 OK", *fields), JPEG])
    with pytest.raises(ImageTooLargeError, match="1073741824 bytes"):
        _fetch(hostile)


def test_length_under_chunks_is_void(hostile: HostileService) -> None:
    fields = ("Content-Length: 99999999999", "Transfer-Encoding: chunked")
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(JPEG), JPEG)
    says(hostile, [head("200 OK", "Content-Type: image/jpeg", *fields), chunks])
    assert _fetch(hostile) == JPEG


@pytest.mark.parametrize(
    "field",
    [
        "Content-Length: " + "9" * 5000,
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
    ],
)
def test_senseless_length_is_an_error_of_ours(
    field: str, hostile: HostileService
) -> None:
    says(hostile, *[[head("200 OK", "Content-Type: image/jpeg", field), b"zz\r\n"]] * 4)
    with pytest.raises(ServiceError):
        _fetch(hostile)


@pytest.mark.parametrize("location", ["/there\xe9", "/%00", "http://[", "\\\\evil"])
def test_senseless_location_is_followed_or_an_error_of_ours(
    location: str, hostile: HostileService
) -> None:
    redirect = head("302 Found", f"Location: {location}", "Content-Length: 0")
    says(hostile, [redirect], _IMAGE)
    try:
        assert _fetch(hostile) == JPEG
    except ServiceError as error:
        assert isinstance(error, WrongAnswerError)
        assert str(error).isprintable()


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity", "Identity "])
def test_a_coding_is_known_however_it_is_written(
    coding: str, hostile: HostileService
) -> None:
    body = gzip.compress(JPEG) if "zip" in coding.lower() else JPEG
    says(hostile, [whole(body, f"Content-Encoding: {coding}")])
    assert _fetch(hostile) == JPEG


@pytest.mark.parametrize(
    ("fault", "is_promised"),
    [
        (None, False),  # chunks, as recorded
        (Fault.CLOSE_DELIMITED, False),
        (Fault.GZIP_ANYWAY, False),  # a length, but not the image's
        (Fault.WITH_CONTENT_LENGTH, True),
    ],
)
def test_a_length_is_told_where_it_is_the_images(
    fault: Fault | None, is_promised: bool, sample: SampleService
) -> None:
    if fault is not None:
        sample.fail(fault)
    sink = Bytes()
    AllenService(ServiceSettings(sample.url)).fetch(_request(), sink)
    assert sink.promised == [len(sink.data) if is_promised else None]
