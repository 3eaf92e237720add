"""Transport: one GET over HTTP with a deadline that includes connecting.

Without requests.Session, which keeps cookies, and reads the body of every redirect into
memory even if it does not follow it.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

import requests.adapters
import urllib3.connection
import urllib3.exceptions

from allenfs import __version__
from allenfs.errors import (
    NetworkSettingError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.service import certificates, network
from allenfs.service.deadlines import Deadlines, Watchdog, guard
from allenfs.text import in_one_line

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings

_HEADERS = {
    "User-Agent": f"allenfs/{__version__} (read-only image mount; python-requests)",
    # Recorded: if gzip is accepted, JPEGs come gzipped, without their length.
    "Accept-Encoding": "identity",
}
# Several layers, or another encoding, can take hours to decode without any output, and
# neither the deadline nor the size limit is checked meanwhile.
_GZIP = frozenset({"gzip", "x-gzip"})
_PLAIN = frozenset({"", "identity"})
_SHORTEST_S = 0.001  # a timeout of 0 would make the socket non-blocking


class Reply:
    """A response whose headers have arrived; its body is read piece by piece."""

    def __init__(self, response: requests.Response) -> None:
        self._raw = response.raw
        self._headers = response.headers
        self.status = response.status_code
        self.reason = response.reason or ""
        # None if the service does not say, or sends chunks
        self.promised_bytes: int | None = response.raw.length_remaining

    def header(self, name: str) -> str:
        """Return the value of a header, empty if there is none."""
        return self._headers.get(name, "")

    def read(self, max_bytes: int) -> bytes:
        """Return the part of the body that has arrived, decoded; empty at its end.

        Not urllib3's read(), which waits for all of `max_bytes`: a byte now and
        then would keep it waiting despite the stall timeout.
        """
        coding = self.header("Content-Encoding").strip().lower()
        if coding not in _PLAIN | _GZIP:
            raise WrongAnswerError(
                f"unsupported Content-Encoding {in_one_line(coding, 80)!r}"
            )
        data: bytes = self._raw.read1(max_bytes, decode_content=coding in _GZIP)
        return data


class Transport:
    """GETs from one service. Safe to use from many threads.

    Environment, certificates and ``.netrc`` are read once, not with every request.
    Raises NetworkSettingError if the proxy or one of these cannot be used.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._timeouts_s = settings.connect_timeout_s, settings.stall_timeout_s
        self._deadlines = Deadlines()
        self._service = urlsplit(settings.api_url)
        # The environment's proxy is not for a service on this machine, which a proxy
        # could not reach.
        is_local = _is_loopback(self._service.hostname or "")
        self._proxies: dict[str, str] = {}
        if settings.proxy:
            self._proxies = {"all": settings.proxy}
        elif settings.proxy is None and not is_local:
            self._proxies = requests.utils.get_environ_proxies(settings.api_url)
        self.shown_proxy = network.shown_proxy(self.proxy_of(settings.api_url))
        may_use_tls = not is_local or self._service.scheme == "https" or self._proxies
        environ = os.environ if may_use_tls else None
        self.context = certificates.new_context(settings.ca_bundle, environ)
        host = self._service.hostname or ""
        self._authorization = network.authorization(host, os.environ)
        self._adapter = ServiceAdapter(
            self.context,
            pool_connections=2,
            pool_maxsize=settings.connections,
            max_retries=0,
        )
        # It logs headers that it cannot parse, up to 6 MB with a traceback; we log each
        # failed request ourselves.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def proxy_of(self, url: str) -> str | None:
        """Return the proxy for `url`, or raise NetworkSettingError if it is invalid."""
        proxy = requests.utils.select_proxy(url, self._proxies)
        return network.checked_proxy(proxy, _variable_of(url, proxy)) if proxy else None

    def close(self) -> None:
        """Close idle connections; the others are closed after their request."""
        self._adapter.close()

    def watchdog(self, remaining_s: float) -> Watchdog:
        """Return a watchdog for the requests of a thread, to be entered for them."""
        return Watchdog(self._deadlines, remaining_s)

    @contextlib.contextmanager
    def get(self, url: str, remaining_s: float) -> Iterator[Reply]:
        """Send a GET and wait for the response headers; follow no redirect."""
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
        """Return the headers; the password only for its host, never downgraded."""
        parts, service = urlsplit(url), self._service
        is_as_safe = parts.scheme == "https" or service.scheme == "http"
        if self._authorization and parts.hostname == service.hostname and is_as_safe:
            return _HEADERS | {"Authorization": self._authorization}
        return _HEADERS


