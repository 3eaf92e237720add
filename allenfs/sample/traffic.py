"""What the sample service has been asked so far: thread-safe counters."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Traffic:
    """Counts connections and image downloads; every method may run in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested: list[str] = []
        self._headers: list[dict[str, str]] = []
        self._connections = 0
        self._under_way = 0
        self._peak = 0

    @property
    def requested(self) -> list[str]:
        """Targets of the first legs, path and query, in order of arrival."""
        with self._lock:
            return list(self._requested)

    @property
    def headers(self) -> list[dict[str, str]]:
        """Request headers of the first legs, in order of arrival."""
        with self._lock:
            return [dict(fields) for fields in self._headers]

    @property
    def connections(self) -> int:
        """Accepted TCP connections."""
        with self._lock:
            return self._connections

    @property
    def peak(self) -> int:
        """Highest number of image downloads, of either leg, under way at once."""
        with self._lock:
            return self._peak

    def reset(self) -> None:
        """Forget everything but the downloads under way, which are the new peak."""
        with self._lock:
            self._requested.clear()
            self._headers.clear()
            self._connections = 0
            self._peak = self._under_way

    def count_connection(self) -> None:
        """Count one accepted TCP connection."""
        with self._lock:
            self._connections += 1

    def count_request(self, target: str, headers: dict[str, str]) -> None:
        """Count one first leg."""
        with self._lock:
            self._requested.append(target)
            self._headers.append(headers)

    @contextmanager
    def under_way(self) -> Iterator[Callable[[], None]]:
        """Count one download, of either leg, as under way inside the block.

        Yields a function that ends the count earlier: it is called just before the
        last bytes are sent, since a client that has them may ask for the next image
        before this thread runs again, and would seem to have two under way.
        """
        with self._lock:
            self._under_way += 1
            self._peak = max(self._peak, self._under_way)
        counted = 1

        def done() -> None:
            nonlocal counted
            with self._lock:
                self._under_way -= counted
                counted = 0

        try:
            yield done
        finally:
            done()
