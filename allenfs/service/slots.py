"""Who may ask the service next: a few at a time, and who is waited for first."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Rank(enum.IntEnum):
    """Of what a turn is for; the lowest number goes first."""

    QUERY = 0
    IMAGE = 1
    AHEAD = 2


class Turns:
    """A number of turns, taken by context managers. Safe from many threads.

    A query is short, and somebody waits for a listing: images under way are
    finished, but no further one begins before a waiting query. For an image that
    is downloaded ahead nobody waits: it begins only where nobody who waits would
    get the turn, and leaves one free, so that the next who asks gets it at once.

    Parameters
    ----------
    number : int
        Of requests at a time.

    Attributes
    ----------
    number : int
    for_image, for_query : context manager
        One turn; may be entered many times, and by many threads.
    """

    def __init__(self, number: int) -> None:
        self.number = self._free = number
        self._waiting: Counter[Rank] = Counter()
        self._changed = threading.Condition()
        self.for_image: AbstractContextManager[None] = _Turn(self, Rank.IMAGE)
        self.for_query: AbstractContextManager[None] = _Turn(self, Rank.QUERY)

    @property
    def is_one_free(self) -> bool:
        """Whether a request would not have to wait."""
        return self._free > 0

    @property
    def waiting(self) -> int:
        """How many wait, but for those that only take what is spare."""
        return self._waiting[Rank.QUERY] + self._waiting[Rank.IMAGE]

    @property
    def taken(self) -> int:
        """How many turns are taken."""
        return self.number - self._free

    def take(self, rank: Rank) -> None:
        """Wait for a turn."""
        with self._changed:
            self._waiting[rank] += 1
            try:
                self._changed.wait_for(lambda: self._is_turn_of(rank))
            finally:
                self._waiting[rank] -= 1
            self._free -= 1
            if self._free:
                self._changed.notify_all()  # somebody stood back for this one

    def spare(self) -> SpareTurn:
        """Wait for a turn that nobody needs, and take it."""
        self.take(Rank.AHEAD)
        return SpareTurn(self)

    def give_back(self) -> None:
        """End a turn."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def _is_turn_of(self, rank: Rank) -> bool:
        if any(self._waiting[first] for first in Rank if first < rank):
            return False
        return self._free > (rank is Rank.AHEAD)


class _Turn:
    def __init__(self, turns: Turns, rank: Rank) -> None:
        self._turns = turns
        self._rank = rank

    def __enter__(self) -> None:
        self._turns.take(self._rank)

    def __exit__(self, *_: object) -> None:
        self._turns.give_back()


class SpareTurn(_Turn):
    """A turn that is taken already; who enters it again waits as for any image."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(turns, Rank.IMAGE)
        self._is_unused = True

    def __enter__(self) -> None:
        if self._is_unused:
            self._is_unused = False
        else:
            super().__enter__()

    def drop(self) -> None:
        """Give it back, unless it was entered."""
        if self._is_unused:
            self._is_unused = False
            self._turns.give_back()
