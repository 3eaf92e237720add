"""Connections over one TLS context that end with the deadline, from `connect` on."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

from allenfs.errors import (
    AllenFSError,
    CutAnswerError,
    ServiceTimeoutError,
    WrongAnswerError,
)
from allenfs.service.network import basic_authorization
from allenfs.service.single_flight import start_thread

_of_thread = threading.local()


class Watchdog:
    """Shuts the socket of this thread's request when `remaining_s` are over.

    A socket's own timeout counts from byte to byte: a header or a chunk size
    that comes a byte at a time would keep a thread and a connection for ever.

    Raises ServiceTimeoutError at the end of the block if the time is over: a connection
    that was shut looks like one that ended well, or like a broken answer.
    """

    def __init__(self, remaining_s: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._expired = False
        self._timer = threading.Timer(max(remaining_s, 0), self._expire)
        self._timer.daemon = True

    def __enter__(self) -> None:
        start_thread(self._timer)
        _of_thread.watchdog = self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._timer.cancel()
        _of_thread.watchdog = None
        self._replace_socket(None)
        # other errors of ours: a status that came in time, or an error of the sink
        is_ours = isinstance(error, AllenFSError)
        if not is_ours or isinstance(error, (CutAnswerError, WrongAnswerError)):
            self._raise_if_expired()

    def guard(self, sock: socket.socket) -> None:
        """Shut this socket down at the deadline, instead of the previous one."""
        # A duplicate stays valid: a TLS handshake moves the descriptor to another
        # object, and a closed descriptor's number is soon another connection's.
        self._replace_socket(socket.socket(fileno=os.dup(sock.fileno())))
        self._raise_if_expired()

    def _raise_if_expired(self) -> None:
        if self._expired:
            msg = "no whole answer within the deadline"
            raise ServiceTimeoutError(msg)

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _replace_socket(self, duplicate: socket.socket | None) -> None:
        with self._lock:
            previous, self._socket = self._socket, duplicate
        if previous is not None:
            previous.close()


def _guard(sock: socket.socket) -> None:
    """Let the watchdog of this thread's request, if there is one, shut a socket."""
    watchdog: Watchdog | None = getattr(_of_thread, "watchdog", None)
    if watchdog is not None:
        watchdog.guard(sock)


def new_context() -> ssl.SSLContext:
    """Return a context as urllib3 makes it, with no trusted CAs."""
    context = create_urllib3_context()
    # Like curl and Python 3.13: an intermediate CA can be trusted without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    # urllib3 sets them again for each connection. That frees what OpenSSL may be
    # reading for one in another thread: in a test of eight threads, five of 550 000
    # connections began with garbage.
    context.set_alpn_protocols = _ignore  # type: ignore[method-assign]
    return context


def _ignore(alpn_protocols: object) -> None:
    pass


class ServiceAdapter(requests.adapters.HTTPAdapter):
    """Sends requests over one TLS context, watched by the watchdog of the thread.

    requests' own adapter looks for a bundle of certificates before each request, and
    reads it for each connection; one that is gone would end all of them.
    """

    def __init__(self, context: ssl.SSLContext, **settings: Any) -> None:
        self._context = context
        super().__init__(**settings)

    def init_poolmanager(self, *sizes: Any, **settings: Any) -> None:
        """Give the context to the connections to the service."""
        super().init_poolmanager(*sizes, ssl_context=self._context, **settings)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Give the context to the connections through a proxy, and to the proxy."""
        if urlsplit(proxy).scheme in ("http", "https"):
            settings["proxy_ssl_context"] = self._context
        return super().proxy_manager_for(proxy, ssl_context=self._context, **settings)

    def cert_verify(self, *_: object) -> None:
        """Do nothing: the context already has the CAs."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return user and password as they are: requests takes only Latin-1."""
        parts = urlsplit(proxy)
        if parts.username is None:
            return {}
        names = parts.username, parts.password or ""
        value = basic_authorization(*map(unquote_to_bytes, names))
        return {"Proxy-Authorization": value}

    def get_connection_with_tls_context(self, *args: Any, **settings: Any) -> Any:
        """Return the pool of watched connections to the service, or to the proxy."""
        pool = super().get_connection_with_tls_context(*args, **settings)
        pool.ConnectionCls = _watched(pool.ConnectionCls)
        return pool


class _Watched(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        try:
            return self._connected()
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error

    def _connected(self) -> socket.socket:
        """Connect to one of the addresses of the host, or of its SOCKS proxy.

        The functions of urllib3 and PySocks give each address, and each byte of a
        proxy's, its own time, whatever the deadline.
        """
        failure = OSError("the host has no address")
        socks = getattr(self, "_socks_options", None)
        host, port = self._dns_host.strip("[]"), self.port
        first = host, port
        if socks is not None:
            first = socks["proxy_host"].strip("[]"), socks["proxy_port"]
        for family, _, _, _, address in socket.getaddrinfo(
            *first, type=socket.SOCK_STREAM
        ):
            with contextlib.ExitStack() as stack:
                try:
                    sock = stack.enter_context(_new_socket(family, socks))
                    _guard(sock)
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    sock.settimeout(self.timeout)
                    sock.connect((host, port) if socks else address)
                    # again: an unconnected socket cannot be shut down
                    _guard(sock)
                except OSError as error:
                    failure = error
                else:
                    stack.pop_all()
                    return sock
        raise failure

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        sock = self.sock
        if sock is not None:
            _guard(sock)
        try:
            return super().getresponse()
        except urllib3.exceptions.InvalidHeader:
            # urllib3 drops an answer with two lengths without closing it
            if sock is not None:
                # TLS in TLS has its socket inside
                socket.close(getattr(sock, "socket", sock).detach())
            raise


def _new_socket(family: int, socks: dict[str, Any] | None) -> socket.socket:
    """Return a socket; one that connects through SOCKS takes the host's address."""
    if socks is None:
        return socket.socket(family, socket.SOCK_STREAM)
    import socks as pysocks  # noqa: PLC0415 - an extra

    sock: socket.socket = pysocks.socksocket(family, socket.SOCK_STREAM)
    sock.set_proxy(  # type: ignore[attr-defined]
        socks["socks_version"],
        socks["proxy_host"].strip("[]"),
        socks["proxy_port"],
        socks["rdns"],
        socks["username"],
        socks["password"],
    )
    return sock


@functools.cache
def _watched(
    kind: type[urllib3.connection.HTTPConnection],
) -> type[urllib3.connection.HTTPConnection]:
    """Return a watched kind of connection: plain, TLS, or either through SOCKS."""
    if issubclass(kind, _Watched):
        return kind
    return type(f"Watched{kind.__name__}", (_Watched, kind), {})
