"""Who may ask the service next: a few at a time, queries before images."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Turns:
    """A number of turns, taken by context managers. Safe from many threads.

    A query is short, and somebody waits for a listing: images under way are
    finished, but no further one begins before a waiting query.

    Parameters
    ----------
    number : int
        Of requests at a time.

    Attributes
    ----------
    for_image, for_query : context manager
        One turn; may be entered many times, and by many threads.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting_queries = 0
        self._changed = threading.Condition()
        self.for_image: AbstractContextManager[None] = _Turn(self, is_query=False)
        self.for_query: AbstractContextManager[None] = _Turn(self, is_query=True)

    @property
    def is_one_free(self) -> bool:
        """Whether a request would not have to wait."""
        return self._free > 0

    def take(self, *, is_query: bool) -> None:
        """Wait for a turn."""
        with self._changed:
            self._waiting_queries += is_query
            try:
                self._changed.wait_for(
                    lambda: self._free and (is_query or not self._waiting_queries)
                )
            finally:
                self._waiting_queries -= is_query
            self._free -= 1
            if is_query and self._free:
                self._changed.notify_all()  # an image stood back for this query

    def give_back(self) -> None:
        """End a turn."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()


class _Turn:
    def __init__(self, turns: Turns, *, is_query: bool) -> None:
        self._turns = turns
        self._is_query = is_query

    def __enter__(self) -> None:
        self._turns.take(is_query=self._is_query)

    def __exit__(self, *_: object) -> None:
        self._turns.give_back()
