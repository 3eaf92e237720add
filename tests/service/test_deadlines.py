"""Requests end at their deadline, whatever else is in flight."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from no_threads import no_threads
from waiters import PATIENCE_S

from allenfs.errors import ProcessLimitError, ServiceTimeoutError
from allenfs.service.deadlines import Deadlines, Watchdog, guard


def request(deadlines, remaining_s):
    """Wait for a byte that never comes; return what the socket gave."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE_S)
        with Watchdog(deadlines, remaining_s):
            guard(ours)
            return ours.recv(1)


def test_the_request_with_the_earliest_deadline_ends_first_whenever_it_began():
    deadlines = Deadlines()
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        stack.enter_context(Watchdog(deadlines, 600))
        with ThreadPoolExecutor(4) as pool:
            short = [pool.submit(request, deadlines, 0.05) for _ in range(4)]
            for one in short:
                with pytest.raises(ServiceTimeoutError):
                    one.result(PATIENCE_S)
        assert threading.active_count() == before + 1  # one for all of them


def test_a_deadline_after_all_others_were_met_is_kept_too():
    deadlines = Deadlines()
    for _ in range(2):
        with Watchdog(deadlines, 0.2):
            pass
        with pytest.raises(ServiceTimeoutError):
            request(deadlines, 0.01)


def test_a_deadline_that_finds_no_thread_leaves_the_next_ones_theirs():
    deadlines = Deadlines()
    with no_threads(), pytest.raises(ProcessLimitError):
        request(deadlines, 600)
    with pytest.raises(ServiceTimeoutError):
        request(deadlines, 0.01)


def test_a_request_that_has_ended_is_forgotten_before_its_deadline():
    watchdog = Watchdog(Deadlines(), 600)
    with watchdog:
        pass
    is_kept = weakref.ref(watchdog)
    del watchdog
    assert is_kept() is None
