"""How many bytes an image will have, as far as the service has said."""

from __future__ import annotations

import pytest

from allenfs.config import ServiceSettings
from allenfs.model.images import ImageRequest, ImageService
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService


class Sink:
    """Takes the bytes, and keeps what was promised before the first of them."""

    def __init__(self) -> None:
        self.data = b""
        self.promised: list[int | None] = []

    def restart(self) -> None:
        self.data = b""

    def expect(self, promised_bytes: int | None) -> None:
        assert self.data == b""
        self.promised.append(promised_bytes)

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def view(self) -> bytes:
        return self.data


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
    fault: Fault | None, is_promised: bool
) -> None:
    with SampleService() as sample:
        if fault is not None:
            sample.fail(fault)
        sink = Sink()
        request = ImageRequest(ImageService.SECTION, 69750516, downsample=6)
        AllenService(ServiceSettings(sample.url)).fetch(request, sink)
    assert sink.promised == [len(sink.data) if is_promised else None]


def test_every_attempt_is_heard_of_once() -> None:
    heard: list[str | None] = []
    with SampleService() as sample:
        sample.fail(Fault.STATUS_503, times=2)
        settings = ServiceSettings(sample.url, first_backoff_s=0)
        service = AllenService(
            settings,
            heard=lambda error: heard.append(error.cause if error else None),
        )
        request = ImageRequest(ImageService.SECTION, 69750516, downsample=6)
        service.fetch(request, Sink())
        assert len(heard) == sample.image_requests == 3
    assert heard == ["HTTP 503 Service Unavailable"] * 2 + [None]
