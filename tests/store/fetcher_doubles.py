"""A fetcher over a service that does what a test says, and a store with hooks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from store_helpers import MIB, image_bytes, section
from waiters import PATIENCE_S, Waiters

from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import ServiceError
from allenfs.fetch.fetcher import Fetcher
from allenfs.fetch.readahead import ReadAhead
from allenfs.model import tree
from allenfs.service.slots import Slots
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles
from allenfs.store.lock_files import LockFiles

READERS = 16
FIRST_ID = 1000


class ScriptedService:
    """Gives image_bytes(id, 5000), or what `failures` says, behind a gate."""

    def __init__(self):
        self.fetches = Counter()
        self.failures = {}
        self.retried = []
        self.under_way = self.most_under_way = 0
        self.gate = threading.Event()
        self.gate.set()
        self._passes = threading.Semaphore(0)
        self.arrive = lambda: None
        self._lock = threading.Lock()

    def fetch(self, request, sink, slot, may_retry):
        try:
            with slot:
                return self._fetch(request, sink)
        except ServiceError as error:
            if error.transient and may_retry(error):
                self.retried.append(request.image_id)
            raise

    def _fetch(self, request, sink):
        with self._lock:
            self.fetches[request.image_id] += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.arrive()
            self._pass_gate()
            if request.image_id in self.failures:
                raise self.failures[request.image_id]
            sink.restart()
            sink.write(image_bytes(request.image_id, 5000))
            return
        finally:
            with self._lock:
                self.under_way -= 1

    def let_one_end(self):
        """Let one request pass the gate."""
        self._passes.release()

    def _pass_gate(self):
        ends_s = time.monotonic() + PATIENCE_S
        while not self.gate.wait(0.002) and not self._passes.acquire(blocking=False):
            assert time.monotonic() < ends_s


class WatchedStore(ImageFiles):
    """A store that can hold up a look, and keep nothing."""

    keeps = True
    after_find = staticmethod(lambda: None)

    def find(self, request, *, unread=True):
        image = super().find(request, unread=unread)
        self.after_find()
        return image

    def add(self, request, temp_file, modified_ns):
        image = super().add(request, temp_file, modified_ns)
        if not self.keeps:
            self.evict(request)
        return image


class Bench:
    """A fetcher over a scripted service and a real store, with a clock to turn."""

    def __init__(
        self,
        directory,
        capacity_bytes=MIB,
        *,
        connections=4,
        deadline_s=600,
        service=None,
    ):
        self.directory = directory
        self.service = service or ScriptedService()
        self.now_s = 1000.0
        settings = StoreSettings(directory, capacity_bytes, "test")
        self.store = WatchedStore(settings)
        locks = LockFiles(settings, StoreDirectory(directory))
        self.slots = Slots(connections, locks.try_lock)
        self.fetcher = Fetcher(
            self.service,
            self.store,
            ServiceSettings("http://h", deadline_s=deadline_s),
            slots=self.slots,
            try_lock=locks.try_lock,
            clock=lambda: self.now_s,
        )

    def get(self, number, caller=None):
        return self.fetcher.get(section(number), caller or Waiters().caller)

    def fails(self, number, expected):
        with pytest.raises(expected) as raised:
            self.get(number)
        return raised.value

    def get_at_once(self, number):
        """Let 16 threads wait for one image before the service may answer."""
        self.service.gate.clear()
        waiters = Waiters(READERS)
        with ThreadPoolExecutor(READERS) as pool:
            futures = [
                pool.submit(self.get, number, waiters.caller) for _ in range(READERS)
            ]
            waiters.wait()
            self.service.gate.set()
        return futures

    @contextlib.contextmanager
    def under_way(self, number):
        """Download an image, which ends with the block."""
        self.service.gate.clear()
        begun = threading.Event()
        self.service.arrive = begun.set
        with ThreadPoolExecutor(1) as pool:
            try:
                download = pool.submit(self.get, number)
                assert begun.wait(PATIENCE_S)
                yield download
            finally:
                self.service.gate.set()


def until(condition, what):
    """Return once something has happened that sends no notification."""
    pause = threading.Event()
    for _ in range(PATIENCE_S * 1000):
        if condition():
            return
        pause.wait(0.001)
    pytest.fail(f"never: {what}")


class AheadBench(Bench):
    """Opens images by their place in a listing, as a filesystem does."""

    def __init__(self, directory, *, max_window=8, length=40, **options):
        super().__init__(directory, **options)
        self.is_out_of_reach = False
        self.listed = []
        self._requests = tuple(map(section, range(FIRST_ID, FIRST_ID + length)))
        self._others = set(threading.enumerate())
        self.ahead = ReadAhead(
            self.fetcher,
            self.store,
            lambda directory: self.list(directory),  # noqa: PLW0108 - replaced by a test
            self.slots,
            max_window=max_window,
            is_out_of_reach=lambda: self.is_out_of_reach,
        )

    def list(self, directory):
        self.listed.append(directory)
        return self._requests

    def request(self, place):
        return self._requests[place]

    def note(self, place, directory="/dataset/1"):
        """Record the open of an image, without getting it."""
        self.ahead.opened(tree.parse(directory), section(FIRST_ID + place))

    def open(self, place, directory="/dataset/1", caller=None):
        self.note(place, directory)
        try:
            image = self.get(FIRST_ID + place, caller)
        except Exception:
            self.ahead.failed(tree.parse(directory))
            raise
        assert image.read(0, 6000) == image_bytes(FIRST_ID + place, 5000)
        return image

    def read(self, *places):
        """Open one after the other, each when all that is fetched ahead is here.

        Return what was fetched ahead of the last one.
        """
        for place in places:
            before = {*self.fetched, place}
            self.open(place)
            self.settle()
        return {*self.fetched} - before

    def settle(self):
        """Wait until nothing is fetched ahead any more."""
        until(
            lambda: not set(threading.enumerate()) - self._others,
            "all is fetched that was guessed",
        )

    @property
    def fetched(self):
        """How often each place was requested, in the order of the requests."""
        counts = self.service.fetches
        return {number - FIRST_ID: count for number, count in counts.copy().items()}
