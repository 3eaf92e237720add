"""Neighbours opened in order are guessed on; who jumps about is guessed nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allenfs.fetch.readahead import Run

LENGTH = 40


class Reading:
    """A run over a listing of which nothing is stored; every guess is taken."""

    def __init__(self, max_window: int = 8, length: int = LENGTH) -> None:
        self.run = Run(length, max_window)
        self.taken: list[int] = []

    def open(self, *places: int) -> list[int]:
        """Open these places; return what was guessed at the last one."""
        fresh: list[int] = []
        for place in places:
            fresh = []
            self.run.opened(place)
            for guess in self.run.new_places():
                self.run.guesses[guess] = False
            for guess in self.run.open_guesses():
                self.run.guesses[guess] = True
                fresh.append(guess)
            self.taken += fresh
        return fresh


@pytest.mark.parametrize("step", [1, -1])
def test_two_neighbours_are_enough_and_the_window_doubles(step):
    reading = Reading()
    here = 20
    assert reading.open(here) == []
    assert reading.open(here + step) == [here + 2 * step, here + 3 * step]
    # 2, then 4, then 8 ahead of the reader
    assert reading.open(here + 2 * step) == [here + n * step for n in (4, 5, 6)]
    ahead = [here + n * step for n in range(7, 12)]
    assert reading.open(here + 3 * step) == ahead
    assert reading.open(here + 4 * step) == [here + 12 * step]


@pytest.mark.parametrize("max_window", [0, 1, 2, 3, 8])
def test_the_window_has_its_limit(max_window):
    reading = Reading(max_window)
    for place in range(LENGTH):
        reading.open(place)
        assert all(guess - place <= max_window for guess in reading.run.guesses)
    assert sorted(reading.taken) == list(range(2, LENGTH) if max_window else [])


@pytest.mark.parametrize("order", [range(LENGTH), range(LENGTH - 1, -1, -1)])
def test_a_whole_listing_is_guessed_once_and_nothing_behind_its_end(order):
    reading = Reading()
    reading.open(*order)
    assert sorted(reading.taken) == sorted(order[2:])
    assert reading.run.guesses == {}


@given(st.lists(st.integers(0, LENGTH // 3), max_size=30))
def test_without_neighbours_nothing_is_guessed(places):
    reading = Reading()
    reading.open(*(3 * place for place in places))
    assert reading.taken == []


def test_a_jump_ends_all_guesses_and_two_neighbours_start_again():
    reading = Reading()
    reading.open(0, 1, 2, 3)
    assert reading.open(30) == []
    assert reading.run.guesses == {}
    assert reading.open(31) == [32, 33]


def test_turning_round_is_a_new_run():
    reading = Reading()
    reading.open(10, 11, 12)
    assert reading.open(11) == [10, 9]


def test_opening_a_file_again_changes_nothing():
    reading = Reading()
    assert reading.open(5, 5, 5) == []
    assert reading.open(6) == [7, 8]
    assert reading.open(6, 6) == []
    assert reading.open(7, 7) == []  # the second one; the first guessed on
    assert sorted(reading.run.guesses) == [8, 9, 10, 11]


def test_guesses_that_are_passed_over_shrink_the_window_to_nothing():
    """Every second file after two neighbours: it ends, and does not begin again."""
    reading = Reading()
    reading.open(0, 1, 3, 5, 7, 9, 11, 13, 15)
    assert max(reading.taken) <= 5
    assert len(reading.taken) <= 4
    assert reading.run.guesses == {}


@pytest.mark.parametrize("step", [1, -1])
def test_one_image_that_is_left_out_costs_half_the_window_once(step):
    reading = Reading(length=100)
    here = 50
    reading.open(*(here + step * n for n in range(8)))
    assert sorted(abs(guess - here) for guess in reading.run.guesses) == [*range(8, 16)]
    assert reading.open(here + step * 9) == []  # 8 is left out: 4 ahead are enough
    assert reading.open(here + step * 10) == [here + step * n for n in (16, 17, 18)]
    for n in range(11, 30):
        assert reading.open(here + step * n) == [here + step * (n + 8)]
    # what lies far behind is given up
    assert all(abs(guess - reading.run.last) <= 8 for guess in reading.run.guesses)


def test_four_that_read_at_once_a_little_out_of_order_keep_the_run():
    reading = Reading()
    reading.open(0, 1)
    for base in range(2, 30, 4):
        reading.open(base + 1, base, base + 3, base + 2)
    assert set(range(2, 30)) <= set(reading.taken)
    assert len(reading.taken) == len(set(reading.taken))


def test_a_run_is_sure_after_two_guesses_and_until_something_else_is_opened():
    reading = Reading()
    reading.open(0, 1, 2)
    reading.run.disturbed()  # by the two that began it
    assert not reading.run.is_sure
    reading.open(3)
    assert reading.run.is_sure
    for length in (1, 7):  # a whole window must come true, undisturbed
        first = reading.run.last + 1
        reading.run.disturbed()
        reading.open(*range(first, first + length))
        assert not reading.run.is_sure
    reading.open(reading.run.last + 1)
    assert reading.run.is_sure


@pytest.mark.parametrize("place", [30, 6, 3])
def test_a_run_that_jumps_or_skips_or_turns_is_not_sure(place):
    reading = Reading()
    reading.open(0, 1, 2, 3, 4)
    assert reading.run.is_sure
    reading.open(place)
    assert not reading.run.is_sure


@given(st.lists(st.integers(0, LENGTH - 1), max_size=60), st.integers(0, 9))
def test_laws_of_guesses(places, max_window):
    reading = Reading(max_window)
    for place in places:
        reading.open(place)
        guesses = reading.run.guesses
        assert place not in guesses
        assert all(0 <= guess < LENGTH for guess in guesses)
        assert len(guesses) <= 2 * max_window
        assert all(abs(guess - reading.run.last) <= max_window for guess in guesses)


@pytest.mark.parametrize("step", [1, -1])
def test_stored_images_in_order_are_looked_for_once_each(step):
    run, order, looked = Run(160, 8), range(160)[::step], []
    for place in order:
        run.opened(place)
        looked += run.new_places()
    assert looked == list(order[2:])


def test_a_run_through_stored_images_goes_on_where_they_end():
    """Its first image that is not stored is guessed in time, as is the next."""
    run = Run(100, 8)
    guessed_at: dict[int, int] = {}
    for place in range(40):
        run.opened(place)
        for guess in run.new_places():
            if guess >= 30:
                run.guesses[guess] = False
        for guess in run.open_guesses():
            run.guesses[guess] = True
            guessed_at[guess] = place
    assert sorted(guessed_at) == list(range(30, 48))
    assert all(at < guess for guess, at in guessed_at.items())
