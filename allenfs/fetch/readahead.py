"""Read-ahead for programs that open a listing file by file, such as `cp -r`.

A listing is a directory of images, or chunks of a pyramid: a row, or planes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from allenfs.errors import ProcessLimitError
from allenfs.model.nodes import ZarrNode
from allenfs.service.single_flight import start_thread
from allenfs.store.index import disk_bytes
from allenfs.store.stored_file import FOOTER_BYTES
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.fetch.fetcher import Fetcher
    from allenfs.model.nodes import Listing
    from allenfs.model.sheets import Request
    from allenfs.service.slots import Slots
    from allenfs.store.image_files import ImageFiles

log = safe_logger(__name__)

# Listings tracked at once. With more readers, some start over at each open.
_LISTINGS = 32
# Share of the store for images read ahead and not opened yet. They must not evict each
# other, nor everything that was read before.
_STORE_SHARE = 4
# A reader that stops after two images has cost four.
_FIRST_WINDOW = 2
# A viewer shows a few tiles of each row: with the window of data sets, 3 x 4 tiles
# that were read one by one cost 33 requests.
_ROW_WINDOW = 4
# Guesses in a row that came true before a run may use all slots.
_SURE = 2
_NOWHERE = -2  # not next to any place


class Run:
    """How one listing is read; images are numbered by their place in it, from 0.

    Two neighbours opened one after the other begin a run, forwards or backwards.
    The images in the window after it are guesses: they are expected to be opened soon.
    The window doubles with each correct guess, halves if an open skips guesses, and
    closes on random access. Skipped images may still be opened by a slower reader.

    After two correct guesses in a row the run is sure to go on; if something else is
    opened meanwhile, after a whole window of them.

    Attributes
    ----------
    last : int
        The place that was opened last, the furthest one of a run.
    guesses : dict of int to bool
        The guessed places not opened yet; True once their download has begun.
    """

    def __init__(self, length: int, max_window: int) -> None:
        self._length = length
        self._max_window = max_window
        self.guesses: dict[int, bool] = {}
        self._passed: set[int] = set()  # of the guesses
        self.last = self._looked_to = _NOWHERE
        self._step = self._window = 0
        self._in_a_row, self._needed = 0, _SURE  # correct guesses

    @property
    def is_sure(self) -> bool:
        """Whether the guesses are almost certain."""
        return self._in_a_row >= self._needed

    def disturbed(self) -> None:
        """Record that something else was opened since the last place.

        This does not count before the run is sure: the first two images of a run are
        no guesses.
        """
        if self.is_sure or self._needed > _SURE:
            self._in_a_row, self._needed = 0, max(_SURE, self._max_window)

    def end(self, place: int) -> None:
        """Drop all guesses; `place` was opened last."""
        self._begin(place, step=0, window=0)

    def opened(self, place: int) -> None:
        """Record that an image is opened."""
        step = place - self.last
        if place in self.guesses:
            self._came_true(place)
        elif step and step == self._step:
            self.last = place  # it was not a guess because it was already stored
        elif abs(step) == 1:
            self._begin(place, step, min(_FIRST_WINDOW, self._max_window))
        elif step:
            self.end(place)

    def new_places(self) -> range:
        """Return the places that are new in the window."""
        step = self._step
        if not step:
            return range(0)
        first = (max if step > 0 else min)(self.last, self._looked_to) + step
        end = min(max(self.last + self._window * step, 0), self._length - 1) + step
        places = range(first, end, step)
        if places:
            self._looked_to = places[-1]
        return places

    def open_guesses(self) -> list[int]:
        """Return the guesses ahead whose download has not begun, the nearest first."""
        return [
            place
            for place, has_begun in self.guesses.items()
            if not has_begun and (place - self.last) * self._step > 0
        ]

    def _begin(self, place: int, step: int, window: int) -> None:
        self.last = self._looked_to = place
        self._step, self._window = step, window
        self._in_a_row, self._needed = 0, _SURE
        self.guesses.clear()
        self._passed.clear()

    def _came_true(self, place: int) -> None:
        del self.guesses[place]
        if place in self._passed:
            self._passed.remove(place)
        else:
            self.last = place
        passed = {one for one in self.guesses if (place - one) * self._step > 0}
        if passed <= self._passed:
            self._window = min(2 * self._window, self._max_window)
            self._in_a_row += 1
        else:
            self._window //= 2
            self._in_a_row = 0
        self._passed |= passed
        for one in {one for one in passed if abs(place - one) > self._max_window}:
            self._passed.remove(one)
            del self.guesses[one]
        if not self._window:
            self.end(self.last)


class _Listing:
    """A listing that is being read: its images, and the run through them."""

    def __init__(self, requests: tuple[Request, ...], max_window: int) -> None:
        self.requests = requests
        self.places = {request: i for i, request in enumerate(requests)}
        self.run = Run(len(requests), max_window)
        self.largest_bytes = 0  # on disk, of its stored images
        self._others = 0  # see `Slots.others`

    def opened(self, place: int, slots: Slots) -> None:
        """Record that an image is opened; only a run that is sure may use all slots."""
        if slots.others != self._others:
            self.run.disturbed()
            self._others = slots.others
        self.run.opened(place)
        slots.let_read_ahead_fill(may_fill=self.run.is_sure)

    @property
    def unread_bytes(self) -> int:
        return sum(self.run.guesses.values()) * self.largest_bytes


class ReadAhead:
    """Guesses which images are opened next, and downloads them. Thread-safe.

    Parameters
    ----------
    series : callable
        Returns the images that a directory lists, if its record is cached.
    slots : Slots
        Read-ahead uses slots that nothing else waits for, and leaves one free unless
        a run is sure to go on.
    max_window : int
        Images to read ahead, at most; 0 disables read-ahead.
    is_out_of_reach : callable
        Whether a query failed a moment ago.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        store: ImageFiles,
        series: Callable[[Listing], tuple[Request, ...]],
        slots: Slots,
        *,
        max_window: int,
        is_out_of_reach: Callable[[], bool],
    ) -> None:
        self._fetcher = fetcher
        self._store = store
        self._is_out_of_reach = is_out_of_reach
        self._series = series
        self._slots = slots
        self._max_workers = slots.limit
        # with a single slot there is no read-ahead: opens would wait for it
        self._max_window = max_window if slots.limit > 1 else 0
        self._budget_bytes = store.capacity_bytes // _STORE_SHARE
        self._lock = threading.Lock()
        # the latest read last
        self._listings: dict[Listing, _Listing] = {}
        self._workers = 0

    def opened(self, directory: Listing, request: Request) -> None:
        """Record that an image is being opened, and read ahead of it in its listing."""
        if not self._max_window:
            return
        listing = self._listings.get(directory)
        if listing is None:
            listing = _Listing(self._series(directory), self._window_of(directory))
        place = listing.places.get(request)
        if place is None:
            self.failed(directory)  # its record has changed since
            return
        with self._lock:
            listing = self._latest(directory, listing)
            run = listing.run
            listing.opened(place, self._slots)
            for ahead in run.new_places():
                if not self._store.is_known(listing.requests[ahead]):
                    run.guesses[ahead] = False
            if not self._may_read_ahead():
                run.end(place)
            guesses = len(run.open_guesses())
            missing = max(0, min(guesses, self._max_workers - self._workers))
            self._workers += missing
        if missing and not listing.largest_bytes:
            self._learn(listing, place - 1, place, place + 1)
        for _ in range(missing):
            self._start()

    def failed(self, directory: Listing) -> None:
        """Record that an image failed: the next ones are unlikely to succeed."""
        with self._lock:
            self._listings.pop(directory, None)

    def _window_of(self, directory: Listing) -> int:
        is_row = isinstance(directory, ZarrNode) and len(directory.numbers) > 2
        return min(self._max_window, _ROW_WINDOW) if is_row else self._max_window

    def _latest(self, directory: Listing, listing: _Listing) -> _Listing:
        """Make a listing the latest, unless another thread has already added it."""
        listing = self._listings.pop(directory, listing)
        self._listings[directory] = listing
        if len(self._listings) > _LISTINGS:
            del self._listings[next(iter(self._listings))]
        return listing

    def _may_read_ahead(self) -> bool:
        return self._fetcher.may_read_ahead and not self._is_out_of_reach()

    def _start(self) -> None:
        try:
            start_thread(threading.Thread(target=self._work, daemon=True))
        except ProcessLimitError:  # no caller waits for this download
            with self._lock:
                self._workers -= 1

    def _work(self) -> None:
        """Download the guesses one after the other, until there are none."""
        try:
            while self._download_one():
                pass
        except Exception:
            log.exception("reading ahead: a bug")
            with self._lock:
                self._workers -= 1

    def _download_one(self) -> bool:
        slot = self._slots.reserve()
        try:
            listing, place = self._next() or (None, 0)
            if listing is None:
                return False
            self._fetcher.read_ahead(listing.requests[place], slot)
        finally:
            slot.drop()
        self._learn(listing, place)
        return True

    def _next(self) -> tuple[_Listing, int] | None:
        """Return the best guess; None ends this thread."""
        with self._lock:
            if not self._may_read_ahead():
                self._listings.clear()
            for listing in reversed(self._listings.values()):
                for place in listing.run.open_guesses():
                    if self._fits(listing, place):
                        listing.run.guesses[place] = True
                        return listing, place
            self._workers -= 1
            return None

    def _fits(self, listing: _Listing, place: int) -> bool:
        """Whether the store has room for one more unopened image."""
        expected_bytes = listing.largest_bytes
        if not expected_bytes:
            expected_bytes = listing.requests[place].size_bound_bytes()
        unread_bytes = sum(one.unread_bytes for one in self._listings.values())
        return unread_bytes + expected_bytes <= self._budget_bytes

    def _learn(self, listing: _Listing, *places: int) -> None:
        """Record how large the stored images of a listing are."""
        for place in places:
            if 0 <= place < len(listing.requests):
                known = self._fetcher.peek(listing.requests[place])
                if known is not None:
                    cost_bytes = disk_bytes(known.size_bytes + FOOTER_BYTES)
                    listing.largest_bytes = max(listing.largest_bytes, cost_bytes)
