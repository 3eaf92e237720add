"""One HTTP response, written byte by byte to the real socket, well-formed or not."""

from __future__ import annotations

import html
import socket
import struct
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

Field = tuple[str, str]
Fields = tuple[Field, ...]

_CHUNK_BYTES: Final = 64 * 1024
#: how often an open-ended answer checks whether it may end
_LOOK_S: Final = 0.05


class Wire:
    """The server's side of one exchange.

    Parameters
    ----------
    connection
        The accepted socket.
    pause
        Waits the given seconds; returns true if the answer should end at once.
    without_body
        The request was HEAD: bodies are not sent.
    before_last
        Called before the last bytes of a whole answer are sent.
    """

    def __init__(
        self,
        connection: socket.socket,
        pause: Callable[[float], bool],
        *,
        without_body: bool = False,
        before_last: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._pause = pause
        self.without_body = without_body
        self._before_last = before_last
        self.keep_alive = True

    def head(self, status: int, fields: Fields = (), *, last: bool = False) -> None:
        """Send the status line and the header, including Apache's own fields.

        `last` says that no body follows.
        """
        if last or self.without_body:
            self._before_last()
        now = formatdate(usegmt=True)
        connection = "Keep-Alive" if self.keep_alive else "close"
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"Date: {now}",
            "Server: Apache",
            *(f"{name}: {value}" for name, value in fields),
        ]
        if self.keep_alive:
            lines.append("Keep-Alive: timeout=15, max=99")
        lines.append(f"Connection: {connection}")
        self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def raw(self, data: bytes) -> None:
        """Send bytes unchanged, even after HEAD."""
        self._connection.sendall(data)

    def body(self, data: bytes) -> None:
        """Send a body as it is, unless the request was HEAD."""
        if not self.without_body:
            self.raw(data[:-1])
            self._before_last()
            self.raw(data[-1:])

    def chunks(self, data: bytes, *, last: bool = True) -> None:
        """Send a body in chunks, and the empty last one unless it is disabled."""
        if self.without_body:
            return
        for start in range(0, len(data), _CHUNK_BYTES):
            part = data[start : start + _CHUNK_BYTES]
            self.raw(b"%x\r\n%b\r\n" % (len(part), part))
        if last:
            self._before_last()
            self.raw(b"0\r\n\r\n")

    def page(self, status: int, text: str, fields: Fields = ()) -> None:
        """Send a complete HTML page with the status and `text`."""
        title = f"{status} {HTTPStatus(status).phrase}"
        page = (
            "<!DOCTYPE HTML>\n"
            f"<html><head><title>{title}</title></head>\n"
            f"<body><h1>{title}</h1><p>{html.escape(text)}</p></body></html>\n"
        ).encode()
        length = ("Content-Length", str(len(page)))
        kind = ("Content-Type", "text/html; charset=utf-8")
        self.head(status, (*fields, length, kind))
        self.body(page)

    def drip(self, pieces: Iterable[bytes]) -> None:
        """Send the pieces, one now and then, until stopped or the client has gone."""
        for piece in pieces:
            if self._pause(_LOOK_S) or is_given_up(self._connection):
                break
            self.raw(piece)
        self.end()

    def flood(self, pieces: Iterable[bytes]) -> None:
        """Send the pieces as fast as they are read, until stopped."""
        for piece in pieces:
            if self._pause(0):
                break
            self.raw(piece)
        self.end()

    def silence(self) -> None:
        """Send nothing until stopped or the client has gone."""
        while not (self._pause(_LOOK_S) or is_given_up(self._connection)):
            pass
        self.end()

    def end(self) -> None:
        """Close the connection after this answer."""
        self.keep_alive = False

    def reset(self) -> None:
        """Close the connection with a reset (RST)."""
        self._connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.end()


def is_given_up(connection: socket.socket) -> bool:
    """Return whether the client has closed or reset its end."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
