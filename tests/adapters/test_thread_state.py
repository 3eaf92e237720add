"""Threads that stay keep their state once; those of a burst do not use it up."""

from __future__ import annotations

import ctypes
import threading

import pytest

from allenfs.adapters.fuse_operations import ThreadStates


@pytest.fixture
def saved(monkeypatch):
    """The threads whose state was kept, in order."""
    threads = []
    keep = lambda: threads.append(threading.get_ident())  # noqa: E731
    monkeypatch.setattr(ctypes.pythonapi, "PyGILState_Ensure", keep)
    return threads


def calls_in_a_thread(states, count):
    def calls():
        for _ in range(count):
            states.count_call()

    thread = threading.Thread(target=calls)
    thread.start()
    thread.join()


def test_a_thread_keeps_its_state_once_and_after_several_calls(saved):
    states = ThreadStates()
    calls_in_a_thread(states, 3)
    assert saved == []
    for _ in range(1000):
        states.count_call()
    assert saved == [threading.get_ident()]


def test_200_threads_keep_their_own_state_whatever_their_id(saved):
    """IDs of threads that have ended are used again, mostly at once."""
    states = ThreadStates()
    for count in range(1, 231):
        calls_in_a_thread(states, 10)
        assert len(saved) == min(count, 200)
    assert len(set(saved)) < 200
