"""One thread works, all callers share the result, and each can leave alone.

Sharing, failures and interrupts are in `tests/store/test_fetcher.py`.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from no_threads import no_threads
from waiters import PATIENCE_S, Waiters

from allenfs.errors import ProcessLimitError, WaitTimeoutError, WrongAnswerError
from allenfs.service.single_flight import (
    NOT_INTERRUPTED,
    Caller,
    SingleFlight,
)


class Work:
    """Counts, and goes on when it may."""

    def __init__(self, *, may_end=False):
        self.done = 0
        self.gate = threading.Event()
        self.begun = threading.Event()
        if may_end:
            self.gate.set()

    def __call__(self):
        self.done += 1
        self.begun.set()
        assert self.gate.wait(PATIENCE_S)
        return object()


@pytest.fixture
def flights():
    return SingleFlight()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as running:
        yield running


def test_each_key_has_separate_work(flights, pool):
    slow = Work()
    waiting = pool.submit(flights.run, "slow", slow, NOT_INTERRUPTED)
    assert slow.begun.wait(PATIENCE_S)
    value = flights.run("quick", Work(may_end=True), NOT_INTERRUPTED)
    assert not waiting.done()
    slow.gate.set()
    assert waiting.result() is not value


def test_an_answer_that_is_there_is_not_interrupted(flights):
    """Discarding it would help no one."""
    work, others = Work(), set(threading.enumerate())

    def interrupted():
        work.gate.set()
        for thread in set(threading.enumerate()) - others:
            thread.join(PATIENCE_S)
        return True

    assert flights.run("key", work, Caller(is_interrupted=interrupted)) is not None


def test_a_caller_that_waits_a_second_is_looked_at_often_enough_to_die_in_time(flights):
    looks = []
    caller = Caller(is_interrupted=lambda: bool(looks.append(time.monotonic())))
    flights.run("key", lambda: time.sleep(1), caller)
    assert len(looks) > 10  # 0.2 s are promised


def test_a_thread_that_cannot_start_is_an_error_and_the_next_one_tries(flights):
    work = Work(may_end=True)
    with no_threads():
        for _ in range(2):
            with pytest.raises(ProcessLimitError, match="can't start"):
                flights.run("key", work, NOT_INTERRUPTED)
    assert work.done == 0
    assert flights.run("key", work, NOT_INTERRUPTED) is not None
    assert work.done == 1


def test_a_caller_joins_work_that_had_no_caller(flights, pool):
    ahead, asked, waiters = Work(), Work(may_end=True), Waiters()
    leading = pool.submit(flights.lead, "key", ahead)
    assert ahead.begun.wait(PATIENCE_S)
    value = pool.submit(flights.run, "key", asked, waiters.caller)
    waiters.wait()
    assert not flights.abandon("key")  # somebody waits
    ahead.gate.set()
    assert value.result() is not None
    assert leading.result() is None
    assert (ahead.done, asked.done) == (1, 0)
    flights.run("key", asked, NOT_INTERRUPTED)  # and nothing is left of it
    assert asked.done == 1


def test_nothing_is_kept_of_work_that_has_ended(flights):
    class Key:
        """Unlike a text, it can be watched."""

    keys, others = [Key() for _ in range(60)], set(threading.enumerate())
    for number, key in enumerate(keys):
        if number % 3 == 0:
            flights.run(key, Work(may_end=True), NOT_INTERRUPTED)
        elif number % 3 == 1:
            flights.lead(key, Work(may_end=True))
        else:
            flights.lead(key, lambda key=key: flights.abandon(key))
    left = weakref.WeakSet(keys)
    del keys, key
    for thread in set(threading.enumerate()) - others:  # they end after their answers
        thread.join(PATIENCE_S)
    gc.collect()
    assert len(left) == 0


def test_leading_what_is_under_way_does_nothing(flights, pool):
    work, again = Work(), Work(may_end=True)
    pool.submit(flights.run, "key", work, NOT_INTERRUPTED)
    assert work.begun.wait(PATIENCE_S)
    flights.lead("key", again)
    assert not flights.abandon("key")
    work.gate.set()
    assert again.done == 0


@pytest.mark.parametrize("error", [WrongAnswerError("no"), ValueError()])
def test_a_failure_without_callers_is_not_raised(flights, error):
    def fail():
        raise error

    flights.lead("key", fail)
    assert not flights.abandon("key")
    assert flights.run("key", Work(may_end=True), NOT_INTERRUPTED) is not None


def test_abandoned_work_cannot_be_joined_and_does_not_block_new_work(flights, pool):
    """It ends while new work for the key is in progress, which can be joined."""
    asked, second, waiters, values = Work(), Work(may_end=True), Waiters(), []

    def ahead():
        assert flights.abandon("key")
        values.append(pool.submit(flights.run, "key", asked, NOT_INTERRUPTED))
        assert asked.begun.wait(PATIENCE_S)
        raise WrongAnswerError("given up")

    flights.lead("key", ahead)
    assert not flights.abandon("key")
    values.append(pool.submit(flights.run, "key", second, waiters.caller))
    waiters.wait()
    asked.gate.set()
    assert values[0].result() is values[1].result()
    assert (asked.done, second.done) == (1, 0)


@pytest.mark.parametrize(
    ("look_s", "waited_s"),
    # without a look the process was stopped, or suspended: no answer could come
    [(0.5, 10), (1.0, 10), (3600, 10 * 3600)],
)
def test_patience_counts_each_moment_once_and_at_most_a_second_a_look(look_s, waited_s):
    now_s = 0.0
    flights = SingleFlight(lambda: now_s)

    def looked():
        nonlocal now_s
        now_s += look_s
        return False

    work = Work()
    with pytest.raises(WaitTimeoutError):
        flights.run("key", work, Caller(is_interrupted=looked), 10.0)
    assert now_s == pytest.approx(waited_s, abs=1.1 * look_s)
    work.gate.set()
    assert flights.run("key", work, NOT_INTERRUPTED) is not None  # the work went on
