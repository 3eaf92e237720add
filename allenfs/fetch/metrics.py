"""Metrics of a mount: requests, downloads in progress, and recent failures."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import (
    PortalError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WebPageError,
)
from allenfs.text import utc_time

if TYPE_CHECKING:
    from allenfs.model.sheets import Download, Request
    from allenfs.service.slots import Slot
    from allenfs.store.stored_file import TempFile

WAITING, DOWNLOADING = "waiting", "downloading"
PAUSING, STORING = "pausing", "storing"
_REMEMBERED_FAILURES = 20
# Images read ahead and not opened yet; the oldest of more are not counted as used.
_REMEMBERED_AHEAD = 16_384


@dataclass(frozen=True, slots=True)
class Counts:
    """How often something happened since the mount, and how many bytes."""

    # Opens of images: found in the store, after a download, and failed.
    hits: int = 0
    misses: int = 0
    failed: int = 0
    # Reads of images by the kernel, which does not repeat those in its page cache.
    read_bytes: int = 0
    # Requests to the service, for images and records; redirects do not count.
    requests: int = 0
    failed_requests: int = 0
    # Complete images; the bytes of all attempts that have ended.
    downloads: int = 0
    downloaded_bytes: int = 0
    # Images downloaded ahead, and how many of them were opened later.
    ahead: int = 0
    ahead_used: int = 0


class Contact(NamedTuple):
    """The last contact with the service."""

    is_reachable: bool | None = None  # None before the first request
    answered_ns: int | None = None
    failed_ns: int | None = None
    cause: str | None = None  # of the last failure


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStatus:
    """A request of a user that failed; `errno` is its name, such as ``ENOENT``."""

    time: dt.datetime
    path: str
    url: str | None
    cause: str
    errno: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadStatus:
    """An image that is being downloaded."""

    path: str
    url: str
    state: str  # `WAITING` for a connection, `DOWNLOADING`, `PAUSING` or `STORING`
    attempt: int  # from 1; 0 while it waits for the first
    bytes: int  # received in this attempt
    total_bytes: int | None  # as announced by the service
    seconds: float  # since it was requested
    ahead: bool  # whether it began before the image was opened


@dataclass(eq=False)
class _Running(contextlib.AbstractContextManager[None]):
    """A download in progress, entered for each attempt, which then holds the slot.

    Only its own thread writes; others read.
    """

    activity: Activity
    request: Download
    temp_file: TempFile
    slot: Slot
    is_ahead: bool
    started_s: float
    state: str = WAITING
    attempt: int = 0

    def __enter__(self) -> None:
        self.state = WAITING
        self.slot.__enter__()
        self.attempt += 1
        self.state = DOWNLOADING

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.state = PAUSING if error is not None else STORING
        self.activity.add("downloaded_bytes", self.temp_file.size_bytes)
        self.slot.__exit__()


class Activity:
    """The metrics. Safe to use from many threads."""

    def __init__(
        self,
        api_url: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        self._api_url = api_url
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._counts: dict[str, int] = dict.fromkeys(Counts.__slots__, 0)
        self._contact = Contact()
        self._page_url: str | None = None  # got a web page since the last answer
        self._failures: deque[FailureStatus] = deque(maxlen=_REMEMBERED_FAILURES)
        self._running: dict[_Running, None] = {}  # the oldest first
        self._unused: dict[Request, None] = {}  # downloaded ahead

    def add(self, name: str, number: int = 1) -> None:
        """Add to one of the `Counts`."""
        with self._lock:
            self._counts[name] += number

    def opened(self, request: Request, *, was_here: bool) -> None:
        """Count a successful open: at once, or after a download."""
        with self._lock:
            self._counts["hits" if was_here else "misses"] += 1
            if self._unused and request in self._unused:
                del self._unused[request]
                self._counts["ahead_used"] += 1

    def attempted(self, error: ServiceError | None) -> None:
        """Count a request to the service that has ended."""
        now_ns = self._clock_ns()
        with self._lock:
            self._counts["requests"] += 1
            self._counts["failed_requests"] += error is not None
            is_away = error is not None and self._is_away(error)
            contact = self._contact._replace(is_reachable=not is_away)
            if not is_away:
                contact = contact._replace(answered_ns=now_ns)
            if error is None:
                self._page_url = None
            else:
                contact = contact._replace(failed_ns=now_ns, cause=error.cause)
            self._contact = contact

    def _is_away(self, error: ServiceError) -> bool:
        """Whether nothing answered, or something other than the service."""
        if isinstance(error, WebPageError) and self._contact.is_reachable:
            # for one image only, it may be broken at the service
            self._page_url = self._page_url or error.url
            return error.url != self._page_url
        return isinstance(error, (UnreachableError, ServiceTimeoutError, PortalError))

    def failed(self, path: str, error: ServiceError) -> None:
        """Record a failed request."""
        failure = FailureStatus(
            time=utc_time(self._clock_ns()),
            path=path,
            url=error.url or None,
            cause=error.cause,
            errno=errno.errorcode.get(error.errno, str(error.errno)),
        )
        with self._lock:
            self._failures.append(failure)

    @contextlib.contextmanager
    def downloading(
        self,
        request: Download,
        temp_file: TempFile,
        slot: Slot,
        *,
        is_ahead: bool,
    ) -> Iterator[contextlib.AbstractContextManager[None]]:
        """Track a download during the block, which succeeds if the image is complete.

        Yields a context manager to enter for each attempt, in place of `slot`.
        """
        running = _Running(self, request, temp_file, slot, is_ahead, self._clock())
        with self._lock:
            self._running[running] = None
        try:
            yield running
        finally:
            with self._lock:
                del self._running[running]
        with self._lock:
            self._counts["downloads"] += 1
            self._unused.pop(request, None)
            if is_ahead:
                self._counts["ahead"] += 1
                self._unused[request] = None
                if len(self._unused) > _REMEMBERED_AHEAD:
                    del self._unused[next(iter(self._unused))]

    @property
    def counts(self) -> Counts:
        """A consistent snapshot."""
        with self._lock:
            return Counts(**self._counts)

    @property
    def contact(self) -> Contact:
        """The last contact with the service."""
        return self._contact

    @property
    def failures(self) -> list[FailureStatus]:
        """The last failures, newest first."""
        with self._lock:
            return list(reversed(self._failures))

    @property
    def downloads(self) -> list[DownloadStatus]:
        """The downloads in progress, oldest first."""
        with self._lock:
            running = list(self._running)
        now_s = self._clock()
        return [
            DownloadStatus(
                path=one.request.path,
                url=one.request.url(self._api_url),
                state=one.state,
                attempt=one.attempt,
                bytes=one.temp_file.size_bytes,
                total_bytes=one.temp_file.promised_bytes,
                seconds=round(now_s - one.started_s, 1),
                ahead=one.is_ahead,
            )
            for one in running
        ]
