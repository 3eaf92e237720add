"""A port of this machine, with a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import threading

from typing_extensions import Self


class Listener:
    """Serves connections, and cuts them at its end.

    Parameters
    ----------
    listening : socket, optional
        Where it listens; any free port of 127.0.0.1 without one.
    """

    def __init__(self, listening: socket.socket | None = None) -> None:
        self._listening = listening or socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listening.getsockname()[:2]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        # wakes accept(), which closing alone would not
        self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(30)
        self._listening.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, which is closed afterwards; OSError ends it."""
        raise NotImplementedError

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.serve(connection)
