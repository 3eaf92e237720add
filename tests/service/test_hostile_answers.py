"""Answers that no service gives, on a socket that says exactly what it is told."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from test_retries import Bytes, _request

from allenfs.config import ServiceSettings
from allenfs.errors import ServiceError, WrongAnswerError
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 2**20


class Says:
    """Answers each connection's first request with the next of `answers`."""

    def __init__(self, *answers: list[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answers = list(answers)
        self.sent_bytes = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            for answer in self._answers:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65_536)
                    for piece in answer:
                        self.sent_bytes += connection.send(piece)

    def close(self) -> None:
        # wakes accept(), which closing alone would not
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


@contextlib.contextmanager
def _saying(*answers: list[bytes]) -> Iterator[Says]:
    says = Says(*answers)
    try:
        yield says
    finally:
        says.close()


def _head(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1")


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    sink = Bytes()
    with SampleService() as sample:
        AllenService(ServiceSettings(sample.url)).fetch(_request(), sink)
    return sink.data


def _fetch(says: Says) -> bytes:
    sink = Bytes()
    settings = ServiceSettings(says.url, first_backoff_s=0)
    AllenService(settings).fetch(_request(), sink)
    return sink.data


def test_endless_body_of_a_redirect_is_not_read(jpeg: bytes) -> None:
    redirect = _head("302 Found", "Location: /there")
    image = _head("200 OK", "Content-Type: image/jpeg", f"Content-Length: {len(jpeg)}")
    with _saying([redirect, *[bytes(_MIB)] * 200], [image, jpeg]) as says:
        assert _fetch(says) == jpeg
        # what sockets buffer on the way is not read by anybody
        assert says.sent_bytes < 50 * _MIB


def test_length_under_chunks_is_void(jpeg: bytes) -> None:
    head = _head(
        "200 OK",
        "Content-Type: image/jpeg",
        "Content-Length: 99999999999",
        "Transfer-Encoding: chunked",
        "Connection: close",
    )
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(jpeg), jpeg)
    with _saying([head, chunks]) as says:
        assert _fetch(says) == jpeg


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: " + "9" * 5000],
        ["Content-Length: -1"],
        ["Transfer-Encoding: chunked"],
    ],
)
def test_senseless_length_is_an_error_of_ours(fields: list[str]) -> None:
    head = _head("200 OK", "Content-Type: image/jpeg", *fields)
    with _saying(*[[head, b"zz\r\n"]] * 4) as says, pytest.raises(ServiceError):
        _fetch(says)


@pytest.mark.parametrize("location", ["/there\xe9", "/%00", "http://[", "\\\\evil"])
def test_senseless_location_is_followed_or_an_error_of_ours(
    location: str, jpeg: bytes
) -> None:
    image = _head("200 OK", "Content-Type: image/jpeg", f"Content-Length: {len(jpeg)}")
    redirect = _head("302 Found", f"Location: {location}", "Content-Length: 0")
    with _saying([redirect], [image, jpeg]) as says:
        try:
            assert _fetch(says) == jpeg
        except ServiceError as error:
            assert isinstance(error, WrongAnswerError)
            assert str(error).isprintable()


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity", "Identity "])
def test_a_coding_is_known_however_it_is_written(coding: str, jpeg: bytes) -> None:
    body = gzip.compress(jpeg) if "zip" in coding.lower() else jpeg
    head = _head(
        *("200 OK", "Content-Type: image/jpeg", f"Content-Length: {len(body)}"),
        f"Content-Encoding: {coding}",
    )
    with _saying([head, body]) as says:
        assert _fetch(says) == jpeg
