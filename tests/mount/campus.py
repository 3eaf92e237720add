"""A campus network on one port: the forward proxy, TLS, and the service behind them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hostile_service import HostileService

CERTIFICATES = Path(__file__).parents[1] / "service" / "certificates"
HOST = "allen.test"  # what campus.pem is for
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Campus(HostileService):
    """A proxy that leads to itself.

    Attributes
    ----------
    tunnel : callable
        The reply to a CONNECT.
    hello : callable
        Sent to a TLS client before, or instead of, the handshake.
    certificate : str
        Which of the certificates of the tests the service has.
    connections, tunnels, handshakes : int
        How many there were.
    """

    def __init__(self) -> None:
        self.connections = self.tunnels = self.handshakes = 0
        self._of_thread = threading.local()
        super().__init__()

    def heal(self) -> None:
        super().heal()
        self.tunnel: Callable[[], Iterable[bytes]] = lambda: [TUNNEL]
        self.hello: Callable[[], Iterable[bytes]] = list
        self.certificate = "campus"

    @property
    def is_tls(self) -> bool:
        """Whether the request that is being answered came by TLS."""
        return getattr(self._of_thread, "is_tls", False)

    def dripping(self, start: bytes) -> Callable[[], Iterator[bytes]]:
        """Return what says a byte now and then, until the other end hangs up."""

        def drip() -> Iterator[bytes]:
            yield start
            pause = threading.Event()
            while not pause.wait(0.05):
                yield b"a"

        return drip

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        if connection.recv(7, socket.MSG_PEEK) == b"CONNECT":
            connection.recv(65_536)
            self.tunnels += 1
            for piece in self.tunnel():
                connection.sendall(piece)
        if connection.recv(1, socket.MSG_PEEK) != b"\x16":
            super().serve(connection)
            return
        self.handshakes += 1
        for piece in self.hello():
            connection.sendall(piece)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / f"{self.certificate}.pem")
        with context.wrap_socket(connection, server_side=True) as tls:
            self._of_thread.is_tls = True
            super().serve(tls)
