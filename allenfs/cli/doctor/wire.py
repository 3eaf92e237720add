"""The way to the service: proxy, name, connection, certificate.

By plain sockets, a step at a time, so that the first one that fails has the name.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from allenfs.cli.doctor.findings import Finding, fail, ok, skip, warn
from allenfs.service.network import shown_proxy

if TYPE_CHECKING:
    from typing import Any

_PORTS = {
    "http": 80,
    "https": 443,
    "socks5": 1080,
    "socks5h": 1080,
    "socks4": 1080,
    "socks4a": 1080,
}
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_CONNECT_S = 5.0
_DAY_S = 86_400
_SOON_DAYS = 14
_SHOWN_ADDRESSES = 3
_NO_NETWORK = (
    "check the network connection; behind a proxy, use --proxy http://HOST:PORT. "
    "Images already in the store remain readable"
)
_AUTHORITY = (
    "if a proxy inspects TLS, get its CA certificate and pass it with --ca-bundle (or "
    "REQUESTS_CA_BUNDLE), or add it to the system's store; on a guest network, log in "
    "with a web browser first"
)


@dataclass(frozen=True, slots=True)
class Way:
    """How the service is reached.

    Attributes
    ----------
    proxy : str or None
        The proxy's URL, perhaps with a password.
    context : ssl.SSLContext
        Has the certificates that are trusted.
    """

    api_url: str
    proxy: str | None
    context: ssl.SSLContext

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the service."""
        return _place(self.api_url)

    def find_proxy(self) -> Finding:
        """Whether there is a proxy, and it takes connections."""
        if self.proxy is None:
            is_set = [name for name in _PROXY_VARIABLES if _variable(name)]
            but = f" for this address ({', '.join(is_set)} set)" if is_set else ""
            return ok(f"none{but}")
        advice = (
            "correct or unset --proxy, ALLENFS_PROXY, HTTPS_PROXY, HTTP_PROXY or "
            "ALL_PROXY; list hosts that need no proxy in NO_PROXY"
        )
        host, port = _place(self.proxy)
        url = shown_proxy(self.proxy)
        try:
            seconds = _connect(host, port)
        except (OSError, UnicodeError) as error:
            return fail(f"{url} cannot be reached: {_words(error)}", advice)
        return ok(f"{url}, connected in {seconds * 1000:.0f} ms")

    def find_name(self) -> Finding:
        """Whether the host's name has an address."""
        if self.proxy is not None:
            return skip("the proxy does this")
        host, port = self.place
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return fail(f"{host} has no address here: {_words(error)}", _NO_NETWORK)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        more = ", ..." if len(addresses) > _SHOWN_ADDRESSES else ""
        return ok(f"{host} is {', '.join(addresses[:_SHOWN_ADDRESSES])}{more}")

    def find_connection(self) -> Finding:
        """Whether it takes connections."""
        if self.proxy is not None:
            return skip("the proxy does this")
        host, port = self.place
        try:
            seconds = _connect(host, port)
        except OSError as error:
            return fail(
                f"port {port} of {host}: {_words(error)}",
                f"a firewall, a service that is down, or the wrong port. {_NO_NETWORK}",
            )
        return ok(f"port {port} of {host} in {seconds * 1000:.0f} ms")

    def find_certificate(self) -> Finding:
        """Whether it is the service that answers, and not somebody in between."""
        if urlsplit(self.api_url).scheme != "https":
            return skip("the address is http")
        if self.proxy is not None:
            return skip("asked for through the proxy")
        host, port = self.place
        try:
            version, certificate = _handshake(host, port, self.context)
        except ssl.SSLCertVerificationError as error:
            wrong = error.verify_message
            return fail(wrong, certificate_advice(wrong))
        except OSError as error:
            return fail(
                f"no TLS with {host}: {_words(error)}",
                "something in between (firewall, proxy) does not let it pass, or this "
                "port is not https",
            )
        expires_s = ssl.cert_time_to_seconds(certificate["notAfter"])
        days = int((expires_s - time.time()) // _DAY_S)
        said = f"{version}, issued by {_issuer(certificate)}, good for {days} days"
        if days < _SOON_DAYS:
            return warn(said, "the service renews it, or images will fail then")
        return ok(said)


def certificate_advice(wrong: str) -> str:
    """Return advice for OpenSSL's message about a certificate."""
    if "expired" in wrong or "not yet valid" in wrong:
        return (
            "check this machine's clock (timedatectl); if it is right, the certificate "
            "has expired: tell the operator of the service or proxy"
        )
    if "not valid for" in wrong:
        return (
            "the certificate is for another host: on a guest network, log in with a "
            "web browser; otherwise check --api-url and the proxy"
        )
    return _AUTHORITY


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _connect(host: str, port: int) -> float:
    """Connect and hang up; return the seconds."""
    started_s = time.monotonic()
    with socket.create_connection((host, port), _CONNECT_S):
        return time.monotonic() - started_s


def _handshake(
    host: str, port: int, context: ssl.SSLContext
) -> tuple[str, dict[str, Any]]:
    with (
        socket.create_connection((host, port), _CONNECT_S) as sock,
        context.wrap_socket(sock, server_hostname=host) as tls,
    ):
        return tls.version() or "", tls.getpeercert() or {}


def _issuer(certificate: dict[str, Any]) -> str:
    names = {key: value for part in certificate["issuer"] for key, value in part}
    return str(names.get("organizationName") or names.get("commonName") or "?")


def _variable(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(name.lower())


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_S:.0f} s"
    return getattr(error, "strerror", None) or str(error)
