"""What an HTTP answer means, without the HTTP library: statuses, dates, redirects."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

from allenfs.errors import (
    BusyError,
    ForbiddenError,
    ImageNotFoundError,
    PortalError,
    ProxyLoginError,
    ProxyRefusalError,
    RejectedError,
    ServiceError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from allenfs.model import jpeg

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


class Sink(Protocol):
    """Where the bytes of one image go."""

    def restart(self) -> None:
        """Forget what was written."""

    def expect(self, promised_bytes: int | None) -> None:
        """Note how many bytes there will be; None if the service does not say."""

    def write(self, chunk: bytes) -> None:
        """Add `chunk` at the end."""

    def view(self) -> jpeg.Data:
        """Everything that was written."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came with an image's bytes."""

    # Last-Modified, nanoseconds since the epoch; None if the service gave none
    modified_ns: int | None
    shape: jpeg.JpegShape


def error_of_status(status: int, reason: str, retry_after: str) -> ServiceError:
    """Return the error for a response that is neither 200 nor a redirect.

    `reason` and `retry_after` are as the service sent them.
    """
    if status == _PROXY_LOGIN:
        return error_of_proxy(status, reason)
    cause = f"HTTP {status} {in_one_line(reason, 80)}".rstrip()
    if status in BUSY:
        return BusyError(cause, retry_after_s=_retry_after_s(retry_after))
    return _REFUSALS.get(status, WrongAnswerError)(cause)


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
    """Read Last-Modified: nanoseconds since the epoch; None where it is no date."""
    date = _parse_date(last_modified)
    return None if date is None else max(0, int(date.timestamp())) * 10**9


def next_url(url: str, location: str) -> str:
    """Return where a redirect leads, on the same host only.

    The port may change between the two schemes' own: whether the service
    redirects https requests to http is not known.

    Raises
    ------
    WrongAnswerError
        No Location.
    PortalError
        One of another place.
    """
    if not location:
        msg = "a redirect without Location"
        raise WrongAnswerError(msg)
    with contextlib.suppress(ValueError):
        target = urljoin(url, location)
        if _place(target) == _place(url):
            return target
    msg = f"a redirect to another place: {in_one_line(location, 200)}"
    raise PortalError(msg)


def is_upgrade(url: str, target: str) -> bool:
    """Whether a redirect that `next_url` allows changes only http to https."""
    here, there = urlsplit(url), urlsplit(target)
    is_secured = (here.scheme, there.scheme) == ("http", "https")
    return is_secured and (here.path, here.query) == (there.path, there.query)


def upgraded(url: str) -> str:
    """Return an http URL by https; an https URL as it is."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return url
    netloc = parts.netloc.removesuffix(":80")
    return parts._replace(scheme="https", netloc=netloc).geturl()


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or parts.username or parts.password:
        msg = "not a plain http or https URL"
        raise ValueError(msg)
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
