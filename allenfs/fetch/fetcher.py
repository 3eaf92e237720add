"""Fetch images, each once and a few at a time; remember failures for a while."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import (
    AllenFSError,
    BrokenTileError,
    DamagedStoreError,
    ExhaustedError,
    ImageNotFoundError,
    LostTileError,
    ServiceError,
)
from allenfs.fetch.chunks import ChunkMaker
from allenfs.fetch.contact_sheet import SheetMaker
from allenfs.fetch.metrics import Activity
from allenfs.model.images import ImageService
from allenfs.model.sheets import Drawn
from allenfs.service.health import CircuitBreaker, FailureMemory, is_outage
from allenfs.service.single_flight import NOT_INTERRUPTED, Caller, SingleFlight
from allenfs.service.slots import Priority, Slots, not_shared
from allenfs.store.stored_file import Known
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings
    from allenfs.fetch.chunks import ChunkFile
    from allenfs.model.pyramids import Chunk
    from allenfs.model.sheets import Request
    from allenfs.service.client import AllenService
    from allenfs.service.slots import Slot, TryLock
    from allenfs.store.image_files import ImageFiles
    from allenfs.store.stored_file import Facts, Image, TempFile

log = safe_logger(__name__)

# How often to check whether another process has finished its download.
_POLL_S = 0.02


class _Result(NamedTuple):
    image: Image
    was_here: bool  # whether it was stored, without a download for this open


class Fetcher:
    """Gets images from the store, else from the service. Safe from many threads.

    One thread downloads an image, and all callers share the result. A download goes on
    when no caller waits for it any more. Of the processes that share a store, one
    downloads the image, and the others wait until it is stored. If that download fails,
    the next process tries it itself.

    Parameters
    ----------
    try_lock : callable, optional
        Acquires a lock by name and returns its release function; None if another
        process has it. By default, there are no other processes.
    """

    def __init__(
        self,
        service: AllenService,
        store: ImageFiles,
        settings: ServiceSettings,
        *,
        slots: Slots | None = None,
        try_lock: TryLock = not_shared,
        activity: Activity | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._sheets = SheetMaker(settings)
        self._chunks = ChunkMaker(store)
        self._store = store
        self._slots = slots or Slots(settings.connections)
        self._try_lock = try_lock
        self._deadline_s = settings.deadline_s
        # of a chunk: its tile came, but is not the right one
        self._failures: FailureMemory[Request | Chunk] = FailureMemory(
            settings, clock=clock
        )
        self._breaker = CircuitBreaker(settings.failure_memory_s, clock=clock)
        self._lock = threading.Lock()
        self._activity = activity or Activity()
        self._flights: SingleFlight[Request, _Result] = SingleFlight()
        # Open images. A second reader gets the same object, because the kernel has
        # one page cache for a file.
        self._live: weakref.WeakValueDictionary[Request, Image] = (
            weakref.WeakValueDictionary()
        )
        self._used: dict[ImageService, set[int]] = {one: set() for one in ImageService}
        self._is_last_one_stored = True

    def get(self, request: Request, caller: Caller = NOT_INTERRUPTED) -> Image:
        """Return the whole, checked image; wait for its download.

        Raises ServiceError if the download failed, now or a short while ago. After
        InterruptedWaitError, the download goes on.
        """
        try:
            image, was_here = self._get(request, caller)
        except BaseException:
            self._activity.add("failed")
            raise
        self._activity.opened(request, was_here=was_here)
        return image

    def get_chunk(self, chunk: Chunk, caller: Caller = NOT_INTERRUPTED) -> ChunkFile:
        """Return the pixels of a chunk; wait for the download of its tile.

        Raises as `get` does, but LostTileError in place of ImageNotFoundError, and
        BrokenTileError if the tile has another size. Such a tile is removed from the
        store: it is requested again when the failure is forgotten.
        """
        if (remembered := self._failures.remembered(chunk)) is not None:
            raise remembered
        try:
            tile = self.get(chunk.request, caller)
        except ImageNotFoundError as error:
            lost = LostTileError(error.cause)
            vars(lost).update(vars(error))  # url, attempts and elapsed_s
            raise lost from error
        try:
            made = self._chunks.make(chunk, tile)
        except BrokenTileError as error:
            with self._lock:  # one line of the log, not one for each reader
                is_known = self._failures.remembered(chunk) is not None
                self._failures.remember(chunk, error)
            if not is_known:
                path = chunk.request.path
                log.warning("%s: %s", path, error)
                self._activity.failed(path, error)
            with contextlib.suppress(OSError):  # the store has logged why
                self._store.evict(chunk.request)
            raise
        self._failures.forget(chunk)
        return made

    def _get(self, request: Request, caller: Caller) -> _Result:
        image = self._open_image(request)
        if image is not None:
            return _Result(image, was_here=True)
        image = self._store.find(request, unread=False)
        if image is not None:
            return _Result(self._remember(request, image), was_here=True)
        self._raise_remembered(request)
        return self._flights.run(request, lambda: self._fetch(request), caller)

    @property
    def may_read_ahead(self) -> bool:
        """Whether to download images that have not been opened yet.

        Not while the service has problems, nor while images cannot be stored.
        """
        return not self._breaker.is_open and self._is_last_one_stored

    def read_ahead(self, request: Request, slot: Slot) -> None:
        """Download an image that has not been opened yet, in this thread.

        An open in the meantime joins this download. Otherwise a failure ends it,
        without retries, and is not remembered.
        """
        if self._store.peek(request) is not None:
            return
        release = self._try_lock(_lock_name(request))
        if release is None:  # it is being downloaded
            return
        try:
            error = self._flights.lead(request, lambda: self._fetch(request, slot))
        finally:
            release()
        if error is not None and not isinstance(error, AllenFSError):
            log.error("%s: a bug", request.path, exc_info=error)

    def peek(self, request: Request) -> Known | None:
        """Return size and time of a stored or open image, without opening it."""
        image = self._open_image(request)
        if image is not None:
            return Known(image.facts.size_bytes, image.facts.modified_ns)
        return self._store.peek(request)

    def facts(self, request: Request) -> Facts | None:
        """Return the facts about a stored or open image, without reading it."""
        image = self._open_image(request)
        return self._store.facts(request) if image is None else image.facts

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids of one service with images that are stored or were opened."""
        stored = self._store.used_ids(service)
        with self._lock:
            return sorted(self._used[service].union(stored))

    def last_failure(self, request: Request | Chunk) -> str | None:
        """Why the last download of this image failed, in words; None if it did not.

        Of a chunk: why its tile could not be used.
        """
        return self._failures.reason(request)

    def _open_image(self, request: Request) -> Image | None:
        with self._lock:
            return self._live.get(request)

    def _raise_remembered(self, request: Request) -> None:
        error = self._failures.remembered(request)
        # Another process may have stored the image since the failure.
        if error is not None and self._store.peek(request) is None:
            raise error

    def _fetch(self, request: Request, ahead: Slot | None = None) -> _Result:
        """Find or download an image; `ahead` is the slot of a read-ahead."""
        # another thread may have fetched it, or failed, since the caller checked
        image = self._open_image(request)
        if image is not None:
            return _Result(image, was_here=True)
        self._raise_remembered(request)
        is_given_up = False

        def may_retry(error: ServiceError) -> bool:
            nonlocal is_given_up
            if is_outage(error):
                self._breaker.failed(error.retry_after_s)
            # once abandoned, no open can join this download any more
            is_given_up = ahead is not None and self._flights.abandon(request)
            return not is_given_up

        try:
            # Verifying a checksum takes time. Here it is done once for all callers,
            # whose waits can be interrupted.
            image = self._store.find(request, unread=True)
            was_here = image is not None
            if image is None:
                # `read_ahead` has the lock; of what is drawn, the images are locked
                is_locked = ahead is not None or isinstance(request, Drawn)
                with contextlib.nullcontext() if is_locked else self._locked(request):
                    # another process may have stored it meanwhile
                    image = self._store.find(request, unread=True)
                    if image is None:
                        image = self._downloaded(request, ahead, may_retry)
            return _Result(self._remember(request, image), was_here)
        except ServiceError as error:
            if is_given_up or not may_retry(error):
                log.info("not read ahead: %s: %s", request.path, error)
            else:
                log.warning("%s: %s", request.path, error)
                self._activity.failed(request.path, error)
                self._failures.remember(request, error)
            raise
        except ExhaustedError as error:
            log.warning("%s: %s", request.path, error)
            raise

    @contextlib.contextmanager
    def _locked(self, request: Request) -> Iterator[None]:
        """Wait while another process downloads an image, as long as that may take."""
        name, ends_s = _lock_name(request), time.monotonic() + self._deadline_s
        while (release := self._try_lock(name)) is None and time.monotonic() < ends_s:
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            if release is not None:
                release()

    def _downloaded(
        self,
        request: Request,
        ahead: Slot | None,
        may_retry: Callable[[ServiceError], bool],
    ) -> Image:
        def downloaded(temp_file: TempFile) -> Image:
            with contextlib.closing(temp_file), contextlib.ExitStack() as stack:
                if isinstance(request, Drawn):
                    # the images on it do not count as opened
                    modified_ns = self._sheets.make(
                        request, temp_file, lambda *args: self._get(*args).image
                    )
                else:
                    slot = ahead or self._slots.at(Priority.IMAGE)
                    followed = self._activity.downloading(
                        request, temp_file, slot, is_ahead=ahead is not None
                    )
                    modified_ns = self._service.fetch(
                        request, temp_file, stack.enter_context(followed), may_retry
                    )
                return self._store.add(request, temp_file, modified_ns)

        try:
            image = downloaded(self._store.temp_file())
        except DamagedStoreError as error:  # the disk returned other bytes
            log.warning("%s: the download %s: downloading again", request.path, error)
            image = downloaded(self._store.temp_file(in_memory=True))
        self._is_last_one_stored = self._store.peek(request) is not None
        return image

    def _remember(self, request: Request, image: Image) -> Image:
        self._failures.forget(request)
        with self._lock:
            if not isinstance(request, Drawn):
                self._used[request.service].add(request.image_id)
            return self._live.setdefault(request, image)


def _lock_name(request: Request) -> str:
    return f"image-{hashlib.sha256(request.key.encode()).hexdigest()[:32]}"
