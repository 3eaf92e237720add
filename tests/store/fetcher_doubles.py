"""A fetcher over a service that does what a test says, and a store that tells."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from store_helpers import image_bytes, section

from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import ServiceError
from allenfs.fetch.fetcher import Fetcher
from allenfs.fetch.readahead import ReadAhead
from allenfs.model import tree
from allenfs.model.nodes import CollectionFile
from allenfs.service.single_flight import Caller
from allenfs.service.slots import Slots
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles
from allenfs.store.lock_files import LockFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from allenfs.model.images import ImageRequest
    from allenfs.service.client import Sink
    from allenfs.store.stored_file import Image, TempFile

MIB = 2**20
READERS = 16
FIRST_ID = 1000
# A waiter that nobody wakes fails its test, and does not hang the run.
PATIENCE_S = 60


class ScriptedService:
    """Gives image_bytes(id, 5000), or what `failures` says, behind a gate."""

    def __init__(self) -> None:
        self.fetches: Counter[int] = Counter()
        self.failures: dict[int, BaseException] = {}
        self.went_on: dict[int, list[bool]] = {}
        self.under_way = self.most_under_way = 0
        self.gate = threading.Event()
        self.gate.set()
        self.arrive: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    def fetch(
        self,
        request: ImageRequest,
        sink: Sink,
        slot: AbstractContextManager[object],
        may_retry: Callable[[ServiceError], bool],
    ) -> int | None:
        try:
            with slot:
                return self._fetch(request, sink)
        except ServiceError as error:
            if error.transient:
                self.went_on.setdefault(request.image_id, []).append(may_retry(error))
            raise

    def _fetch(self, request: ImageRequest, sink: Sink) -> int | None:
        with self._lock:
            self.fetches[request.image_id] += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.arrive()
            assert self.gate.wait(PATIENCE_S)
            if request.image_id in self.failures:
                raise self.failures[request.image_id]
            sink.restart()
            sink.write(image_bytes(request.image_id, 5000))
            return None
        finally:
            with self._lock:
                self.under_way -= 1


class WatchedStore(ImageFiles):
    """A store that says when an image landed, and can hold up a look."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.landed = threading.Event()
        self.before_find: Callable[[], object] = lambda: None
        self.after_find: Callable[[], object] = lambda: None

    def find(self, request: ImageRequest, *, unread: bool = True) -> Image | None:
        self.before_find()
        image = super().find(request, unread=unread)
        self.after_find()
        return image

    def add(
        self, request: ImageRequest, temp_file: TempFile, modified_ns: int | None
    ) -> Image:
        image = super().add(request, temp_file, modified_ns)
        self.landed.set()
        return image


class Waiters:
    """The caller of each thread; knows when so many wait."""

    def __init__(self, count: int) -> None:
        self._ends_s = time.monotonic() + PATIENCE_S
        self.all_wait = threading.Event()
        self._count = count
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    @property
    def caller(self) -> Caller:
        return Caller(is_interrupted=self._is_interrupted)

    def _is_interrupted(self) -> bool:
        with self._lock:
            self._seen.add(threading.get_ident())
            if len(self._seen) == self._count:
                self.all_wait.set()
        return time.monotonic() > self._ends_s


@dataclass
class Bench:
    """A fetcher over a scripted service and a real store, with a clock to turn."""

    directory: Path
    capacity_bytes: int = MIB
    connections: int = 4
    deadline_s: float = 600
    now_s: float = 1000.0
    service: ScriptedService = field(default_factory=ScriptedService)

    def __post_init__(self) -> None:
        settings = StoreSettings(self.directory, self.capacity_bytes, "test")
        self.store = WatchedStore(settings)
        locks = LockFiles(settings, StoreDirectory(self.directory))
        self.slots = Slots(self.connections, locks.try_lock)
        self.fetcher = Fetcher(
            self.service,
            self.store,
            ServiceSettings("http://h", deadline_s=self.deadline_s),
            slots=self.slots,
            try_lock=locks.try_lock,
            clock=lambda: self.now_s,
        )

    def get(self, number: int) -> Image:
        return self.fetcher.get(section(number), Waiters(1).caller)

    def fails(self, number: int, expected: type[BaseException]) -> BaseException:
        with pytest.raises(expected) as raised:
            self.get(number)
        return raised.value

    def get_at_once(self, number: int) -> list[Future[Image]]:
        """Let 16 threads wait for one image before the service may answer."""
        self.service.gate.clear()
        waiters = Waiters(READERS)
        with ThreadPoolExecutor(READERS) as pool:
            futures = [
                pool.submit(self.fetcher.get, section(number), waiters.caller)
                for _ in range(READERS)
            ]
            assert waiters.all_wait.wait(PATIENCE_S)
            self.service.gate.set()
        return futures


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once something has happened that tells nobody of it."""
    pause = threading.Event()
    for _ in range(PATIENCE_S * 200):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail(f"never: {what}")


class AheadBench(Bench):
    """Opens images by their place in a listing of forty, as a filesystem does."""

    def __init__(
        self, directory: Path, *, max_window: int = 8, length: int = 40, **options: int
    ) -> None:
        super().__init__(directory, **options)
        self.is_out_of_reach = False
        self.ahead = ReadAhead(
            self.fetcher,
            self.store,
            lambda _: tuple(map(section, range(FIRST_ID, FIRST_ID + length))),
            self.slots,
            max_window=max_window,
            is_out_of_reach=lambda: self.is_out_of_reach,
        )

    def request(self, place: int) -> ImageRequest:
        return section(FIRST_ID + place)

    def file(self, place: int, directory: str = "/dataset/1") -> CollectionFile:
        file = tree.parse(f"{directory}/{place:04d}_{FIRST_ID + place}.jpg")
        assert isinstance(file, CollectionFile)
        return file

    def open(self, place: int, directory: str = "/dataset/1") -> Image:
        file = self.file(place, directory)
        self.ahead.opened(file)
        try:
            return self.get(FIRST_ID + place)
        except Exception:
            self.ahead.failed(file)
            raise

    def read(self, *places: int) -> None:
        """Open one after the other, each when all that is fetched ahead is here."""
        for place in places:
            self.open(place)
            self.settle()

    def settle(self) -> None:
        """Wait until nothing is fetched ahead any more."""
        until(lambda: self.ahead._workers == 0, "all is fetched that was guessed")

    @property
    def fetched(self) -> dict[int, int]:
        """How often each place was asked of the service."""
        counts = self.service.fetches
        return {number - FIRST_ID: counts[number] for number in sorted(counts)}
