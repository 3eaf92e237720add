"""Threads that stay keep their state once; those of a burst do not use it up."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

import pytest

from allenfs.adapters.fuse_operations import ThreadStates

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The threads whose state is kept, in the order in which they were told."""
    threads: list[int] = []
    monkeypatch.setattr(
        ctypes.pythonapi,
        "PyGILState_Ensure",
        lambda: threads.append(threading.get_ident()),
    )
    return threads


def calls_in_a_thread(states: ThreadStates, count: int) -> None:
    def calls() -> None:
        for _ in range(count):
            states.count_call()

    thread = threading.Thread(target=calls)
    thread.start()
    thread.join()


def test_a_thread_keeps_its_state_once(kept: list[int]) -> None:
    states = ThreadStates()
    for _ in range(1000):
        states.count_call()
    assert kept == [threading.get_ident()]


def test_a_thread_of_a_few_calls_keeps_nothing(kept: list[int]) -> None:
    states = ThreadStates()
    calls_in_a_thread(states, 3)
    assert kept == []


def test_a_thread_after_a_thread_of_the_same_number_keeps_its_own(
    kept: list[int],
) -> None:
    """Numbers of threads that have ended are used again, mostly at once."""
    states = ThreadStates()
    for count in range(1, 101):
        calls_in_a_thread(states, 20)
        assert len(kept) == count
    assert len(set(kept)) < 100


def test_there_is_an_end_of_states_that_stay_behind(kept: list[int]) -> None:
    states = ThreadStates()
    for _ in range(230):
        calls_in_a_thread(states, 10)
    assert len(kept) == 200
