"""Metrics of a mount: requests, downloads in flight, and recent failures."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import (
    PortalError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WebPageError,
)
from allenfs.fetch.downloads import UnderWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from allenfs.fetch.downloads import Download
    from allenfs.model.images import ImageRequest
    from allenfs.model.sheets import Request
    from allenfs.store.temp_file import TempFile

_REMEMBERED_FAILURES = 20
# Read ahead and not opened yet: of more, the oldest are never counted as used.
_REMEMBERED_AHEAD = 16_384


@dataclass(frozen=True, slots=True)
class Counts:
    """How often something happened since the mount, and how many bytes.

    Attributes
    ----------
    hits, misses, failed : int
        Opens of images: that found them in the store, that waited for a download,
        and that got none.
    read_bytes : int
        Of images, as the kernel has asked for them: what it has in its memory, it
        does not ask for again.
    requests, failed_requests : int
        Of the service, for images and records; a redirect does not count.
    downloads, downloaded_bytes : int
        Whole images; the bytes of all attempts that have ended.
    ahead, ahead_used : int
        Images downloaded ahead, and those of them that were opened later.
    """

    hits: int = 0
    misses: int = 0
    failed: int = 0
    read_bytes: int = 0
    requests: int = 0
    failed_requests: int = 0
    downloads: int = 0
    downloaded_bytes: int = 0
    ahead: int = 0
    ahead_used: int = 0


class Failure(NamedTuple):
    """A request that failed."""

    time_ns: int
    path: str
    url: str
    cause: str
    errno_name: str


class Contact(NamedTuple):
    """What was heard of the service last, as far as something was.

    Attributes
    ----------
    is_reachable : bool or None
        Whether the service itself answered; None where it was not asked yet.
    answered_ns, failed_ns : int or None
        Times of the last answer and of the last request that failed.
    cause : str or None
        Why that one did.
    """

    is_reachable: bool | None = None
    answered_ns: int | None = None
    failed_ns: int | None = None
    cause: str | None = None


class Activity:
    """The ledger. Safe to use from many threads.

    Its lock is held for no longer than it takes to add something up.

    Parameters
    ----------
    api_url : str
        Base of the URLs.
    clock, clock_ns : callable
        Monotonic seconds; nanoseconds since the epoch.
    """

    def __init__(
        self,
        api_url: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._api_url = api_url
        self._clock = clock
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._counts: dict[str, int] = dict.fromkeys(Counts.__slots__, 0)
        self._contact = Contact()
        self._page_url: str | None = None  # got a web page since the last answer
        self._failures: deque[Failure] = deque(maxlen=_REMEMBERED_FAILURES)
        self._under_way: dict[UnderWay, None] = {}  # the oldest first
        self._unused: dict[Request, None] = {}  # downloaded ahead

    def opened(self, request: Request, *, was_here: bool) -> None:
        """Count an open that got its image: at once, or by waiting for it."""
        with self._lock:
            self._counts["hits" if was_here else "misses"] += 1
            if self._unused and request in self._unused:
                del self._unused[request]
                self._counts["ahead_used"] += 1

    def opened_again(self) -> None:
        """Take back the hit of an open that the kernel had to repeat."""
        with self._lock:
            self._counts["hits"] -= 1

    def not_opened(self) -> None:
        """Count an open that got no image."""
        with self._lock:
            self._counts["failed"] += 1

    def read(self, size_bytes: int) -> None:
        """Count bytes of an image that were given to a reader."""
        with self._lock:
            self._counts["read_bytes"] += size_bytes

    def heard(self, error: ServiceError | None) -> None:
        """Count a request of the service that has ended."""
        now_ns = self._clock_ns()
        with self._lock:
            self._counts["requests"] += 1
            if error is None:
                self._page_url = None
                self._contact = self._contact._replace(
                    is_reachable=True, answered_ns=now_ns
                )
                return
            self._counts["failed_requests"] += 1
            is_away = self._is_away(error)
            self._contact = Contact(
                is_reachable=not is_away,
                answered_ns=self._contact.answered_ns if is_away else now_ns,
                failed_ns=now_ns,
                cause=error.cause,
            )

    def _is_away(self, error: ServiceError) -> bool:
        """Whether nothing answered, or something else in the service's place."""
        if isinstance(error, WebPageError) and self._contact.is_reachable:
            # of a single image, it may be that image's trouble
            self._page_url = self._page_url or error.url
            return error.url != self._page_url
        away = UnreachableError, ServiceTimeoutError, PortalError
        return isinstance(error, away)

    def failed(self, path: str, error: ServiceError) -> None:
        """Record a failed request."""
        name = errno.errorcode.get(error.errno, str(error.errno))
        failure = Failure(self._clock_ns(), path, error.url, error.cause, name)
        with self._lock:
            self._failures.append(failure)

    @contextlib.contextmanager
    def downloading(
        self,
        request: ImageRequest,
        temp_file: TempFile,
        slot: AbstractContextManager[object],
        *,
        is_ahead: bool,
    ) -> Iterator[AbstractContextManager[object]]:
        """Follow a download for the block, which ends well when it is whole.

        Yields
        ------
        context manager
            To be entered for each attempt instead of `slot`.
        """
        download = UnderWay(
            request, temp_file, started_s=self._clock(), is_ahead=is_ahead
        )
        with self._lock:
            self._under_way[download] = None
        is_whole = False
        try:
            yield download.attempts(slot, self._attempt_ended)
            is_whole = True
        finally:
            with self._lock:
                del self._under_way[download]
                if is_whole:
                    self._landed(download)

    def _landed(self, download: UnderWay) -> None:
        self._counts["downloads"] += 1
        self._unused.pop(download.request, None)
        if download.is_ahead:
            self._counts["ahead"] += 1
            self._unused[download.request] = None
            if len(self._unused) > _REMEMBERED_AHEAD:
                del self._unused[next(iter(self._unused))]

    def _attempt_ended(self, size_bytes: int) -> None:
        with self._lock:
            self._counts["downloaded_bytes"] += size_bytes

    @property
    def counts(self) -> Counts:
        """All of one moment."""
        with self._lock:
            return replace(Counts(), **self._counts)

    @property
    def contact(self) -> Contact:
        """What was heard of the service."""
        return self._contact

    @property
    def failures(self) -> list[Failure]:
        """The last ones, the newest first."""
        with self._lock:
            return list(reversed(self._failures))

    @property
    def downloads(self) -> list[Download]:
        """Those under way, the oldest first."""
        now_s = self._clock()
        with self._lock:
            under_way = list(self._under_way)
        return [download.told(self._api_url, now_s) for download in under_way]
