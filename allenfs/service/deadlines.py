"""End requests whose time is over: sockets know no deadline."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from allenfs.errors import (
    AllenFSError,
    CutAnswerError,
    ServiceTimeoutError,
    WrongAnswerError,
)
from allenfs.service.single_flight import start_thread

_of_thread = threading.local()


class Deadlines:
    """One thread that ends requests whose time is over. Safe to use from many threads.

    A thread for each request would take longer to start than a small image to arrive.
    It starts with the first request, and ends when it wakes up without one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends_s: dict[Watchdog, float] = {}
        self._wakes_s: float | None = None  # None: the thread does not run

    def add(self, watchdog: Watchdog, remaining_s: float) -> None:
        """Call `expire` of a watchdog after `remaining_s`; raise ProcessLimitError."""
        ends_s = time.monotonic() + remaining_s
        with self._changed:
            if self._wakes_s is None:
                start_thread(threading.Thread(target=self._run, daemon=True))
                self._wakes_s = ends_s
            elif ends_s < self._wakes_s:
                self._changed.notify()
            self._ends_s[watchdog] = ends_s

    def remove(self, watchdog: Watchdog) -> None:
        """Forget a watchdog whose request has ended."""
        with self._changed:
            self._ends_s.pop(watchdog, None)

    def _run(self) -> None:
        while watchdogs := self._due():
            for watchdog in watchdogs:
                watchdog.expire()

    def _due(self) -> list[Watchdog]:
        """Wait until the time of some is over; return none if there are no requests."""
        with self._changed:
            while self._ends_s:
                self._wakes_s = min(self._ends_s.values())
                now_s = time.monotonic()
                due = [one for one, end in self._ends_s.items() if end <= now_s]
                for one in due:
                    del self._ends_s[one]
                if due:
                    return due
                self._changed.wait(self._wakes_s - now_s)
            self._wakes_s = None
            return []


class Watchdog:
    """Shuts down the socket of this thread's request after `remaining_s`.

    A socket's timeout restarts with each byte: a header or a chunk size that arrives
    one byte at a time would occupy a thread and a connection forever.

    Raises ServiceTimeoutError at the end of the block if the time is over: a connection
    that was shut down looks like a complete or a broken response.
    """

    def __init__(self, deadlines: Deadlines, remaining_s: float) -> None:
        self._deadlines = deadlines
        self._remaining_s = remaining_s
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._expired = False

    def __enter__(self) -> None:
        self._deadlines.add(self, self._remaining_s)
        _of_thread.watchdog = self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._deadlines.remove(self)
        _of_thread.watchdog = None
        self._replace_socket(None)
        # our other errors: a status that came in time, or an error of the sink
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
            raise ServiceTimeoutError("no whole answer within the deadline")

    def expire(self) -> None:
        """Shut the socket down: the time is over."""
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


def guard(sock: socket.socket) -> None:
    """Let the watchdog of this thread's request, if any, shut down a socket."""
    watchdog: Watchdog | None = getattr(_of_thread, "watchdog", None)
    if watchdog is not None:
        watchdog.guard(sock)
