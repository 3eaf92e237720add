"""The door to the network: a request becomes checked bytes, or one of our errors."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import ipaddress
import logging
import os
import random
import socket
import threading
import time
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions

from allenfs import __version__, jpeg
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ForbiddenError,
    ImageNotFoundError,
    ImageTooLargeError,
    RejectedError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from typing_extensions import Self

    from allenfs.config import ServiceSettings
    from allenfs.images import ImageRequest

log = logging.getLogger(__name__)

USER_AGENT = f"allenfs/{__version__} (read-only image mount; python-requests)"

RETRIES = 3
# 0.5 s, 1 s, 2 s, each times 0.5 to 1.5: many mounts that failed together come
# back apart
_FIRST_BACKOFF_S = 0.5
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 * 1024
# An error page or a redirect's body is read to its end, up to this size, so
# that its connection can be used again.
_DRAIN_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}

_OK, _SERVER_ERRORS = 200, range(500, 600)
_REFUSALS: dict[int, type[ServiceError]] = {
    400: RejectedError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: ImageNotFoundError,
}
_BUSY = frozenset({408, 429})

# Most specific first, and total: every requests exception is an OSError without
# errno, so that none of them may leave this module.
_FOREIGN: tuple[tuple[type[Exception], type[ServiceError]], ...] = (
    (requests.exceptions.ConnectTimeout, UnreachableError),
    (requests.exceptions.ProxyError, UnreachableError),
    (requests.exceptions.SSLError, UnreachableError),
    (requests.exceptions.Timeout, ServiceTimeoutError),
    (requests.exceptions.ConnectionError, CutAnswerError),
    (requests.exceptions.RequestException, WrongAnswerError),
    (urllib3.exceptions.TimeoutError, ServiceTimeoutError),
    (urllib3.exceptions.DecodeError, CutAnswerError),
    (urllib3.exceptions.ProtocolError, CutAnswerError),
    (urllib3.exceptions.SSLError, CutAnswerError),
)


class Sink(Protocol):
    """Where the bytes of one image go."""

    def restart(self) -> None:
        """Forget what was written."""

    def write(self, chunk: bytes) -> None:
        """Add `chunk` at the end."""

    def view(self) -> AbstractContextManager[bytes | mmap.mmap]:
        """Everything that was written."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came with an image's bytes.

    Attributes
    ----------
    modified_ns : int or None
        Last-Modified, nanoseconds since the epoch, where the service gave one.
    shape : jpeg.JpegShape
    """

    modified_ns: int | None
    shape: jpeg.JpegShape


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
        self._session = _session(settings)

    def fetch(self, request: ImageRequest, sink: Sink) -> Answer:
        """Download one image into `sink` and check it.

        Transient failures are tried again, three times, inside the deadline.

        Raises
        ------
        ServiceError
            With url, attempts and elapsed_s; `sink` then holds nothing of use.
        """
        url = request.url(self._settings.api_url)
        started_s = self._clock()
        ends_s = started_s + self._settings.deadline_s
        attempt = 0
        while True:
            attempt += 1
            try:
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
        backoff_s: float = (
            _FIRST_BACKOFF_S * 2 ** (attempt - 1) * (0.5 + self._jitter())
        )
        asked_s = error.retry_after_s if isinstance(error, BusyError) else None
        return max(backoff_s, asked_s or 0)

    def _attempt(self, url: str, sink: Sink, ends_s: float) -> Answer:
        sink.restart()
        with _Watchdog(ends_s - self._clock()) as watchdog, _translated(watchdog):
            for _ in range(_MAX_REDIRECTS + 1):
                with self._get(url) as response:
                    if response.status_code not in _REDIRECTS:
                        _raise_for_status(response)
                        self._read_body(response, sink)
                        modified_ns = _modified_ns(response)
                        break
                    _drain(response)
                    url = _next_url(url, response.headers.get("Location"))
            else:
                msg = f"more than {_MAX_REDIRECTS} redirects"
                raise WrongAnswerError(msg)
        # a connection that the watchdog shut looks like one that ended in peace
        watchdog.raise_if_expired()
        return Answer(modified_ns, _check(sink))

    def _get(self, url: str) -> requests.Response:
        return self._session.get(
            url,
            stream=True,
            allow_redirects=False,
            timeout=(self._settings.connect_timeout_s, self._settings.stall_timeout_s),
        )

    def _read_body(self, response: requests.Response, sink: Sink) -> None:
        content_type = response.headers.get("Content-Type", "")
        if not content_type.lower().startswith("image/"):
            _drain(response)
            msg = f"not an image: Content-Type {content_type[:80]!r}"
            raise WrongAnswerError(msg)
        promised = response.headers.get("Content-Length", "")
        limit_bytes = self._settings.max_image_bytes
        received_bytes = int(promised) if promised.isdecimal() else 0
        _raise_if_above(received_bytes, limit_bytes)
        received_bytes = 0
        # read1 returns what has come; read would wait for a whole chunk, and a
        # byte now and then would keep it waiting behind any stall timeout
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            received_bytes += len(chunk)
            _raise_if_above(received_bytes, limit_bytes)
            sink.write(chunk)
        if not received_bytes:
            msg = "an empty answer"
            raise CutAnswerError(msg)


def _session(settings: ServiceSettings) -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    # Recorded: with gzip offered, JPEGs came gzipped, and lengths count nothing.
    session.headers["Accept-Encoding"] = "identity"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # The environment is read once, not with every request, and never for a
    # service on this machine: a proxy could not reach it.
    session.trust_env = False
    if not _is_loopback(settings.api_url):
        session.proxies.update(requests.utils.get_environ_proxies(settings.api_url))
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    session.verify = bundle or True
    adapter = _WatchedAdapter(
        pool_connections=2, pool_maxsize=settings.connections, max_retries=0
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Watchdog:
    """Shuts the socket of this thread's request when the time is over.

    A socket's own timeout counts from byte to byte: a header or a chunk size
    that comes a byte at a time would keep a thread and a connection for ever.
    """

    _of_thread = threading.local()

    def __init__(self, remaining_s: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._expired = False
        self._timer = threading.Timer(max(remaining_s, 0), self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._of_thread.watchdog = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._of_thread.watchdog = None
        with self._lock:
            self._socket = None

    @classmethod
    def look_after(cls, sock: socket.socket) -> None:
        """Let this thread's watchdog, if it has one, shut `sock` in time."""
        watchdog: _Watchdog | None = getattr(cls._of_thread, "watchdog", None)
        if watchdog is not None:
            watchdog.guard(sock)

    def guard(self, sock: socket.socket) -> None:
        """Shut `sock` when the time is over."""
        with self._lock:
            self._socket = sock
        self.raise_if_expired()

    def raise_if_expired(self) -> None:
        """Raise ServiceTimeoutError once the time is over."""
        if self._expired:
            msg = "no whole image within the deadline"
            raise ServiceTimeoutError(msg)

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # the plain socket's method: SSLSocket's own would pull its
                    # session from under the thread that reads
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _WatchedConnection(urllib3.connection.HTTPConnection):
    """Awaits its answers, from their first header byte on, under a watchdog."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        if self.sock is not None:
            _Watchdog.look_after(self.sock)
        return super().getresponse()


class _WatchedTlsConnection(_WatchedConnection, urllib3.connection.HTTPSConnection):
    pass


class _WatchedAdapter(requests.adapters.HTTPAdapter):
    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001 - requests' signature
        proxies: dict[str, str] | None = None,
        cert: str | tuple[str, str] | None = None,
    ) -> urllib3.HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        is_tls = isinstance(pool, urllib3.HTTPSConnectionPool)
        pool.ConnectionCls = _WatchedTlsConnection if is_tls else _WatchedConnection
        return pool


@contextlib.contextmanager
def _translated(watchdog: _Watchdog) -> Iterator[None]:
    """Turn what requests and urllib3 raise into our errors."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        watchdog.raise_if_expired()
        raise translate(error) from error


