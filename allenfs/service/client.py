"""Turn a request into checked bytes, a query into rows, failures into our errors."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from allenfs.errors import (
    CutAnswerError,
    ForbiddenError,
    ImageNotFoundError,
    ImageTooLargeError,
    PortalError,
    ProxyLoginError,
    QueryError,
    RejectedError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WebPageError,
    WrongAnswerError,
)
from allenfs.model.content import CutContentError, WrongContentError
from allenfs.service import responses, rma
from allenfs.service.responses import Sink, translated
from allenfs.service.transport import Reply, Transport
from allenfs.text import in_one_line, safe_logger

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings
    from allenfs.model.content import Content
    from allenfs.model.sheets import Download
    from allenfs.service.rma import NumRows, Query, Rows

log = safe_logger(__name__)

_Result = TypeVar("_Result")

_MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 * 1024
# An error page or a redirect's body is read to its end, up to this size, so
# that its connection can be used again.
_DRAIN_BYTES = 64 * 1024
# 2000 rows of the longest kind, data sets with all their genes, are some 5 MB. A
# single string of that size takes ten times as much memory.
_MAX_ROWS_BYTES = 8 * 2**20
_OK = 200
# It is not known which status comes with ``"success": false``; it may be this one.
_INTERNAL_ERROR = 500
_NO_SLOT: AbstractContextManager[None] = contextlib.nullcontext()


class AllenService:
    """The image services of one address. Safe to use from many threads.

    Parameters
    ----------
    on_attempt : callable
        Called at the end of each attempt with its error, or None for an answer.
    clock, sleep, jitter : callable
        Monotonic seconds; wait seconds; a number from 0 to 1.

    Attributes
    ----------
    proxy : str or None
        The proxy that it is requested through, without a password.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        on_attempt: Callable[[ServiceError | None], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._on_attempt = on_attempt
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._transport = Transport(settings)
        self.proxy = self._transport.shown_proxy
        # The service redirects http to https: later requests use https at once.
        self._is_upgraded = False
        # After a proxy has refused the login, one request in `failure_memory_s` tries
        # it again; all others fail at once. Many failed logins may lock an account.
        self._lock = threading.Lock()
        # Parsing 8 MiB takes up to 370 MB: one page at a time.
        self._reading = threading.Lock()
        self._proxy_refusal: str | None = None
        self._refused_until_s = 0.0

    def close(self) -> None:
        """Close idle connections; the others are closed after their request."""
        self._transport.close()

    def fetch(
        self,
        request: Download,
        sink: Sink,
        slot: AbstractContextManager[object] = _NO_SLOT,
        may_retry: Callable[[ServiceError], bool] = lambda _: True,
    ) -> int | None:
        """Download one image or drawing into `sink`, and check it.

        Returns its modification time in nanoseconds since the epoch; None if the
        service sent none. Raises ServiceError with url, attempts and elapsed_s; the
        contents of `sink` are then undefined.

        Parameters
        ----------
        slot : context manager
            Entered for each attempt, not for the pauses between them. The
            deadline starts when it is first entered.
        may_retry : callable
            Called, in the slot, with each transient failure: whether to retry.
        """

        def attempt(url: str, remaining_s: float) -> int | None:
            sink.restart()
            with self._answer(url, remaining_s) as reply:
                self._read_content(reply, request.content, sink)
                modified_ns = responses.modified_ns(reply.header("Last-Modified"))
            _check(request.content, sink)
            return modified_ns

        url = request.url(self._settings.api_url)
        return self._retried(url, attempt, slot, may_retry)

    def page(
        self,
        query: Query,
        *,
        start_row: int,
        num_rows: NumRows,
        slot: AbstractContextManager[object] = _NO_SLOT,
        once: bool = False,
    ) -> Rows:
        """Return one page of the rows of a query; without retries if `once`.

        A rejected query that has a substitute is not retried either.
        Raises ServiceError with EIO, ETIMEDOUT or EHOSTUNREACH, whatever the service
        answered: never an errno that means that something does not exist.
        """

        def may_retry(error: ServiceError) -> bool:
            is_replaced = query.has_substitute and isinstance(error, QueryError)
            return not (once or is_replaced)

        def attempt(url: str, remaining_s: float) -> Rows:
            with self._answer(url, remaining_s, _raise_refusal) as reply:
                chunks = _chunks(
                    reply, _MAX_ROWS_BYTES, WrongAnswerError, "page of rows"
                )
                data = b"".join(chunks)
                content_type = reply.header("Content-Type")
            try:
                with self._reading:
                    return rma.read_page(data, query.fields)
            except WrongAnswerError as error:
                if responses.is_web_page(content_type):
                    raise PortalError(responses.WEB_PAGE.format("an answer")) from error
                raise

        url = query.url(self._settings.api_url, start_row=start_row, num_rows=num_rows)
        try:
            return self._retried(url, attempt, slot, may_retry)
        except (ForbiddenError, ImageNotFoundError, RejectedError) as error:
            refused = QueryError(error.cause)
            vars(refused).update(vars(error))  # url, attempts and elapsed_s
            raise refused from error

    def _retried(
        self,
        url: str,
        attempt: Callable[[str, float], _Result],
        slot: AbstractContextManager[object],
        may_retry: Callable[[ServiceError], bool],
    ) -> _Result:
        """Return what `attempt` returns, called with `url` and the remaining seconds.

        Only transient failures are retried.
        """
        started_s = ends_s = 0.0
        attempts = 0

        def stamped(error: ServiceError) -> ServiceError:
            error.url, error.attempts = url, attempts
            error.elapsed_s = self._clock() - started_s
            return error

        while True:
            with slot:
                if not attempts:
                    started_s = self._clock()
                    ends_s = started_s + self._settings.deadline_s
                if (refusal := self._refusal()) is not None:
                    raise stamped(ProxyLoginError(refusal))
                attempts += 1
                try:
                    result = attempt(url, ends_s - self._clock())
                except ServiceError as error:
                    # before releasing the slot, so that the next request knows
                    self._note(stamped(error))
                    if not error.transient or not may_retry(error):
                        raise
                    delay_s = self._delay_s(error)
                    if attempts > error.retries or self._clock() + delay_s >= ends_s:
                        raise
                    log.info("trying again in %.1f s: %s", delay_s, error)
                else:
                    self._note(None)
                    return result
            self._sleep(delay_s)

    def _note(self, error: ServiceError | None) -> None:
        if isinstance(error, ProxyLoginError):
            self._refuse(error.cause)
        elif not isinstance(error, (UnreachableError, ServiceTimeoutError)):
            self._proxy_refusal = None  # it got past the proxy
        self._on_attempt(error)

    def _refuse(self, refusal: str) -> None:
        self._refused_until_s = self._clock() + self._settings.failure_memory_s
        self._proxy_refusal = refusal

    def _refusal(self) -> str | None:
        """Return why the proxy refused the last login; None if it may be tried."""
        with self._lock:
            refusal = self._proxy_refusal
            if refusal is None or self._clock() < self._refused_until_s:
                return refusal
            self._refuse(refusal)  # for all others, while this one tries
            return None

    def _delay_s(self, error: ServiceError) -> float:
        backoff_s = self._settings.first_backoff_s * 2.0 ** (error.attempts - 1)
        backoff_s *= 0.5 + self._jitter()
        return max(backoff_s, error.retry_after_s or 0)

    @contextlib.contextmanager
    def _answer(
        self,
        url: str,
        remaining_s: float,
        refused: Callable[[int, bytes], None] = lambda _status, _body: None,
    ) -> Iterator[Reply]:
        """Follow redirects to a response with status 200, to be read in `remaining_s`.

        `refused`, called with another status and its body, may raise a better error.
        """
        is_redirected_to_https = False
        if self._is_upgraded:
            url = responses.upgraded(url)
        try:
            with translated(), self._transport.watchdog(remaining_s):
                for _ in range(_MAX_REDIRECTS + 1):
                    with self._transport.get(url, remaining_s) as reply:
                        if reply.status == _OK:
                            self._is_upgraded |= is_redirected_to_https
                            yield reply
                            return
                        body = _drain(reply)
                        if reply.status not in responses.REDIRECTS:
                            refused(reply.status, body)
                            raise responses.error_of_status(
                                reply.status, reply.reason, reply.header("Retry-After")
                            )
                        target = responses.next_url(url, reply.header("Location"))
                        is_redirected_to_https |= responses.is_upgrade(url, target)
                        url = target
                raise WrongAnswerError(f"more than {_MAX_REDIRECTS} redirects")
        except (UnreachableError, ServiceTimeoutError, CutAnswerError):
            self._is_upgraded = False
            raise

    def _read_content(self, reply: Reply, content: Content, sink: Sink) -> None:
        content_type = reply.header("Content-Type")
        is_web_page = responses.is_web_page(content_type)
        if is_web_page or not content_type.lower().startswith(content.type_prefix):
            _drain(reply)
            if is_web_page:
                raise WebPageError(responses.WEB_PAGE.format(content.name))
            raise content.broken(
                f"no image: Content-Type {in_one_line(content_type, 80)!r}"
            )
        is_plain = not reply.header("Content-Encoding")
        sink.expect(reply.promised_bytes if is_plain else None)
        limit_bytes = self._settings.max_image_bytes
        if content.max_bytes is not None:
            limit_bytes = min(limit_bytes, content.max_bytes)
        for chunk in _chunks(reply, limit_bytes, ImageTooLargeError, "image"):
            sink.write(chunk)


def _chunks(
    reply: Reply, limit_bytes: int, kind: type[ServiceError], what: str
) -> Iterator[bytes]:
    """Yield the body of an answer; raise if it is empty, or `kind` above the limit."""
    received_bytes = 0
    while max(received_bytes, reply.promised_bytes or 0) <= limit_bytes:
        chunk = reply.read(_CHUNK_BYTES)
        if chunk:
            received_bytes += len(chunk)
            yield chunk
        elif received_bytes:
            return
        else:
            raise CutAnswerError("an empty answer")
    raise kind(f"more than {limit_bytes} bytes, the limit for one {what}")


def _drain(reply: Reply) -> bytes:
    """Read and discard a body, so that its connection can be reused."""
    body = bytearray()
    # a failure here does not matter: the status is known already
    with contextlib.suppress(Exception):
        while len(body) < _DRAIN_BYTES and (chunk := reply.read(_DRAIN_BYTES)):
            body += chunk
    return bytes(body)


def _raise_refusal(status: int, body: bytes) -> None:
    """Raise QueryError with the service's message, if the body has one."""
    if status in responses.BUSY and status != _INTERNAL_ERROR:
        return
    with contextlib.suppress(CutAnswerError, WrongAnswerError):
        rma.read_page(body)


def _check(content: Content, sink: Sink) -> None:
    try:
        content.inspect(sink.view())
    except CutContentError as error:
        raise CutAnswerError(str(error)) from error
    except WrongContentError as error:
        raise content.broken(str(error)) from error
