"""The sample service on a loopback port, for mounts and tests."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Final, cast

from allenfs.errors import ProcessLimitError
from allenfs.sample.faults import Fault
from allenfs.sample.handler import Handler
from allenfs.sample.rma import Rules
from allenfs.sample.stage import Stage
from allenfs.sample.traffic import Asked
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from typing_extensions import Self

    from allenfs.sample.database import Database

__all__ = ["Fault", "SampleService"]

logger = safe_logger(__name__)

_Request = socket.socket | tuple[bytes, socket.socket]

_HOST: Final = "127.0.0.1"
_POLL_S: Final = 0.05
#: how long close() waits for responses in progress; their threads are daemons
_CLOSE_S: Final = 5.0


class SampleService:
    """Serves drawn images and a small database on 127.0.0.1, and faults on request.

    The constructor does no I/O; every method may be called from any thread.

    Parameters
    ----------
    port
        TCP port; 0 takes any free one.
    latency_s
        Seconds from the request that ends a download to the answer's first byte, at
        least; drawing counts.
    query_latency_s
        The same before the answer to a query.
    database
        The data for queries; by default, the database of the sample.
    include_filters_rows
        A filter inside an include also drops rows whose included list becomes empty.
    page_rows
        The maximum number of rows on a page.
    caps_all
        `page_rows` also limits `num_rows$eqall`.
    joined_pages
        Pages are counted in joined rows, and cut the lists of an include.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        latency_s: float = 0.0,
        query_latency_s: float = 0.0,
        database: Database | None = None,
        include_filters_rows: bool = True,
        page_rows: int = 2000,
        caps_all: bool = False,
        joined_pages: bool = False,
    ) -> None:
        self._port = port
        self._stage = Stage(
            latency_s=latency_s,
            query_latency_s=query_latency_s,
            database=database,
            rules=Rules(include_filters_rows, page_rows, caps_all, joined_pages),
        )
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen, and serve in daemon threads.

        OSError if the port is taken, ProcessLimitError if no thread can be started.
        """
        server = _Server((_HOST, self._port), self._stage)
        serving = threading.Thread(
            target=server.serve_forever,
            args=(_POLL_S,),
            name="sample-service",
            daemon=True,
        )
        try:
            serving.start()
        except RuntimeError as error:
            server.server_close()
            raise ProcessLimitError(str(error)) from error
        self._server = server
        self._stage.open(f"http://{_HOST}:{server.server_address[1]}")

    def close(self) -> None:
        """Stop listening, close every connection, and wait for their threads."""
        server = self._server
        if server is None:
            return
        self._stage.close()
        self.stop_listening()
        server.cut_connections(_CLOSE_S)

    def stop_listening(self) -> None:
        """Accept no more connections; those that are open go on."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        """Start the service."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the service."""
        self.close()

    @property
    def url(self) -> str:
        """Address, `http://127.0.0.1:PORT`; empty before the first start."""
        return self._stage.url

    def fail(
        self, fault: Fault, *, image_id: int | None = None, times: int | None = None
    ) -> None:
        """Answer the next `times` image requests with `fault`, or all until heal().

        Only requests of `image_id` if it is given; a drawing is one of its image.
        Counted faults are used up in the order of the calls, before an endless one.
        """
        self._stage.fail(fault, image_id=image_id, times=times)

    def fail_queries(self, fault: Fault, *, times: int | None = None) -> None:
        """Answer the next `times` queries with `fault`, or all until heal()."""
        self._stage.fail_queries(fault, times=times)

    def fail_sometimes(
        self, share: float, faults: Sequence[Fault] = tuple(Fault), *, seed: int = 0
    ) -> None:
        """Answer a `share` of images and queries with one of `faults`, until heal().

        Only if no other fault is planned. A generator with `seed` chooses.
        """
        self._stage.fail_sometimes(share, faults, seed)

    def heal(self) -> None:
        """Forget all faults, and end the open-ended ones that are being answered."""
        self._stage.heal()

    def pause(self) -> None:
        """Hold image answers before their first byte until resume()."""
        self._stage.running.clear()

    def resume(self) -> None:
        """Release the held answers."""
        self._stage.running.set()

    @property
    def image_requests(self) -> int:
        """Images and drawings requested so far, without a redirect's second leg."""
        return len(self.requested)

    @property
    def requested(self) -> list[str]:
        """Targets of the image requests, path and query, in order of arrival."""
        return self._stage.traffic.targets(Asked.IMAGE)

    @property
    def headers(self) -> list[dict[str, str]]:
        """Request headers of the image requests, in order of arrival."""
        return self._stage.traffic.headers(Asked.IMAGE)

    @property
    def query_requests(self) -> int:
        """Queries so far, including rejected and failed ones."""
        return len(self.queried)

    @property
    def queried(self) -> list[str]:
        """Targets of the queries, in order of arrival."""
        return self._stage.traffic.targets(Asked.QUERY)

    @property
    def query_headers(self) -> list[dict[str, str]]:
        """Request headers of the queries, in order of arrival."""
        return self._stage.traffic.headers(Asked.QUERY)

    @property
    def peak_requests(self) -> int:
        """Highest number of image downloads under way at once, counting either leg."""
        return self._stage.traffic.peak_images

    @property
    def peak_all_requests(self) -> int:
        """Highest number of image downloads and queries under way at once."""
        return self._stage.traffic.peak_all

    @property
    def connections(self) -> int:
        """TCP connections accepted so far."""
        return self._stage.traffic.connections

    def reset_counters(self) -> None:
        """Reset all counts."""
        self._stage.traffic.reset()


class _Server(ThreadingHTTPServer):
    """Threads and sockets of one started service."""

    daemon_threads = True
    # 50 clients can connect faster than one thread accepts them.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], stage: Stage) -> None:
        self._traffic = stage.traffic
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._has_warned = False
        handler = type("SampleHandler", (Handler,), {"backstage": stage})
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without the look-up of a host name that the base class makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def process_request(self, request: _Request, client_address: object) -> None:
        """Count the connection, and track it until it is closed."""
        self._traffic.count_connection()
        connection = cast("socket.socket", request)
        with self._changed:
            self._open.add(connection)
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:
            # no more threads: drop the client, which may retry
            if not self._has_warned:
                logger.warning("a connection is closed at once: %s", error)
            self._has_warned = True
            self.shutdown_request(request)

    def shutdown_request(self, request: _Request) -> None:
        """Close the connection and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(cast("socket.socket", request))
            self._changed.notify_all()

    def handle_error(self, request: _Request, client_address: object) -> None:
        """Ignore clients that disconnect; log bugs."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logger.error("request %s from %s", request, client_address, exc_info=error)

    def cut_connections(self, timeout_s: float) -> None:
        """Shut every open connection down and wait until their threads are done."""
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout_s)
