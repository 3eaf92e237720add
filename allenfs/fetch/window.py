"""The read-ahead window: how far and in which direction a listing is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Who leaves after two images has paid for four.
_FIRST_WINDOW = 2
_NOWHERE = -2  # no neighbour of any place


class Run:
    """How one listing is read; its images go by their place in it, from 0.

    Two neighbours opened one after the other begin a run, forwards or backwards.
    The window, in which images are guessed to be opened soon, doubles with each
    guess that comes true, halves if an open skips guesses, and closes on random
    access. Skipped images may still be opened: of several readers, one is behind.

    Attributes
    ----------
    last : int
        The place that was opened last, the furthest one of a run.
    guesses : dict of int to bool
        The places that are guessed and not opened yet, to whether their download began.
    """

    def __init__(self, length: int, max_window: int) -> None:
        self._length = length
        self._max_window = max_window
        self.guesses: dict[int, bool] = {}
        self._passed: set[int] = set()  # of the guesses
        self._looked_to = _NOWHERE
        self.end(_NOWHERE)

    def end(self, place: int) -> None:
        """Guess nothing any more; `place` was opened last."""
        self.last = place
        self._begin(step=0, window=0)

    def opened(self, place: int) -> None:
        """Note that an image is opened."""
        if place == self.last:
            return
        step = place - self.last
        if place in self.guesses:
            self._came_true(place)
            return
        self.last = place
        if step == self._step:
            return  # no guess was needed: it was stored
        is_neighbour = abs(step) == 1
        window = min(_FIRST_WINDOW, self._max_window) if is_neighbour else 0
        self._begin(step=step if is_neighbour else 0, window=window)

    def is_quiet(self, place: int) -> bool:
        """Whether an open changes nothing: the next in order, and all ahead is here.

        It is noted then. Of stored images, 15 of 16 opens end here.
        """
        step = self._step
        if self.guesses or not step or place != self.last + step:
            return False
        is_near_end = self._looked_to in (0, self._length - 1)
        if (self._looked_to - place) * step < self._window and not is_near_end:
            return False
        self.last = place
        return True

    def new_places(self, beyond: int = 0) -> Iterator[int]:
        """Go through the places in the window, and some beyond it, each once."""
        stop = self.last + (self._window + beyond) * self._step
        stop = min(max(stop, 0), self._length - 1)
        if (self.last - self._looked_to) * self._step > 0:
            self._looked_to = self.last
        while (stop - self._looked_to) * self._step > 0:
            self._looked_to += self._step
            yield self._looked_to

    def put_back(self) -> None:
        """Let `new_places` begin with its last place again."""
        self._looked_to -= self._step

    def open_guesses(self) -> list[int]:
        """Return the guesses ahead that were not taken, the next one first."""
        return [
            place
            for place, is_taken in self.guesses.items()
            if not is_taken and (place - self.last) * self._step > 0
        ]

    def _begin(self, *, step: int, window: int) -> None:
        self._step, self._window = step, window
        self._looked_to = self.last
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
        else:
            self._window //= 2
        self._passed |= passed
        for one in {one for one in passed if abs(place - one) > self._max_window}:
            self._passed.remove(one)
            del self.guesses[one]
        if not self._window:
            self.end(self.last)
