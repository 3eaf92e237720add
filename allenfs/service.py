"""A request becomes checked bytes, or one of our errors."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from allenfs import answers, jpeg
from allenfs.answers import Answer, Sink
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ImageTooLargeError,
    ServiceError,
    WrongAnswerError,
)
from allenfs.transport import Reply, Transport, translated
from allenfs.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from allenfs.config import ServiceSettings
    from allenfs.images import ImageRequest

log = logging.getLogger(__name__)

RETRIES = 3
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 * 1024
# An error page or a redirect's body is read to its end, up to this size, so
# that its connection can be used again.
_DRAIN_BYTES = 64 * 1024
_OK = 200
_AT_ONCE: AbstractContextManager[None] = contextlib.nullcontext()


class AllenService:
    """The image services of one address. Safe to use from many threads.

    Parameters
    ----------
    settings : ServiceSettings
    clock, sleep, jitter : callable
        Monotonic seconds; wait seconds; a number from 0 to 1.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._transport = Transport(settings)

    def fetch(
        self,
        request: ImageRequest,
        sink: Sink,
        turn: AbstractContextManager[object] = _AT_ONCE,
    ) -> Answer:
        """Download one image into `sink` and check it.

        Transient failures are tried again, three times, inside the deadline.

        Parameters
        ----------
        turn : context manager
            Entered for each attempt, not for the pauses between them. The
            deadline counts from its first entering.

        Raises
        ------
        ServiceError
            With url, attempts and elapsed_s; `sink` then holds nothing of use.
        """
        url = request.url(self._settings.api_url)
        started_s = ends_s = 0.0
        attempt = 0
        while True:
            attempt += 1
            try:
                with turn:
                    if attempt == 1:
                        started_s = self._clock()
                        ends_s = started_s + self._settings.deadline_s
                    return self._attempt(url, sink, ends_s)
            except ServiceError as error:
                error.url, error.attempts = url, attempt
                error.elapsed_s = self._clock() - started_s
                delay_s = self._delay_s(error, attempt)
                is_last = attempt > RETRIES or self._clock() + delay_s >= ends_s
                if is_last or not error.transient:
                    raise
                log.info("trying again in %.1f s: %s", delay_s, error)
            self._sleep(delay_s)

    def _delay_s(self, error: ServiceError, attempt: int) -> float:
        backoff_s = self._settings.first_backoff_s * float(2 ** (attempt - 1))
        backoff_s *= 0.5 + self._jitter()
        asked_s = error.retry_after_s if isinstance(error, BusyError) else None
        return max(backoff_s, asked_s or 0)

    def _attempt(self, url: str, sink: Sink, ends_s: float) -> Answer:
        sink.restart()
        remaining_s = ends_s - self._clock()
        with Watchdog(remaining_s) as watchdog, translated(watchdog):
            for _ in range(_MAX_REDIRECTS + 1):
                with self._transport.get(url, remaining_s) as reply:
                    if reply.status == _OK:
                        self._read_body(reply, sink)
                        break
                    _drain(reply)
                    if reply.status not in answers.REDIRECTS:
                        retry_after = reply.headers.get("Retry-After", "")
                        raise answers.error_of_status(
                            reply.status, reply.reason, retry_after
                        )
                    url = answers.next_url(url, reply.headers.get("Location"))
            else:
                msg = f"more than {_MAX_REDIRECTS} redirects"
                raise WrongAnswerError(msg)
        # a connection that the watchdog shut looks like one that ended in peace
        watchdog.raise_if_expired()
        modified_ns = answers.modified_ns(reply.headers.get("Last-Modified", ""))
        return Answer(modified_ns, _check(sink))

    def _read_body(self, reply: Reply, sink: Sink) -> None:
        content_type = reply.headers.get("Content-Type", "")
        if not content_type.lower().startswith("image/"):
            _drain(reply)
            msg = f"no image: Content-Type {answers.in_one_line(content_type, 80)!r}"
            raise WrongAnswerError(msg)
        limit_bytes = self._settings.max_image_bytes
        _raise_if_above(reply.promised_bytes or 0, limit_bytes)
        received_bytes = 0
        while chunk := reply.read(_CHUNK_BYTES):
            received_bytes += len(chunk)
            _raise_if_above(received_bytes, limit_bytes)
            sink.write(chunk)
        if not received_bytes:
            msg = "an empty answer"
            raise CutAnswerError(msg)


def _drain(reply: Reply) -> None:
    """Read a body that nobody wants, so that its connection can be used again."""
    received_bytes = 0
    # a body that fails is no news: the status has said what matters
    with contextlib.suppress(Exception):
        while received_bytes < _DRAIN_BYTES and (chunk := reply.read(_DRAIN_BYTES)):
            received_bytes += len(chunk)


def _raise_if_above(received_bytes: int, limit_bytes: int) -> None:
    if received_bytes > limit_bytes:
        msg = f"more than {limit_bytes} bytes, the limit for one image"
        raise ImageTooLargeError(msg)


def _check(sink: Sink) -> jpeg.JpegShape:
    with sink.view() as data:
        try:
            return jpeg.inspect(data)
        except jpeg.CutJpegError as error:
            raise CutAnswerError(str(error)) from error
        except jpeg.NotAJpegError as error:
            raise WrongAnswerError(str(error)) from error
