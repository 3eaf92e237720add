"""A request becomes checked bytes, a query rows, or one of our errors."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

from allenfs.errors import (
    BrokenImageError,
    CutAnswerError,
    ForbiddenError,
    ImageNotFoundError,
    ImageTooLargeError,
    PortalError,
    QueryError,
    RejectedError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WebPageError,
    WrongAnswerError,
)
from allenfs.model import jpeg
from allenfs.service import responses, rma
from allenfs.service.foreign_errors import translated
from allenfs.service.responses import Answer, Sink
from allenfs.service.retry import Retry
from allenfs.service.transport import Reply, Transport
from allenfs.service.watchdog import Watchdog
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from allenfs.config import ServiceSettings
    from allenfs.model.images import ImageRequest
    from allenfs.service.rma import Query, Rows

_MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 * 1024
# An error page or a redirect's body is read to its end, up to this size, so
# that its connection can be used again.
_DRAIN_BYTES = 64 * 1024
# 2000 rows of the longest kind, data sets with all their genes, are some 5 MB. One
# string of as much takes ten times that in memory.
_MAX_ROWS_BYTES = 8 * 2**20
_OK = 200
# Which status comes with success: false is not known; this one may.
_INTERNAL_ERROR = 500
_AT_ONCE: AbstractContextManager[None] = contextlib.nullcontext()


def _always(_: ServiceError) -> bool:
    return True


def _nobody(_: ServiceError | None) -> None:
    pass


class AllenService:
    """The image services of one address. Safe to use from many threads.

    Parameters
    ----------
    settings : ServiceSettings
    heard : callable
        Told of each attempt's end: its error, or None for an answer.
    clock, sleep, jitter : callable
        Monotonic seconds; wait seconds; a number from 0 to 1.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        heard: Callable[[ServiceError | None], None] = _nobody,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._retry = Retry(
            settings, heard=heard, clock=clock, sleep=sleep, jitter=jitter
        )
        self._transport = Transport(settings)
        # what it is asked through, without a password
        self.proxy = self._transport.shown_proxy
        # The service redirects from http to https: it is asked by https at once.
        self._is_upgraded = False

    def fetch(
        self,
        request: ImageRequest,
        sink: Sink,
        slot: AbstractContextManager[object] = _AT_ONCE,
        goes_on: Callable[[ServiceError], bool] = _always,
    ) -> Answer:
        """Download one image into `sink` and check it.

        Transient failures are tried again, three times, inside the deadline.

        Parameters
        ----------
        slot : context manager
            Entered for each attempt, not for the pauses between them. The
            deadline counts from its first entering.
        goes_on : callable
            Told of each transient failure: whether to try again.

        Raises
        ------
        ServiceError
            With url, attempts and elapsed_s; `sink` then holds nothing of use.
        """

        def attempt(url: str, ends_s: float) -> Answer:
            sink.restart()
            with self._answer(url, ends_s) as reply:
                self._read_image(reply, sink)
                last_modified = reply.headers.get("Last-Modified", "")
            return Answer(responses.modified_ns(last_modified), _check(sink))

        url = request.url(self._settings.api_url)
        return self._retry.run(url, attempt, slot, goes_on)

    def page(
        self,
        query: Query,
        *,
        start_row: int,
        num_rows: int,
        slot: AbstractContextManager[object] = _AT_ONCE,
        once: bool = False,
    ) -> Rows:
        """Return one page of the rows of a query; `slot` as in `fetch`.

        Parameters
        ----------
        once : bool
            Whether not to try again what failed.

        Raises
        ------
        ServiceError
            EIO, ETIMEDOUT or EHOSTUNREACH, whatever the service answered: never
            what says that something does not exist.
        """

        def attempt(url: str, ends_s: float) -> Rows:
            with self._answer(url, ends_s, _raise_refusal) as reply:
                data = _read_rows(reply)
                content_type = reply.headers.get("Content-Type", "")
            try:
                return rma.read_page(data)
            except WrongAnswerError as error:
                if responses.is_web_page(content_type):
                    raise PortalError(responses.WEB_PAGE.format("an answer")) from error
                raise

        url = query.url(self._settings.api_url, start_row=start_row, num_rows=num_rows)
        try:
            return self._retry.run(url, attempt, slot, lambda _: not once)
        except (ForbiddenError, ImageNotFoundError, RejectedError) as error:
            refused = QueryError(error.cause)
            refused.url, refused.attempts = error.url, error.attempts
            refused.elapsed_s = error.elapsed_s
            raise refused from error

    @contextlib.contextmanager
    def _answer(
        self,
        url: str,
        ends_s: float,
        refused: Callable[[int, bytes], None] | None = None,
    ) -> Iterator[Reply]:
        """Follow redirects to an answer with status 200; let it be read in time.

        `refused` may raise a better error than that of the status.
        """
        remaining_s = ends_s - self._clock()
        is_redirected_to_https = False
        if self._is_upgraded:
            url = responses.upgraded(url)
        with (
            self._https_forgotten_on_failure(),
            Watchdog(remaining_s) as watchdog,
            translated(watchdog),
        ):
            for _ in range(_MAX_REDIRECTS + 1):
                with self._transport.get(url, remaining_s) as reply:
                    if reply.status == _OK:
                        self._is_upgraded |= is_redirected_to_https
                        yield reply
                        break
                    said = _drain(reply)
                    if reply.status not in responses.REDIRECTS:
                        if refused is not None:
                            refused(reply.status, said)
                        retry_after = reply.headers.get("Retry-After", "")
                        raise responses.error_of_status(
                            reply.status, reply.reason, retry_after
                        )
                    target = responses.next_url(url, reply.headers.get("Location"))
                    is_redirected_to_https |= responses.is_upgrade(url, target)
                    url = target
            else:
                msg = f"more than {_MAX_REDIRECTS} redirects"
                raise WrongAnswerError(msg)
        # a connection that the watchdog shut looks like one that ended in peace
        watchdog.raise_if_expired()

    @contextlib.contextmanager
    def _https_forgotten_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (UnreachableError, ServiceTimeoutError, CutAnswerError):
            self._is_upgraded = False
            raise

    def _read_image(self, reply: Reply, sink: Sink) -> None:
        content_type = reply.headers.get("Content-Type", "")
        if not content_type.lower().startswith("image/"):
            _drain(reply)
            if responses.is_web_page(content_type):
                raise WebPageError(responses.WEB_PAGE.format("an image"))
            msg = f"no image: Content-Type {in_one_line(content_type, 80)!r}"
            raise BrokenImageError(msg)
        limit_bytes = self._settings.max_image_bytes
        _raise_if_above(reply.promised_bytes or 0, limit_bytes)
        is_plain = not reply.headers.get("Content-Encoding")
        sink.expect(reply.promised_bytes if is_plain else None)
        received_bytes = 0
        while chunk := reply.read(_CHUNK_BYTES):
            received_bytes += len(chunk)
            _raise_if_above(received_bytes, limit_bytes)
            sink.write(chunk)
        if not received_bytes:
            msg = "an empty answer"
            raise CutAnswerError(msg)


