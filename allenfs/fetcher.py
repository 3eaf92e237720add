"""How images are got: once each, a few at a time, failures remembered for a while."""

from __future__ import annotations

import copy
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cachetools import TLRUCache, TTLCache

from allenfs.errors import ImageNotFoundError, ServiceError
from allenfs.sealed import Known
from allenfs.single_flight import SingleFlight
from allenfs.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from allenfs.answers import Answer, Sink
    from allenfs.config import ServiceSettings
    from allenfs.images import ImageRequest, ImageService
    from allenfs.sealed import Image
    from allenfs.spool import Spool


log = logging.getLogger(__name__)

_REMEMBERED_FAILURES = 4096
# How long the last failure of an image can be read from the mount.
_REASON_MEMORY_S = 3600.0


class Service(Protocol):
    """Where images come from."""

    def fetch(
        self, request: ImageRequest, sink: Sink, turn: AbstractContextManager[object]
    ) -> Answer:
        """Download one image, each attempt in `turn`, or raise a ServiceError."""


class ImageStore(Protocol):
    """Where images are kept."""

    def find(self, request: ImageRequest, *, unread: bool) -> Image | None:
        """Open a stored image; where `unread`, also one never compared yet."""

    def peek(self, request: ImageRequest) -> Known | None:
        """Return size and time of a stored image, quickly."""

    def spool(self) -> Spool:
        """Return a new place for the bytes of a download."""

    def add(
        self, request: ImageRequest, spool: Spool, modified_ns: int | None
    ) -> Image:
        """Keep a checked download."""

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids of the stored images of one service."""


class _Failure(NamedTuple):
    error: ServiceError
    memory_s: float


def _forget_at(_request: ImageRequest, failure: _Failure, now_s: float) -> float:
    return now_s + failure.memory_s


class Fetcher:
    """Gets images from the store, else from the service. Safe from many threads.

    One image is downloaded by one thread, however many wait for it; they share
    what comes of it. Downloads go on when nobody waits any more.

    Parameters
    ----------
    service, store
        What it stands on.
    settings : ServiceSettings
        How long failures are remembered.
    turns : Turns, optional
        Whose requests count together; else `connections` downloads at a time.
    clock : callable
        Monotonic seconds, for the memory of failures.
    """

    def __init__(
        self,
        service: Service,
        store: ImageStore,
        settings: ServiceSettings,
        *,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._store = store
        self._settings = settings
        self._turns = turns or Turns(settings.connections)
        self._lock = threading.Lock()
        self._flights: SingleFlight[ImageRequest, Image] = SingleFlight()
        # Images that somebody holds. A second reader gets the same object: the
        # kernel has one page cache for a file, whoever opened it.
        self._live: weakref.WeakValueDictionary[ImageRequest, Image] = (
            weakref.WeakValueDictionary()
        )
        self._used: set[tuple[ImageService, int]] = set()
        self._failures: TLRUCache[ImageRequest, _Failure, float] = TLRUCache(
            _REMEMBERED_FAILURES, _forget_at, timer=clock
        )
        self._reasons: TTLCache[ImageRequest, str, float] = TTLCache(
            _REMEMBERED_FAILURES, _REASON_MEMORY_S, timer=clock
        )

    def get(
        self,
        request: ImageRequest,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> Image:
        """Return the whole, checked image; wait for its download.

        Parameters
        ----------
        interrupted : callable
            Looked at, by the waiting thread, many times a second.

        Raises
        ------
        ServiceError
            The service gave no image, now or a short while ago.
        InterruptedWaitError
            `interrupted` said so. The download goes on.
        """
        image = self._held(request) or self._store.find(request, unread=False)
        if image is not None:
            return self._landed(request, image)
        self._raise_remembered(request)
        return self._flights.run(request, lambda: self._fly(request), interrupted)

    def peek(self, request: ImageRequest) -> Known | None:
        """Return size and time of an image that is here, without opening it."""
        image = self._held(request)
        if image is not None:
            return Known(image.facts.size_bytes, image.facts.modified_ns)
        return self._store.peek(request)

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids of one service whose images were opened: now, or kept from before."""
        with self._lock:
            used = {image_id for used, image_id in self._used if used is service}
        return sorted(used.union(self._store.used_ids(service)))

    def last_failure(self, request: ImageRequest) -> str | None:
        """Why the last download of this image failed, in words; None if it did not."""
        with self._lock:
            reason: str | None = self._reasons.get(request)
        return reason

    def _held(self, request: ImageRequest) -> Image | None:
        with self._lock:
            return self._live.get(request)

    def _raise_remembered(self, request: ImageRequest) -> None:
        with self._lock:
            failure = self._failures.get(request)
        # A failure does not hide what another mount has stored since.
        if failure is not None and self._store.peek(request) is None:
            # a copy: each raising adds to an exception's traceback
            raise copy.copy(failure.error)

    def _fly(self, request: ImageRequest) -> Image:
        # What landed, or failed, between the caller's look and this one.
        image = self._held(request)
        if image is not None:
            return image
        self._raise_remembered(request)
        try:
            return self._landed(request, self._found_or_downloaded(request))
        except ServiceError as error:
            self._failed(request, error)
            raise

    def _found_or_downloaded(self, request: ImageRequest) -> Image:
        # Comparing a checksum takes time, so that it is here, where a waiting
        # process can be interrupted, and is done once for all that wait.
        image = self._store.find(request, unread=True)
        if image is not None:
            return image
        spool = self._store.spool()
        try:
            answer = self._service.fetch(request, spool, self._turns.for_image)
            return self._store.add(request, spool, answer.modified_ns)
        finally:
            spool.close()

    def _landed(self, request: ImageRequest, image: Image) -> Image:
        with self._lock:
            self._failures.pop(request, None)
            self._reasons.pop(request, None)
            self._used.add((request.service, request.image_id))
            return self._live.setdefault(request, image)

    def _failed(self, request: ImageRequest, error: ServiceError) -> None:
        log.warning("%s: %s", request.path, error)
        memory_s = self._settings.failure_memory_s
        if isinstance(error, ImageNotFoundError):
            memory_s = self._settings.not_found_memory_s
        with self._lock:
            # a copy: the traceback holds all that the download used
            self._failures[request] = _Failure(copy.copy(error), memory_s)
            self._reasons[request] = str(error)
