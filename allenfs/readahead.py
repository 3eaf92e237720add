"""Downloads ahead of who reads a listing file by file: `cp -r`, a viewer's "next".

Two files opened one after the other in listing order begin a run, forwards or
backwards. The next images are then downloaded in the background, before they are
opened; how many, the window, doubles with each guess that comes true, halves with
each that is passed over, and is nothing for who jumps about.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allenfs.entries import Series
    from allenfs.images import ImageRequest
    from allenfs.nodes import CollectionDirectory, CollectionFile
    from allenfs.sealed import Known
    from allenfs.turns import SpareTurn, Turns

# Who leaves after two images has paid for four.
_FIRST_WINDOW = 2
# Listings that are being read at once. More of them take turns, each beginning anew.
_RUNS = 32
# Of the store. What waits there to be opened must not be driven out by what comes
# after it, nor drive out all that was read before.
_STORE_SHARE = 4


class Fetcher(Protocol):
    """What downloads."""

    @property
    def may_go_ahead(self) -> bool:
        """Whether to download what nobody has asked for yet."""

    def go_ahead(self, request: ImageRequest, turn: SpareTurn) -> None:
        """Download an image that nobody has asked for yet."""

    def is_known(self, request: ImageRequest) -> bool:
        """Whether an image is here, as far as that can be told in no time."""

    def peek(self, request: ImageRequest) -> Known | None:
        """Return size and time of an image that is here."""


class Run:
    """How one listing is read: how far, in which direction, how much is guessed.

    Parameters
    ----------
    length : int
        Images of the listing; they go by their place in it, from 0.
    max_window : int
        Guesses that may be open at a time.
    """

    def __init__(self, length: int, max_window: int) -> None:
        self._length = length
        self._max_window = max_window
        self._last: int | None = None
        self._step = 0
        self._window = 0
        self._guesses: dict[int, bool] = {}  # place to whether it was taken

    def neighbours(self) -> Iterator[int]:
        """Return the places around the last one: some of their images are here."""
        if self._last is not None:
            places = range(self._last - 1, self._last + 2)
            yield from (place for place in places if 0 <= place < self._length)

    @property
    def taken(self) -> int:
        """Guesses that were taken, and not opened yet."""
        return sum(self._guesses.values())

    def opened(self, place: int) -> None:
        """Note that an image is opened."""
        if place == self._last:
            return
        if place in self._guesses:
            self._came_true(place)
        elif self._last is not None and abs(place - self._last) == 1:
            self._begin(place)
        else:
            self.end(place)
        for guess in self._ahead():
            self._guesses.setdefault(guess, False)

    def end(self, place: int | None = None) -> None:
        """Guess nothing any more."""
        self._last, self._step, self._window = place, 0, 0
        self._guesses.clear()

    def open_guesses(self) -> Iterator[int]:
        """Return the places that are not taken, the next ones first."""
        return (guess for guess in self._ahead() if not self._guesses[guess])

    def take(self, place: int) -> None:
        """Note that a guess is being downloaded, or is here."""
        self._guesses[place] = True

    def _begin(self, place: int) -> None:
        assert self._last is not None
        step = place - self._last
        self.end(place)
        self._step, self._window = step, min(_FIRST_WINDOW, self._max_window)

    def _came_true(self, place: int) -> None:
        assert self._last is not None
        del self._guesses[place]
        nearer = [one for one in self._guesses if (place - one) * self._step > 0]
        if (place - self._last) * self._step > 0:
            self._last = place
        if not nearer:
            self._window = min(2 * self._window, self._max_window)
            return
        # passed over; or of several that read at once, one is behind
        self._window //= 2
        for one in nearer:
            if abs(place - one) > self._max_window:
                del self._guesses[one]
        if not self._window:
            self.end(self._last)

    def _ahead(self) -> Iterator[int]:
        if self._last is None or not self._step:
            return
        for distance in range(1, self._window + 1):
            place = self._last + distance * self._step
            if 0 <= place < self._length:
                yield place


class _Listing:
    """A listing that is being read: its images, and the run through them."""

    def __init__(self, series: Series, max_window: int) -> None:
        self.series = series
        self.places = {number: i for i, number in enumerate(series.image_ids)}
        self.run = Run(len(series.image_ids), max_window)
        self.largest_bytes = 0  # of those that are here

    @property
    def unread_bytes(self) -> int:
        return self.run.taken * self.largest_bytes


class _Guess(NamedTuple):
    listing: _Listing
    place: int


class ReadAhead:
    """Guesses what is opened next, and lets it be downloaded. Thread-safe.

    Parameters
    ----------
    fetcher
        Downloads.
    series : callable
        The images that a directory lists, as far as they are at hand.
    turns : Turns
        Downloads ahead take what others leave of them, and leave one free.
    max_window : int
        Images to be ahead of who reads, at the most; 0 reads nothing ahead.
    capacity_bytes : int
        Of the store.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        series: Callable[[CollectionDirectory], Series],
        turns: Turns,
        *,
        max_window: int,
        capacity_bytes: int,
    ) -> None:
        self._fetcher = fetcher
        self._series = series
        self._turns = turns
        # one turn is always left to who asks: with a single one there is none
        self._max_workers = turns.number - 1
        self._max_window = max_window if self._max_workers else 0
        self._budget_bytes = capacity_bytes // _STORE_SHARE
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}  # by path, the latest read last
        self._workers = 0

    def opened(self, path: str, file: CollectionFile) -> None:
        """Note that `path` is being opened, and go ahead of it."""
        if not self._max_window:
            return
        directory = path.rpartition("/")[0]
        listing = self._listings.get(directory)
        if listing is None:
            listing = _Listing(self._series(file.directory), self._max_window)
        place = listing.places.get(file.image_id)
        if place is None:
            return
        with self._lock:
            listing = self._listings.pop(directory, None) or listing
            self._listings[directory] = listing
            if len(self._listings) > _RUNS:
                del self._listings[next(iter(self._listings))]
            listing.run.opened(place)
            self._take_known(listing)
            if not self._fetcher.may_go_ahead:
                listing.run.end(place)
            wanted = sum(1 for _ in listing.run.open_guesses())
            missing = min(wanted, self._max_workers - self._workers)
            self._workers += max(0, missing)
        if missing > 0 and not listing.largest_bytes:
            self._learn(listing, *listing.run.neighbours())
        for _ in range(missing):
            self._start()

    def failed(self, path: str) -> None:
        """Note that there is no image at `path`: the next ones are no good guess."""
        with self._lock:
            self._listings.pop(path.rpartition("/")[0], None)

    def _take_known(self, listing: _Listing) -> None:
        # Of stored images read in order, no thread has to be woken for each.
        for place in list(listing.run.open_guesses()):
            if self._fetcher.is_known(listing.series.request(place)):
                listing.run.take(place)

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:  # no more threads: nobody needs this one
            with self._lock:
                self._workers -= 1

    def _work(self) -> None:
        """Download one guess after the other, as long as there are some."""
        while True:
            turn = self._turns.spare()
            guess = self._next()
            if guess is None:
                turn.drop()
                return
            try:
                self._fetcher.go_ahead(guess.listing.series.request(guess.place), turn)
            finally:
                turn.drop()
            self._learn(guess.listing, guess.place)

    def _next(self) -> _Guess | None:
        """Take the best guess; without one, this thread's work is done."""
        with self._lock:
            if not self._fetcher.may_go_ahead:
                self._listings.clear()
            for listing in reversed(self._listings.values()):
                for place in listing.run.open_guesses():
                    if self._fits(listing, place):
                        listing.run.take(place)
                        return _Guess(listing, place)
            self._workers -= 1
            return None

    def _fits(self, listing: _Listing, place: int) -> bool:
        """Whether the store can keep one more, until it is opened, with the others."""
        expected_bytes = listing.largest_bytes
        if not expected_bytes:
            expected_bytes = listing.series.request(place).size_bound_bytes()
        unread_bytes = sum(one.unread_bytes for one in self._listings.values())
        return unread_bytes + expected_bytes <= self._budget_bytes

    def _learn(self, listing: _Listing, *places: int) -> None:
        """Look how large the images of a listing are."""
        for place in places:
            known = self._fetcher.peek(listing.series.request(place))
            if known is not None:
                listing.largest_bytes = max(listing.largest_bytes, known.size_bytes)