def translate(error: Exception) -> ServiceError:
    """Return our error for one of requests or urllib3."""
    if isinstance(error, requests.ConnectionError):
        reason = getattr(error.args[0], "reason", None) if error.args else None
        if isinstance(reason, urllib3.exceptions.NewConnectionError):
            return UnreachableError(_in_one_line(reason))
    for foreign, own in _FOREIGN:
        if isinstance(error, foreign):
            return own(_in_one_line(error))
    return WrongAnswerError(_in_one_line(error))


def _in_one_line(error: Exception) -> str:
    """Name and text of a foreign error; a server's words must not forge log lines."""
    text = str(error).encode("unicode_escape").decode("ascii")
    return f"{type(error).__name__}: {text[:300]}"


def _raise_for_status(response: requests.Response) -> None:
    status = response.status_code
    if status == _OK:
        return
    _drain(response)
    reason = (response.reason or "")[:80].encode("unicode_escape").decode("ascii")
    cause = f"HTTP {status} {reason}".rstrip()
    if status in _REFUSALS:
        raise _REFUSALS[status](cause)
    if status in _BUSY or status in _SERVER_ERRORS:
        asked_s = _retry_after_s(response.headers.get("Retry-After", ""))
        raise BusyError(cause, retry_after_s=asked_s)
    raise WrongAnswerError(cause)


def _retry_after_s(text: str) -> float | None:
    """Read RFC 9110's Retry-After: seconds, or a date."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    date = _parse_date(text)
    if date is None:
        return None
    return max(0.0, (date - dt.datetime.now(dt.timezone.utc)).total_seconds())


def _modified_ns(response: requests.Response) -> int | None:
    date = _parse_date(response.headers.get("Last-Modified", ""))
    return None if date is None else max(0, int(date.timestamp())) * 10**9


def _parse_date(text: str) -> dt.datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=dt.timezone.utc)


def _drain(response: requests.Response) -> None:
    """Read a body that nobody wants, so that its connection can be used again."""
    received_bytes = 0
    while received_bytes < _DRAIN_BYTES:
        chunk = response.raw.read1(_DRAIN_BYTES, decode_content=False)
        if not chunk:
            break
        received_bytes += len(chunk)


def _next_url(url: str, location: str | None) -> str:
    """Follow a redirect, on the same host only.

    The port may change between the two schemes' own: recorded answers of
    https requests may point to http.
    """
    if not location:
        msg = "a redirect without Location"
        raise WrongAnswerError(msg)
    try:
        target = urljoin(url, location)
        same = _place(target) == _place(url)
    except ValueError:
        same = False
    if not same:
        msg = f"a redirect to another place: {location[:200]!r}"
        raise WrongAnswerError(msg)
    return target


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or parts.username or parts.password:
        msg = "not a plain http or https URL"
        raise ValueError(msg)
    port = parts.port
    return parts.hostname, None if port == _DEFAULT_PORTS[parts.scheme] else port


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
