"""The door to the network: a request becomes checked bytes, or one of our errors."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import random
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions

from allenfs import __version__, answers, jpeg
from allenfs.answers import Answer, Sink
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ImageTooLargeError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allenfs.config import ServiceSettings
    from allenfs.images import ImageRequest

log = logging.getLogger(__name__)

USER_AGENT = f"allenfs/{__version__} (read-only image mount; python-requests)"

RETRIES = 3
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 * 1024
# An error page or a redirect's body is read to its end, up to this size, so
# that its connection can be used again.
_DRAIN_BYTES = 64 * 1024
_OK = 200

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
        backoff_s = self._settings.first_backoff_s * float(2 ** (attempt - 1))
        backoff_s *= 0.5 + self._jitter()
        asked_s = error.retry_after_s if isinstance(error, BusyError) else None
        return max(backoff_s, asked_s or 0)

    def _attempt(self, url: str, sink: Sink, ends_s: float) -> Answer:
        sink.restart()
        with Watchdog(ends_s - self._clock()) as watchdog, _translated(watchdog):
            for _ in range(_MAX_REDIRECTS + 1):
                with self._get(url) as response:
                    headers = response.headers
                    if response.status_code == _OK:
                        self._read_body(response, sink)
                        break
                    _drain(response)
                    if response.status_code not in answers.REDIRECTS:
                        raise answers.error_of_status(
                            response.status_code,
                            response.reason or "",
                            headers.get("Retry-After", ""),
                        )
                    url = answers.next_url(url, headers.get("Location"))
            else:
                msg = f"more than {_MAX_REDIRECTS} redirects"
                raise WrongAnswerError(msg)
        # a connection that the watchdog shut looks like one that ended in peace
        watchdog.raise_if_expired()
        modified_ns = answers.modified_ns(headers.get("Last-Modified", ""))
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
            msg = f"no image: Content-Type {answers.in_one_line(content_type, 80)!r}"
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


class _WatchedConnection(urllib3.connection.HTTPConnection):
    """Awaits its answers, from their first header byte on, under a watchdog."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        if self.sock is not None:
            Watchdog.look_after(self.sock)
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
def _translated(watchdog: Watchdog) -> Iterator[None]:
    """Turn what requests and urllib3 raise into our errors."""
    try:
        yield
    except ServiceError:
        # a connection shut in time looks like a broken answer
        watchdog.raise_if_expired()
        raise
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
    return f"{type(error).__name__}: {answers.in_one_line(str(error), 300)}"


def _drain(response: requests.Response) -> None:
    """Read a body that nobody wants, so that its connection can be used again."""
    received_bytes = 0
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        while received_bytes < _DRAIN_BYTES:
            chunk = response.raw.read1(_DRAIN_BYTES, decode_content=False)
            if not chunk:
                break
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
