"""Aborts a connection when its deadline passes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

from allenfs.errors import (
    AllenFSError,
    CutAnswerError,
    ServiceTimeoutError,
    WrongAnswerError,
)
from allenfs.service import threads

if TYPE_CHECKING:
    from typing_extensions import Self

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

    def __enter__(self) -> Self:
        threads.start(self._timer)
        _of_thread.watchdog = self
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._timer.cancel()
        _of_thread.watchdog = None
        self._replace_socket(None)
        # other errors of ours: a status that came in time, or an error of the sink
        is_ours = isinstance(error, AllenFSError)
        if not is_ours or isinstance(error, (CutAnswerError, WrongAnswerError)):
            self._raise_if_expired()

    def guard(self, descriptor: int) -> None:
        """Shut a socket down at the deadline, instead of the previous one."""
        # A duplicate stays valid: a TLS handshake moves the descriptor to another
        # object, and a closed descriptor's number is soon another connection's.
        self._replace_socket(socket.socket(fileno=os.dup(descriptor)))
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


def guard(descriptor: int) -> None:
    """Register a socket with this thread's watchdog, if it has one."""
    watchdog: Watchdog | None = getattr(_of_thread, "watchdog", None)
    if watchdog is not None:
        watchdog.guard(descriptor)
