"""Transport: one GET over HTTP.

Not by requests.Session: it keeps cookies, and reads the body of every redirect into
memory even if it does not follow it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from allenfs import __version__
from allenfs.errors import NetworkSettingError, UnreachableError, WrongAnswerError
from allenfs.service import certificates
from allenfs.service.connections import ServiceAdapter, new_context
from allenfs.service.network import authorization, checked_proxy, shown_proxy
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from allenfs.config import ServiceSettings

_HEADERS = {
    "User-Agent": f"allenfs/{__version__} (read-only image mount; python-requests)",
    # Recorded: with gzip offered, JPEGs came gzipped, and no length was theirs.
    "Accept-Encoding": "identity",
}
# Several layers, or another coding, may be decoded for hours without any output, and
# neither the deadline nor the size limit is checked meanwhile.
_GZIP = frozenset({"gzip", "x-gzip"})
_PLAIN = frozenset({"", "identity"})
_SHORTEST_S = 0.001  # a socket's timeout of 0 would be none


class Reply:
    """A response whose head has arrived; its body is read piece by piece."""

    def __init__(self, response: requests.Response) -> None:
        self._raw = response.raw
        self._headers = response.headers
        self.status = response.status_code
        self.reason = response.reason or ""
        # None if the service does not say, or its chunks make it void
        self.promised_bytes: int | None = response.raw.length_remaining

    def header(self, name: str) -> str:
        """Return the value of a header, empty if there is none."""
        return self._headers.get(name, "")

    def read(self, max_bytes: int) -> bytes:
        """Return what has arrived of the body, decoded; nothing at its end.

        Not urllib3's read(), which waits for all of `max_bytes`: a byte now and
        then would keep it waiting behind any stall timeout.
        """
        coding = self.header("Content-Encoding").strip().lower()
        if coding not in _PLAIN | _GZIP:
            msg = f"unsupported Content-Encoding {in_one_line(coding, 80)!r}"
            raise WrongAnswerError(msg)
        data: bytes = self._raw.read1(max_bytes, decode_content=coding in _GZIP)
        return data


class Transport:
    """GETs from one service. Safe to use from many threads.

    Environment, certificates and ``.netrc`` are read once, not with every request.

    Raises
    ------
    NetworkSettingError
        The proxy, a bundle of certificates or ``.netrc`` cannot be used.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._timeouts_s = settings.connect_timeout_s, settings.stall_timeout_s
        self._service = urlsplit(settings.api_url)
        # The environment's proxy is not meant for a service on this machine, which no
        # proxy could reach.
        is_local = _is_loopback(self._service.hostname or "")
        self._proxies: dict[str, str] = {}
        if settings.proxy:
            self._proxies = {"all": settings.proxy}
        elif settings.proxy is None and not is_local:
            self._proxies = requests.utils.get_environ_proxies(settings.api_url)
        self.shown_proxy = shown_proxy(self.proxy_of(settings.api_url))
        self.context = new_context()
        environ: Mapping[str, str] = {}
        if not is_local or self._service.scheme == "https" or self._proxies:
            environ = os.environ
            bundle = requests.utils.DEFAULT_CA_BUNDLE_PATH
            certificates.trust_machine(self.context, bundle)
        bundles = certificates.named(settings.ca_bundle, environ)
        certificates.trust_named(self.context, bundles)
        self._authorization = authorization(self._service.hostname or "", os.environ)
        self._adapter = ServiceAdapter(
            self.context,
            pool_connections=2,
            pool_maxsize=settings.connections,
            max_retries=0,
        )
        # It logs heads that it cannot parse, with all their 6 MB and a traceback; each
        # failed request has a log line of our own.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def proxy_of(self, url: str) -> str | None:
        """Return the proxy for `url`, or raise NetworkSettingError if it is invalid."""
        proxy = requests.utils.select_proxy(url, self._proxies)
        return checked_proxy(proxy, _variable_of(url, proxy)) if proxy else None

    @contextlib.contextmanager
    def get(self, url: str, remaining_s: float) -> Iterator[Reply]:
        """Send a GET and wait for the head of its response; follow no redirect."""
        connect_s, stall_s = (
            max(_SHORTEST_S, min(timeout_s, remaining_s))
            for timeout_s in self._timeouts_s
        )
        try:
            proxy = self.proxy_of(url)
        except NetworkSettingError as error:  # a redirect led to the other scheme
            raise UnreachableError(str(error)) from error
        with self._adapter.send(
            requests.Request("GET", url, headers=self._headers(url)).prepare(),
            stream=True,
            timeout=(connect_s, stall_s),
            proxies={"all": proxy} if proxy else {},
        ) as response:
            yield Reply(response)

    def _headers(self, url: str) -> dict[str, str]:
        """Return the headers to send; the password only to its host, and as safely."""
        parts, service = urlsplit(url), self._service
        is_as_safe = parts.scheme == "https" or service.scheme == "http"
        if self._authorization and parts.hostname == service.hostname and is_as_safe:
            return _HEADERS | {"Authorization": self._authorization}
        return _HEADERS


def _variable_of(url: str, proxy: str) -> str:
    """Return the name of the environment variable that sets this proxy for `url`."""
    names = f"{urlsplit(url).scheme}_proxy", "all_proxy"
    variables = (
        name
        for name, value in os.environ.items()
        if name.lower() in names and value == proxy
    )
    return next(variables, "--proxy")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
