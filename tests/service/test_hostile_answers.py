"""Answers that no service gives, and those of another form than the recorded ones."""

from __future__ import annotations

import gzip

import pytest
from hostile_service import JPEG, head, whole
from service_doubles import MIB, REQUEST, Bytes, Flood, says

from allenfs.config import ServiceSettings
from allenfs.errors import ServiceError, WrongAnswerError
from allenfs.sample.faults import Fault
from allenfs.service.client import AllenService


def fetch(service):
    sink = Bytes()
    AllenService(ServiceSettings(service.url, first_backoff_s=0)).fetch(REQUEST, sink)
    return sink


def image_head(*fields):
    return head("200 OK", "Content-Type: image/jpeg", *fields)


def test_endless_body_of_a_redirect_is_not_read(hostile):
    flood = Flood(head("302 Found", "Location: /there"), b"x")
    says(hostile, flood, [whole(JPEG)])
    assert fetch(hostile).data == JPEG
    # what sockets buffer on the way is not read by anybody
    assert flood.sent_bytes < 50 * MIB


def test_length_under_chunks_is_void(hostile):
    fields = ("Content-Length: 99999999999", "Transfer-Encoding: chunked")
    says(hostile, [image_head(*fields), b"%x\r\n%s\r\n0\r\n\r\n" % (len(JPEG), JPEG)])
    assert fetch(hostile).data == JPEG


def test_negative_length_is_an_error_of_ours(hostile):
    says(hostile, *[[image_head("Content-Length: -1"), b"zz"]] * 4)
    with pytest.raises(ServiceError):
        fetch(hostile)


@pytest.mark.parametrize("location", ["/there\xe9", "\\\\evil"])
def test_senseless_location_is_followed_or_an_error_of_ours(location, hostile):
    redirect = head("302 Found", f"Location: {location}", "Content-Length: 0")
    says(hostile, [redirect], [whole(JPEG)])
    try:
        assert fetch(hostile).data == JPEG
    except ServiceError as error:
        assert isinstance(error, WrongAnswerError)
        assert str(error).isprintable()


@pytest.mark.parametrize("coding", ["GZip", "x-gzip", "Identity "])
def test_a_coding_is_known_however_it_is_written(coding, hostile):
    body = gzip.compress(JPEG) if "zip" in coding.lower() else JPEG
    says(hostile, [whole(body, f"Content-Encoding: {coding}")])
    assert fetch(hostile).data == JPEG


@pytest.mark.parametrize(
    ("fault", "is_promised"),
    [
        (None, False),  # chunks, as recorded
        (Fault.GZIP_ANYWAY, False),  # a length, but not the image's
        (Fault.WITH_CONTENT_LENGTH, True),
    ],
)
def test_a_length_is_announced_only_if_it_is_that_of_the_image(
    fault, is_promised, sample
):
    if fault is not None:
        sample.fail(fault)
    sink = fetch(sample)
    assert sink.promised == [len(sink.data) if is_promised else None]
