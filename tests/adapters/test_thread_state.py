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
    """The threads whose state was kept, in order."""
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


def test_a_thread_keeps_its_state_once_and_after_several_calls(kept: list[int]) -> None:
    states = ThreadStates()
    calls_in_a_thread(states, 3)
    assert kept == []
    for _ in range(1000):
        states.count_call()
    assert kept == [threading.get_ident()]


def test_a_thread_with_the_id_of_an_ended_one_keeps_its_own_state(
    kept: list[int],
) -> None:
    """IDs of threads that have ended are used again, mostly at once."""
    states = ThreadStates()
    for count in range(1, 101):
        calls_in_a_thread(states, 20)
        assert len(kept) == count
    assert len(set(kept)) < 100


def test_at_most_200_states_are_kept(kept: list[int]) -> None:
    states = ThreadStates()
    for _ in range(230):
        calls_in_a_thread(states, 10)
    assert len(kept) == 200