def _drain(reply: Reply) -> bytes:
    """Read a body that is no answer, so that its connection can be used again."""
    body = bytearray()
    # a body that fails is no news: the status has said what matters
    with contextlib.suppress(Exception):
        while len(body) < _DRAIN_BYTES and (chunk := reply.read(_DRAIN_BYTES)):
            body += chunk
    return bytes(body)


def _raise_refusal(status: int, said: bytes) -> None:
    """Raise QueryError with the service's words, where it has some."""
    if status in responses.BUSY and status != _INTERNAL_ERROR:
        return
    with contextlib.suppress(CutAnswerError, WrongAnswerError):
        rma.read_page(said)


def _read_rows(reply: Reply) -> bytes:
    body = bytearray()
    while chunk := reply.read(_CHUNK_BYTES):
        body += chunk
        if len(body) > _MAX_ROWS_BYTES:
            msg = f"more than {_MAX_ROWS_BYTES} bytes, the limit for one page of rows"
            raise WrongAnswerError(msg)
    if not body:
        msg = "an empty answer"
        raise CutAnswerError(msg)
    return bytes(body)


def _raise_if_above(received_bytes: int, limit_bytes: int) -> None:
    if received_bytes > limit_bytes:
        msg = f"more than {limit_bytes} bytes, the limit for one image"
        raise ImageTooLargeError(msg)


def _check(sink: Sink) -> jpeg.JpegShape:
    try:
        return jpeg.inspect(sink.view())
    except jpeg.CutJpegError as error:
        raise CutAnswerError(str(error)) from error
    except jpeg.NotAJpegError as error:
        raise BrokenImageError(str(error)) from error
