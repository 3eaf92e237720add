"""Thread-safe counters of the sample service's requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto


class Asked(Enum):
    """The kind of a request."""

    IMAGE = auto()
    QUERY = auto()


@dataclass(eq=False, frozen=True, slots=True)
class _UnderWay:
    asked: Asked
    is_given_up: Callable[[], bool]


class Traffic:
    """Counts connections, image downloads and queries, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[Asked, list[str]] = {asked: [] for asked in Asked}
        self._headers: dict[Asked, list[dict[str, str]]] = {a: [] for a in Asked}
        self._connections = 0
        self._under_way: list[_UnderWay] = []
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
        """Reset everything except requests in progress, which are the new peak."""
        with self._lock:
            for asked in Asked:
                self._targets[asked].clear()
                self._headers[asked].clear()
            self._connections = 0
            self._peak_images, self._peak_all = self._count()

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
    def under_way(
        self, asked: Asked, is_given_up: Callable[[], bool]
    ) -> Iterator[Callable[[], None]]:
        """Count one query, or either leg of a download, as under way in the block.

        It stops counting once `is_given_up` reports that its client has gone: a client
        that aborts a request and sends the next has one in progress, whenever the
        server notices.

        Yields a function that ends the count earlier, to be called just before the last
        bytes are sent: a client that has them may request the next image before this
        thread runs again, and would seem to have two requests under way.
        """
        request = _UnderWay(asked, is_given_up)
        with self._lock:
            self._under_way.append(request)
            images, all_requests = self._count()
            self._peak_images = max(self._peak_images, images)
            self._peak_all = max(self._peak_all, all_requests)

        def done() -> None:
            with self._lock:
                if request in self._under_way:
                    self._under_way.remove(request)

        try:
            yield done
        finally:
            done()

    def _count(self) -> tuple[int, int]:
        """Return the number of images, and of all requests, in progress."""
        awaited = [one for one in self._under_way if not one.is_given_up()]
        return sum(one.asked is Asked.IMAGE for one in awaited), len(awaited)