class ServiceAdapter(requests.adapters.HTTPAdapter):
    """Sends requests with one TLS context, under the watchdog of the thread.

    The adapter of requests looks for a certificate bundle before each request, and
    reads it for each connection; without the file, every request would fail.
    """

    def __init__(self, context: ssl.SSLContext, **settings: Any) -> None:
        self._context = context
        super().__init__(**settings)

    def init_poolmanager(self, *sizes: Any, **settings: Any) -> None:
        """Pass the context to the connections to the service."""
        super().init_poolmanager(*sizes, ssl_context=self._context, **settings)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Pass the context to the connections to a proxy and through it."""
        if urlsplit(proxy).scheme in ("http", "https"):
            settings["proxy_ssl_context"] = self._context
        return super().proxy_manager_for(proxy, ssl_context=self._context, **settings)

    def cert_verify(self, *_: object) -> None:
        """Do nothing: the context already has the CAs."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return user and password in any encoding: requests allows only Latin-1."""
        parts = urlsplit(proxy)
        if parts.username is None:
            return {}
        user, password = map(unquote_to_bytes, (parts.username, parts.password or ""))
        return {"Proxy-Authorization": network.basic_authorization(user, password)}

    def get_connection_with_tls_context(self, *args: Any, **settings: Any) -> Any:
        """Return the pool of watched connections to the service, or to the proxy."""
        pool = super().get_connection_with_tls_context(*args, **settings)
        pool.ConnectionCls = _watched(pool.ConnectionCls)
        return pool


class _Watched(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Connect to one of the addresses of the host, or of its SOCKS proxy.

        urllib3 and PySocks would apply their timeout to each address, and to each byte
        from a proxy, regardless of the deadline.
        """
        failure: Exception = OSError("the host has no address")
        socks = getattr(self, "_socks_options", None)
        host, port = self._dns_host.strip("[]"), self.port
        first = host, port
        if socks is not None:
            first = socks["proxy_host"].strip("[]"), socks["proxy_port"]
        try:
            found = socket.getaddrinfo(*first, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            found, failure = [], error
        for family, *_, address in found:
            with contextlib.ExitStack() as stack:
                try:
                    sock = stack.enter_context(_new_socket(family, socks))
                    guard(sock)
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    sock.settimeout(self.timeout)
                    sock.connect((host, port) if socks else address)
                    # again: an unconnected socket cannot be shut down
                    guard(sock)
                except (OSError, UnicodeError) as error:
                    failure = error
                else:
                    stack.pop_all()
                    return sock
        raise urllib3.exceptions.NewConnectionError(self, str(failure)) from failure

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        sock = self.sock
        if sock is not None:
            guard(sock)
        try:
            return super().getresponse()
        except urllib3.exceptions.InvalidHeader:
            # urllib3 discards a response with two lengths without closing it
            if sock is not None:
                # TLS in TLS wraps its socket
                socket.close(getattr(sock, "socket", sock).detach())
            raise


@functools.cache
def _watched(
    kind: type[urllib3.connection.HTTPConnection],
) -> type[urllib3.connection.HTTPConnection]:
    """Return a watched kind of connection: plain, TLS, or either through SOCKS."""
    if issubclass(kind, _Watched):
        return kind
    return type(f"Watched{kind.__name__}", (_Watched, kind), {})


def _new_socket(family: int, socks: dict[str, Any] | None) -> socket.socket:
    """Return a socket; one that connects through SOCKS takes the host's address."""
    if socks is None:
        return socket.socket(family, socket.SOCK_STREAM)
    import socks as pysocks  # noqa: PLC0415 - an extra

    names = "socks_version", "proxy_host", "proxy_port", "rdns", "username", "password"
    options = socks | {"proxy_host": socks["proxy_host"].strip("[]")}
    sock: socket.socket = pysocks.socksocket(family, socket.SOCK_STREAM)
    sock.set_proxy(*map(options.get, names))  # type: ignore[attr-defined]
    return sock


def _variable_of(url: str, proxy: str) -> str:
    """Return the environment variable that sets this proxy for `url`, or the flag."""
    names = f"{urlsplit(url).scheme}_proxy", "all_proxy"
    for name, value in os.environ.items():
        if name.lower() in names and value == proxy:
            return name
    return "--proxy"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
