"""What the sample service has been asked so far: thread-safe counters."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Asked(Enum):
    """What a request is for."""

    IMAGE = auto()
    QUERY = auto()


class Traffic:
    """Counts connections, image downloads and queries, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[Asked, list[str]] = {asked: [] for asked in Asked}
        self._headers: dict[Asked, list[dict[str, str]]] = {a: [] for a in Asked}
        self._connections = 0
        self._under_way = dict.fromkeys(Asked, 0)
        self._peak_images = 0
        self._peak_all = 0

    def targets(self, asked: Asked) -> list[str]:
        """Return path and query of the requests, in order of arrival.

        Of an image download only the first leg is one.
        """
        with self._lock:
            return list(self._targets[asked])

    def headers(self, asked: Asked) -> list[dict[str, str]]:
        """Return the headers of the requests, in order of arrival."""
        with self._lock:
            return [dict(fields) for fields in self._headers[asked]]

    @property
    def connections(self) -> int:
        """Accepted TCP connections."""
        with self._lock:
            return self._connections

    @property
    def peak_images(self) -> int:
        """Highest number of image downloads, of either leg, under way at once."""
        with self._lock:
            return self._peak_images

    @property
    def peak_all(self) -> int:
        """Highest number of image downloads and queries under way at once."""
        with self._lock:
            return self._peak_all

    def reset(self) -> None:
        """Forget everything but what is under way, which is the new peak."""
        with self._lock:
            for asked in Asked:
                self._targets[asked].clear()
                self._headers[asked].clear()
            self._connections = 0
            self._peak_images = self._under_way[Asked.IMAGE]
            self._peak_all = sum(self._under_way.values())

    def count_connection(self) -> None:
        """Count one accepted TCP connection."""
        with self._lock:
            self._connections += 1

    def count_request(self, asked: Asked, target: str, headers: dict[str, str]) -> None:
        """Count one query, or the first leg of one image download."""
        with self._lock:
            self._targets[asked].append(target)
            self._headers[asked].append(headers)

    @contextmanager
    def under_way(self, asked: Asked) -> Iterator[Callable[[], None]]:
        """Count one query, or either leg of a download, as under way in the block.

        Yields a function that ends the count earlier: it is called just before the
        last bytes are sent, since a client that has them may ask for the next image
        before this thread runs again, and would seem to have two under way.
        """
        with self._lock:
            self._under_way[asked] += 1
            self._peak_images = max(self._peak_images, self._under_way[Asked.IMAGE])
            self._peak_all = max(self._peak_all, sum(self._under_way.values()))
        counted = 1

        def done() -> None:
            nonlocal counted
            with self._lock:
                self._under_way[asked] -= counted
                counted = 0

        try:
            yield done
        finally:
            done()
