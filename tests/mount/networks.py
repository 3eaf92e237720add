"""What stands between a mount and its service: authorities, TLS, proxies, log-ins."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path

from listener import Listener

_PIECE_BYTES = 65_536
_OPENSSL_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_SOCKS5, _NO_PASSWORD, _CONNECT, _NAME, _IPV4 = 5, 0, 1, 3, 1


class Authority:
    """Signs certificates, as a campus or an inspecting proxy does.

    Its own certificate lacks the key usage that RFC 5280 requires, as old ones do.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = folder / "authority.key"
        self.bundle = folder / "authority.pem"
        self._openssl(
            *("req", "-x509", *_OPENSSL_CURVE, "-subj", f"/CN=Authority {folder.name}"),
            *("-days", "2", "-keyout", self._key, "-out", self.bundle),
        )

    def certify(self, *names: str) -> Path:
        """Return a certificate of these names, with its key."""
        request, certificate = self._folder / "request", self._folder / "service.crt"
        key, names_file = self._folder / "service.key", self._folder / "names"
        kinds = ["IP" if name[-1].isdecimal() else "DNS" for name in names]
        listed = ",".join(map(":".join, zip(kinds, names, strict=True)))
        names_file.write_text(f"subjectAltName={listed}\n")
        self._openssl(
            *("req", *_OPENSSL_CURVE, "-subj", f"/CN={names[0]}"),
            *("-keyout", key, "-out", request),
        )
        self._openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-extfile", names_file),
            *("-CA", self.bundle, "-CAkey", self._key, "-CAcreateserial"),
            *("-out", certificate),
        )
        pem = self._folder / f"{names[0]}.pem"
        pem.write_text(certificate.read_text() + key.read_text())
        return pem

    def hashed(self, folder: Path) -> Path:
        """Fill `folder` as `openssl rehash` does."""
        folder.mkdir()
        name = self._openssl("x509", "-in", self.bundle, "-noout", "-hash").strip()
        (folder / f"{name}.0").write_bytes(self.bundle.read_bytes())
        return folder

    def _openssl(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            ["openssl", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "LANG": "C"},
        )
        return done.stdout


class _Relay(Listener):
    """Leads connections to `port`.

    Parameters
    ----------
    certificate : Path or None
        With which to speak TLS.
    """

    def __init__(self, port: int, certificate: Path | None = None) -> None:
        super().__init__()
        self._to_port = port
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)

    def serve(self, connection: socket.socket) -> None:
        if self._context is None:
            self._talk(connection)
            return
        with self._context.wrap_socket(connection, server_side=True) as tls:
            self._open.append(tls)
            self._talk(tls)

    def _talk(self, connection: socket.socket) -> None:
        self._lead(connection, b"")

    def _lead(self, connection: socket.socket, said: bytes) -> None:
        """Say `said` at the other end, and then what either end says to the other.

        The sample service redirects to its own address; here that is a path.
        """
        own = f"Location: http://127.0.0.1:{self._to_port}/".encode()
        with socket.create_connection(("127.0.0.1", self._to_port)) as other:
            self._open.append(other)
            other.sendall(said)
            ends = {connection: other, other: connection}
            while True:
                ready = [one for one in ends if _has_more(one)]
                for one in ready or select.select(list(ends), [], [])[0]:
                    piece = one.recv(_PIECE_BYTES)
                    if not piece:
                        return
                    ends[one].sendall(piece.replace(own, b"Location: /"))


def _has_more(connection: socket.socket) -> bool:
    return isinstance(connection, ssl.SSLSocket) and connection.pending() > 0


class TlsFront(_Relay):
    """Speaks TLS for a service that does not."""


class LogIn(_Relay):
    """Accepts clients with the right header.

    Attributes
    ----------
    heads : list of str
        The request headers.
    """

    header, refusal = "authorization", "401 Unauthorized"

    def __init__(
        self, port: int, user: str = "", certificate: Path | None = None
    ) -> None:
        super().__init__(port, certificate)
        self.heads: list[str] = []
        self._wanted = f"{self.header}: {basic(user)}" if user else ""

    def _talk(self, connection: socket.socket) -> None:
        said = b""
        while b"\r\n\r\n" not in said:
            piece = connection.recv(_PIECE_BYTES)
            if not piece:
                return
            said += piece
        head = said.decode("latin-1")
        self.heads.append(head)
        first, *fields = head.rstrip("\r\n").split("\r\n")
        said_fields = [one.partition(":") for one in fields]
        wanted = [f"{name.lower()}:{value}" for name, _, value in said_fields]
        if self._wanted and self._wanted not in wanted:
            answer = f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\n"
            connection.sendall(f"{answer}Connection: close\r\n\r\n".encode())
            return
        self._let_in(connection, first, fields)

    def _let_in(self, connection: socket.socket, first: str, fields: list[str]) -> None:
        kept = [one for one in fields if not one.lower().startswith("connection:")]
        lines = [first, *kept, "Connection: close", "", ""]
        self._lead(connection, "\r\n".join(lines).encode("latin-1"))


class Proxy(LogIn):
    """A forward proxy; all addresses lead to one port."""

    header, refusal = "proxy-authorization", "407 Proxy Authentication Required"

    def _let_in(self, connection: socket.socket, first: str, fields: list[str]) -> None:
        method, target, version = first.split(" ")
        if method == "CONNECT":
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._lead(connection, b"")
            return
        path = "/" + target.split("/", 3)[3]
        super()._let_in(connection, f"{method} {path} {version}", fields)


class SocksProxy(_Relay):
    """SOCKS 5 without a password; all addresses lead to one port.

    Attributes
    ----------
    asked : list of (str, int)
        Hosts and ports.
    is_dripping : bool
        Whether its reply takes for ever, a byte at a time.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.asked: list[tuple[str, int]] = []
        self.is_dripping = False

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as said:
            version, count = said.read(2)
            assert (version, _NO_PASSWORD in said.read(count)) == (_SOCKS5, True)
            connection.sendall(bytes([_SOCKS5, _NO_PASSWORD]))
            version, command, _, kind = said.read(4)
            assert (version, command) == (_SOCKS5, _CONNECT)
            if kind == _NAME:
                host = said.read(said.read(1)[0]).decode()
            else:
                assert kind == _IPV4
                host = socket.inet_ntoa(said.read(4))
            self.asked.append((host, *struct.unpack("!H", said.read(2))))
        pause = threading.Event()
        reply = bytes([_SOCKS5, 0, 0, _NAME, 255])
        with contextlib.suppress(OSError):
            while self.is_dripping:
                connection.sendall(reply)
                reply = b"a"
                pause.wait(0.05)
        connection.sendall(bytes([_SOCKS5, 0, 0, _IPV4, *bytes(6)]))
        self._lead(connection, b"")


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"
