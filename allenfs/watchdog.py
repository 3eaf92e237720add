"""Ends what a connection waits for when the time for it is over."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from allenfs.errors import ServiceTimeoutError

if TYPE_CHECKING:
    from typing_extensions import Self


class Watchdog:
    """Shuts the socket of this thread's request when `remaining_s` are over.

    A socket's own timeout counts from byte to byte: a header or a chunk size
    that comes a byte at a time would keep a thread and a connection for ever.
    """

    _of_thread = threading.local()

    def __init__(self, remaining_s: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._expired = False
        self._timer = threading.Timer(max(remaining_s, 0), self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._of_thread.watchdog = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._of_thread.watchdog = None
        with self._lock:
            self._socket = None

    @classmethod
    def look_after(cls, sock: socket.socket) -> None:
        """Let this thread's watchdog, if it has one, shut `sock` in time."""
        watchdog: Watchdog | None = getattr(cls._of_thread, "watchdog", None)
        if watchdog is not None:
            watchdog.guard(sock)

    def guard(self, sock: socket.socket) -> None:
        """Shut `sock` when the time is over."""
        with self._lock:
            self._socket = sock
        self.raise_if_expired()

    def raise_if_expired(self) -> None:
        """Raise ServiceTimeoutError once the time is over."""
        if self._expired:
            msg = "no whole answer within the deadline"
            raise ServiceTimeoutError(msg)

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # the plain socket's method: SSLSocket's own would pull its
                    # session from under the thread that reads
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
