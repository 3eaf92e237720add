"""How images are got: once each, a few at a time, failures remembered for a while."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import (
    DamagedStoreError,
    ExhaustedError,
    ProcessLimitError,
    ServiceError,
)
from allenfs.fetch.failures import Failures
from allenfs.fetch.metrics import Activity
from allenfs.model.images import ImageRequest, ImageService
from allenfs.service.single_flight import SingleFlight
from allenfs.service.slots import Priority, Slots, not_shared
from allenfs.store.sealed_file import Known
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from allenfs.config import ServiceSettings
    from allenfs.fetch.contact_sheet import SheetMaker
    from allenfs.fetch.interfaces import ImageStore, Service
    from allenfs.model.sheets import Request, SheetRequest
    from allenfs.service.responses import Answer
    from allenfs.service.slots import Slot, TryLock
    from allenfs.store.sealed_file import Facts, Image
    from allenfs.store.tempfiles import Spool


log = safe_logger(__name__)

# Whether another process has got the image meanwhile.
_POLL_S = 0.02


class _Landing(NamedTuple):
    image: Image
    was_here: bool  # so that nothing was downloaded


class Fetcher:
    """Gets images from the store, else from the service. Safe from many threads.

    One image is downloaded by one thread, however many wait for it; they share
    what comes of it. Downloads go on when nobody waits any more. Of the processes
    that share a store, one downloads it; the others wait, and find it in the store.
    If it failed there, they ask the service themselves.

    Parameters
    ----------
    service, store
        What it stands on.
    settings : ServiceSettings
        How long failures are remembered.
    sheets : SheetMaker, optional
        Makes what the service does not have.
    slots : Slots, optional
        Whose requests count together; else `connections` downloads at a time.
    try_lock : callable, optional
        Takes a lock by its name and returns what releases it; None where another
        process has it. By default, no other process is asked.
    activity : Activity, optional
        What counts the images that are got.
    clock : callable
        Monotonic seconds, for the memory of failures.
    """

    def __init__(
        self,
        service: Service,
        store: ImageStore,
        settings: ServiceSettings,
        *,
        slots: Slots | None = None,
        try_lock: TryLock = not_shared,
        activity: Activity | None = None,
        sheets: SheetMaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._sheets = sheets
        self._store = store
        self._slots = slots or Slots(settings.connections)
        self._try_lock = try_lock
        self._deadline_s = settings.deadline_s
        self._failures = Failures(settings, clock=clock)
        self._lock = threading.Lock()
        self._activity = activity or Activity()
        self._flights: SingleFlight[Request, _Landing] = SingleFlight()
        # Images that somebody holds. A second reader gets the same object: the
        # kernel has one page cache for a file, whoever opened it.
        self._live: weakref.WeakValueDictionary[Request, Image] = (
            weakref.WeakValueDictionary()
        )
        self._used: dict[ImageService, set[int]] = {one: set() for one in ImageService}
        self._is_last_one_kept = True

    def get(
        self,
        request: Request,
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
        try:
            image, was_here = self._got(request, interrupted)
        except BaseException:
            self._activity.not_opened()
            raise
        self._activity.opened(request, was_here=was_here)
        return image

    def _got(self, request: Request, interrupted: Callable[[], bool]) -> _Landing:
        image = self._held(request)
        if image is not None:
            return _Landing(image, was_here=True)
        image = self._store.find(request, unread=False)
        if image is not None:
            return _Landing(self._landed(request, image), was_here=True)
        self._raise_remembered(request)
        slot = self._slots.at(Priority.IMAGE)
        return self._flights.run(
            request, lambda: self._fly(request, slot, _always), interrupted
        )

    @property
    def may_go_ahead(self) -> bool:
        """Whether to download what nobody has asked for yet.

        Not while the service is in trouble, nor while the store keeps nothing.
        """
        return self._failures.is_calm and self._is_last_one_kept

    def go_ahead(self, request: Request, slot: Slot) -> None:
        """Download an image that nobody has asked for yet, in this thread.

        Who opens it meanwhile waits for this download. As long as nobody does, a
        failure ends it, and is forgotten.
        """

        def is_asked_for() -> bool:
            # if not, nobody can ask for this download any more
            return not self._flights.abandon(request)

        def work() -> _Landing:
            try:
                return self._fly(request, slot, is_asked_for)
            except (ServiceError, ExhaustedError, ProcessLimitError):
                raise  # no bug
            except Exception:
                log.exception("%s: a bug", request.path)
                raise

        if self._store.peek(request) is not None:
            return
        release = self._try_lock(_lock_name(request))
        if release is not None:  # else it is being downloaded
            try:
                self._flights.lead(request, work)
            finally:
                release()

    def peek(self, request: Request) -> Known | None:
        """Return size and time of an image that is here, without opening it."""
        image = self._held(request)
        if image is not None:
            return Known(image.facts.size_bytes, image.facts.modified_ns)
        return self._store.peek(request)

    def facts(self, request: Request) -> Facts | None:
        """Return what is known of an image that is here, without reading it."""
        image = self._held(request)
        return self._store.facts(request) if image is None else image.facts

    def is_known(self, request: Request) -> bool:
        """Whether an image is stored."""
        return self._store.is_known(request)

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids of one service whose images were opened: now, or kept from before."""
        stored = self._store.used_ids(service)
        with self._lock:
            return sorted(self._used[service].union(stored))

    def last_failure(self, request: Request) -> str | None:
        """Why the last download of this image failed, in words; None if it did not."""
        return self._failures.reason(request)

    def _held(self, request: Request) -> Image | None:
        with self._lock:
            return self._live.get(request)

    def _raise_remembered(self, request: Request) -> None:
        error = self._failures.remembered(request)
        # A failure does not hide what another mount has stored since.
        if error is not None and self._store.peek(request) is None:
            raise error

    def _fly(
        self,
        request: Request,
        slot: AbstractContextManager[object],
        is_asked_for: Callable[[], bool],
    ) -> _Landing:
        # What landed, or failed, between the caller's look and this one.
        image = self._held(request)
        if image is not None:
            return _Landing(image, was_here=True)
        self._raise_remembered(request)
        is_given_up = False

        def goes_on(error: ServiceError) -> bool:
            nonlocal is_given_up
            self._failures.note(error)
            is_given_up = not is_asked_for()
            return not is_given_up

        try:
            # Comparing a checksum takes time, so that it is here, where a waiting
            # process can be interrupted, and is done once for all that wait.
            image = self._store.find(request, unread=True)
            was_here = image is not None
            if image is None and is_asked_for is not _always:  # locked already
                image = self._downloaded(request, slot, goes_on, is_ahead=True)
            elif image is None:
                with self._locked(request):
                    # another process may have got it meanwhile
                    image = self._store.find(request, unread=True)
                    if image is None:
                        image = self._downloaded(request, slot, goes_on, is_ahead=False)
            return _Landing(self._landed(request, image), was_here)
        except ServiceError as error:
            self._failures.note(error)
            if is_given_up or not is_asked_for():
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
        if not isinstance(request, ImageRequest):
            yield  # the pictures on it are locked
            return
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
        slot: AbstractContextManager[object],
        goes_on: Callable[[ServiceError], bool],
        *,
        is_ahead: bool,
    ) -> Image:
        def downloaded(spool: Spool) -> Image:
            try:
                if not isinstance(request, ImageRequest):
                    made = self._made(request, spool)
                    return self._store.add(request, spool, made.modified_ns)
                with self._activity.downloading(
                    request, spool, slot, is_ahead=is_ahead
                ) as followed:
                    answer = self._service.fetch(request, spool, followed, goes_on)
                    return self._store.add(request, spool, answer.modified_ns)
            finally:
                spool.close()

        try:
            image = downloaded(self._store.spool())
        except DamagedStoreError as error:  # a disk that does not give back
            log.warning("%s: the download %s: once more", request.path, error)
            image = downloaded(self._store.spool(in_memory=True))
        self._is_last_one_kept = self._store.peek(request) is not None
        return image

    def _made(self, request: SheetRequest, spool: Spool) -> Answer:
        assert self._sheets is not None
        # the pictures on it are not what somebody opens
        return self._sheets.make(
            request, spool, lambda *thumbnail: self._got(*thumbnail).image
        )

    def _landed(self, request: Request, image: Image) -> Image:
        self._failures.forget(request)
        with self._lock:
            if isinstance(request, ImageRequest):
                self._used[request.service].add(request.image_id)
            return self._live.setdefault(request, image)


def _lock_name(request: Request) -> str:
    return f"image-{hashlib.sha256(request.key.encode()).hexdigest()[:32]}"


def _always() -> bool:
    return True
