"""Transport: one GET over HTTP.

Not by requests.Session: it reads the body of every redirect into memory, also where it
is told to follow none, and keeps cookies.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from allenfs import __version__
from allenfs.errors import NetworkSettingError, UnreachableError, WrongAnswerError
from allenfs.service import certificates, credentials
from allenfs.service.connections import WatchedAdapter, new_context
from allenfs.service.network import checked_proxy, shown_proxy
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from allenfs.config import ServiceSettings

_HEADERS = {
    "User-Agent": f"allenfs/{__version__} (read-only image mount; python-requests)",
    # Recorded: with gzip offered, JPEGs came gzipped, and lengths count nothing.
    "Accept-Encoding": "identity",
}
# More than one layer, or another coding, may be unpacked for hours to nothing at
# all, so that neither the deadline nor the size limit is ever looked at.
_GZIP = frozenset({"gzip", "x-gzip"})
_PLAIN = frozenset({"", "identity"})
_SHORTEST_S = 0.001  # a socket's timeout of 0 would be none


class Reply:
    """An answer whose head has come; its body is read piece by piece."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.reason = response.reason or ""
        self.headers: Mapping[str, str] = response.headers
        # None where it is not said, or chunks make it void
        self.promised_bytes: int | None = response.raw.length_remaining
        self._coding = self.headers.get("Content-Encoding", "").strip().lower()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def read(self, max_bytes: int) -> bytes:
        """Return what has come of the body, decoded; nothing at its end.

        Not urllib3's read(), which waits for all of `max_bytes`: a byte now and
        then would keep it waiting behind any stall timeout.

        Raises
        ------
        WrongAnswerError
            It is encoded, and not as gzip.
        """
        is_gzip = self._coding in _GZIP
        if not is_gzip and self._coding not in _PLAIN:
            msg = f"Content-Encoding {in_one_line(self._coding, 80)!r}: not asked for"
            raise WrongAnswerError(msg)
        data: bytes = self._response.raw.read1(max_bytes, decode_content=is_gzip)
        return data


class Transport:
    """GETs from one service. Safe to use from many threads.

    Environment, certificates and ``.netrc`` are read once, not with every request.

    Raises
    ------
    NetworkSettingError
        The proxy, a bundle of certificates or ``.netrc`` cannot be used.

    Attributes
    ----------
    context : ssl.SSLContext
        Trusts what `certificates` says.
    shown_proxy : str or None
        The proxy that the service is asked through, without a password.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._connect_timeout_s = settings.connect_timeout_s
        self._stall_timeout_s = settings.stall_timeout_s
        self._service = urlsplit(settings.api_url)
        # What is said for all programs is not meant for a service on this machine:
        # no proxy could reach it.
        is_near = _is_loopback(settings.api_url)
        self._proxies: dict[str, str] = {}
        if settings.proxy:
            self._proxies = {"all": settings.proxy}
        elif settings.proxy is None and not is_near:
            self._proxies = requests.utils.get_environ_proxies(settings.api_url)
        self.shown_proxy = shown_proxy(self.proxy_of(settings.api_url))
        self.context = new_context()
        environ: Mapping[str, str] = {}
        if not is_near or self._service.scheme == "https" or self._proxies:
            environ = os.environ
            bundle = requests.utils.DEFAULT_CA_BUNDLE_PATH
            certificates.trust_machine(self.context, bundle)
        bundles = certificates.named(settings.ca_bundle, environ)
        certificates.trust_named(self.context, bundles)
        host = self._service.hostname or ""
        self._authorization = credentials.of_host(host, os.environ)
        self._adapter = WatchedAdapter(
            self.context,
            pool_connections=2,
            pool_maxsize=settings.connections,
            max_retries=0,
        )
        # It warns of heads that it cannot read, with all their 6 MB and a
        # traceback; what becomes of a request is a line of our own.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def proxy_of(self, url: str) -> str | None:
        """Return the proxy that is asked for `url`, perhaps with a password in it.

        Raises
        ------
        NetworkSettingError
            It cannot be a proxy.
        """
        proxy = requests.utils.select_proxy(url, self._proxies)
        return checked_proxy(proxy, _variable_of(url, proxy)) if proxy else None

    def get(self, url: str, remaining_s: float) -> Reply:
        """Ask for `url` and wait for the answer's head; follow no redirect."""
        timeouts_s = (self._connect_timeout_s, self._stall_timeout_s)
        connect_s, stall_s = (
            max(_SHORTEST_S, min(timeout_s, remaining_s)) for timeout_s in timeouts_s
        )
        try:
            proxy = self.proxy_of(url)
        except NetworkSettingError as error:  # a redirect led to the other scheme
            raise UnreachableError(str(error)) from error
        return Reply(
            self._adapter.send(
                requests.Request("GET", url, headers=self._headers(url)).prepare(),
                stream=True,
                timeout=(connect_s, stall_s),
                proxies={"all": proxy} if proxy else {},
            )
        )

    def _headers(self, url: str) -> dict[str, str]:
        """Return what is sent; the password only where it was meant to be sent."""
        asked, service = urlsplit(url), self._service
        is_as_safe = asked.scheme == "https" or service.scheme == "http"
        if self._authorization and asked.hostname == service.hostname and is_as_safe:
            return _HEADERS | {"Authorization": self._authorization}
        return _HEADERS


def _variable_of(url: str, proxy: str) -> str:
    """Return the name of the environment's variable that says this of `url`."""
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    return next(
        (
            name
            for name, value in os.environ.items()
            if name.lower() in names and value == proxy
        ),
        "--proxy",
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
