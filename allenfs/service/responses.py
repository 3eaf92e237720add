"""Interpret responses: statuses, redirects and dates; exceptions as our errors.

`translated` catches everything: the exceptions of requests are OSErrors without errno,
and must not leave this package.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from allenfs.errors import (
    AllenFSError,
    BusyError,
    CertificateError,
    CutAnswerError,
    ExhaustedError,
    ForbiddenError,
    ImageNotFoundError,
    PortalError,
    ProxyLoginError,
    ProxyRefusalError,
    RejectedError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.text import in_one_line, safe_logger

if TYPE_CHECKING:
    from allenfs.model.content import Data

log = safe_logger(__name__)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
WEB_PAGE = (
    "a web page instead of {}: if this network has a login page, log in with a browser"
)

_REFUSALS: dict[int, type[ServiceError]] = {
    400: RejectedError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: ImageNotFoundError,
    511: PortalError,
}
BUSY = frozenset({408, 429, *range(500, 600)}) - {511}
_PROXY_LOGIN = 407
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The most specific first.
_FOREIGN: tuple[tuple[type[Exception], type[ServiceError]], ...] = (
    (ssl.SSLCertVerificationError, CertificateError),
    (urllib3.exceptions.NewConnectionError, UnreachableError),
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
    (urllib3.exceptions.HTTPError, WrongAnswerError),
)
# How http.client words a proxy's answer to CONNECT, and PySocks a refusal.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (\d+) ?(.*)", re.DOTALL)
_SOCKS_REFUSALS: dict[str, type[ServiceError]] = {
    "SOCKS5 authentication failed": ProxyLoginError,
    "All offered SOCKS5 authentication methods were rejected": ProxyLoginError,
    "0x02: Connection not allowed by ruleset": ProxyRefusalError,
}
# A library's message may quote the proxy's URL with its password.
_USER_IN_URL = re.compile(r"(?<=//)\S+@")
_MAX_REASON_CHARS, _READ_REASON_CHARS = 300, 3000


class Sink(Protocol):
    """The destination of the bytes of one image."""

    def restart(self) -> None:
        """Discard what was written."""

    def expect(self, promised_bytes: int | None) -> None:
        """Set the number of bytes to come; None if the service does not announce it."""

    def write(self, chunk: bytes) -> None:
        """Add `chunk` at the end."""

    def view(self) -> Data:
        """Everything that was written."""


def error_of_status(status: int, reason: str, retry_after: str) -> ServiceError:
    """Return the error for a response that is neither 200 nor a redirect.

    `reason` and `retry_after` are as the service sent them.
    """
    if status == _PROXY_LOGIN:
        return error_of_proxy(status, reason)
    cause = f"HTTP {status} {in_one_line(reason, 80)}".rstrip()
    kind = BusyError if status in BUSY else _REFUSALS.get(status, WrongAnswerError)
    error = kind(cause)
    error.retry_after_s = _retry_after_s(retry_after)
    return error


def error_of_proxy(status: int, reason: str) -> UnreachableError:
    """Return the error for a proxy that refuses to connect to the service."""
    cause = f"proxy: {status} {in_one_line(reason, 80)}".rstrip()
    if status == _PROXY_LOGIN:
        return ProxyLoginError(cause)
    return (UnreachableError if status in BUSY else ProxyRefusalError)(cause)


def is_web_page(content_type: str) -> bool:
    """Whether a Content-Type is that of a page for people."""
    return content_type.strip().lower().startswith(("text/html", "application/xhtml"))


def modified_ns(last_modified: str) -> int | None:
    """Read Last-Modified: nanoseconds since the epoch; None if it is not a date."""
    date = _parse_date(last_modified)
    return None if date is None else max(0, int(date.timestamp())) * 10**9


def next_url(url: str, location: str) -> str:
    """Return where a redirect leads, on the same host only.

    The port may change between the default ports of http and https: it is not known
    whether the service redirects https requests to http.

    Raises WrongAnswerError without Location, PortalError for another host.
    """
    if not location:
        raise WrongAnswerError("a redirect without Location")
    with contextlib.suppress(ValueError):
        target = urljoin(url, location)
        if _place(target) == _place(url):
            return target
    raise PortalError(f"a redirect away from the service: {in_one_line(location, 200)}")


def is_upgrade(url: str, target: str) -> bool:
    """Whether a redirect that `next_url` allows changes only http to https."""
    here, there = urlsplit(url), urlsplit(target)
    is_secured = (here.scheme, there.scheme) == ("http", "https")
    return is_secured and (here.path, here.query) == (there.path, there.query)


def upgraded(url: str) -> str:
    """Return a URL with https in place of http."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return url
    netloc = parts.netloc.removesuffix(":80")
    return parts._replace(scheme="https", netloc=netloc).geturl()


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or parts.username or parts.password:
        raise ValueError("not a plain http or https URL")
    port = parts.port
    return parts.hostname, None if port == _DEFAULT_PORTS[parts.scheme] else port


def _retry_after_s(text: str) -> float | None:
    """Read RFC 9110's Retry-After: seconds, or a date."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    date = _parse_date(text)
    if date is None:
        return None
    return max(0.0, (date - dt.datetime.now(dt.timezone.utc)).total_seconds())


def _parse_date(text: str) -> dt.datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=dt.timezone.utc)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn every exception of a download into one of our errors."""
    try:
        yield
    except AllenFSError:  # of the sink, too
        raise
    except Exception as error:
        raise translate(error) from error


def translate(error: Exception) -> AllenFSError:
    """Return our error for any exception of a download, with the innermost reason."""
    chain = _chain(error)
    reason = chain[-1]
    if isinstance(reason, OSError) and reason.errno in (errno.EMFILE, errno.ENFILE):
        return ExhaustedError(reason.strerror)
    refusal = _NO_TUNNEL.fullmatch(str(reason))
    if refusal is not None:
        return error_of_proxy(int(refusal[1]), refusal[2])
    own = _SOCKS_REFUSALS.get(str(reason))
    for foreign, kind in _FOREIGN:
        if own is None and any(isinstance(one, foreign) for one in chain):
            own = kind
    if own is None:
        log.error("unexpected error in a download", exc_info=error)
        own = WrongAnswerError
    words = _words(reason, own)
    if any(
        isinstance(one, urllib3.exceptions.ProxyError)
        or type(one).__module__ == "socks"  # which need not be installed
        for one in chain
    ):
        words = f"proxy: {words}"
    words = _USER_IN_URL.sub("***@", words[:_READ_REASON_CHARS])
    return own(in_one_line(words, _MAX_REASON_CHARS))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, the outermost first."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in chain:
        chain.append(inner)
        reason = getattr(inner, "reason", None)
        wrapped = reason, inner.__cause__, *inner.args, inner.__context__
        inner = next((one for one in wrapped if isinstance(one, Exception)), None)
    return chain


def _words(reason: BaseException, own: type[ServiceError]) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {reason.verify_message}"
    if isinstance(reason, socket.gaierror):
        return f"cannot resolve host name: {reason.strerror}"
    if isinstance(reason, TimeoutError):
        is_connected = own is not UnreachableError
        return "timed out waiting for data" if is_connected else "connection timed out"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    name, text = type(reason).__name__, str(reason)
    return text if text.startswith(name) else f"{name}: {text}"
