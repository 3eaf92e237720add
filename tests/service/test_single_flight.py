"""One thread works, all share what comes of it, and whoever leaves leaves alone."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from no_threads import no_threads

from allenfs.errors import (
    InterruptedWaitError,
    ProcessLimitError,
    WaitTimeoutError,
    WrongAnswerError,
)
from allenfs.service import single_flight
from allenfs.service.single_flight import (
    NOT_INTERRUPTED,
    Caller,
    SingleFlight,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

PATIENCE_S = 30
READERS = 16


class Work:
    """Counts, and goes on when it may."""

    def __init__(self) -> None:
        self.done = 0
        self.error: BaseException | None = None
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> object:
        self.done += 1
        self.begun.set()
        assert self.gate.wait(PATIENCE_S)
        try:
            if self.error is not None:
                raise self.error
            return object()
        finally:
            self.ended.set()


class Waiting:
    """A caller that knows when so many threads have looked."""

    def __init__(self, count: int) -> None:
        self.all_wait = threading.Event()
        self._count = count
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    @property
    def caller(self) -> Caller:
        return Caller(is_interrupted=self._look)

    def _look(self) -> bool:
        with self._lock:
            self._seen.add(threading.get_ident())
            if len(self._seen) == self._count:
                self.all_wait.set()
        return False


@pytest.fixture
def flights() -> SingleFlight[str, object]:
    return SingleFlight()


def at_once(flights: SingleFlight[str, object], work: Work) -> list[Future[object]]:
    waiting = Waiting(READERS)
    with ThreadPoolExecutor(READERS) as pool:
        futures = [
            pool.submit(flights.run, "key", work, waiting.caller)
            for _ in range(READERS)
        ]
        assert waiting.all_wait.wait(PATIENCE_S)
        work.gate.set()
    return futures


def test_sixteen_ask_and_one_thread_works(flights: SingleFlight[str, object]) -> None:
    work = Work()
    values = [future.result() for future in at_once(flights, work)]
    assert work.done == 1
    assert len(set(map(id, values))) == 1


@pytest.mark.parametrize("error", [WrongAnswerError("no"), ValueError(), SystemExit(2)])
def test_a_failure_is_shared_and_the_next_one_tries_again(
    flights: SingleFlight[str, object], error: BaseException
) -> None:
    work = Work()
    work.error = error
    raised = [future.exception() for future in at_once(flights, work)]
    assert {type(one) for one in raised} == {type(error)}
    assert work.done == 1
    work.error = None
    assert flights.run("key", work, NOT_INTERRUPTED) is not None
    assert work.done == 2


def test_each_key_is_work_of_its_own(flights: SingleFlight[str, object]) -> None:
    slow, quick = Work(), Work()
    quick.gate.set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(flights.run, "slow", slow, NOT_INTERRUPTED)
        assert slow.begun.wait(PATIENCE_S)
        value = flights.run("quick", quick, NOT_INTERRUPTED)
        assert not waiting.done()
        slow.gate.set()
        assert waiting.result() is not value
    assert (slow.done, quick.done) == (1, 1)


def test_who_is_interrupted_leaves_the_others_waiting(
    flights: SingleFlight[str, object],
) -> None:
    work, waiting = Work(), Waiting(1)
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(flights.run, "key", work, waiting.caller)
        assert waiting.all_wait.wait(PATIENCE_S)
        with pytest.raises(InterruptedWaitError) as raised:
            flights.run("key", work, Caller(is_interrupted=lambda: True))
        assert raised.value.errno == errno.EINTR
        assert not patient.done()
        work.gate.set()
        assert patient.result() is not None
    assert work.done == 1


def test_work_that_nobody_waits_for_goes_on_and_is_joined(
    flights: SingleFlight[str, object],
) -> None:
    work = Work()
    for _ in range(3):
        with pytest.raises(InterruptedWaitError):
            flights.run("key", work, Caller(is_interrupted=lambda: True))
    assert work.done == 1
    waiting = Waiting(1)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(flights.run, "key", work, waiting.caller)
        assert waiting.all_wait.wait(PATIENCE_S)
        work.gate.set()
        assert late.result() is not None
    assert work.done == 1


def test_work_that_is_done_is_not_interrupted(
    flights: SingleFlight[str, object],
) -> None:
    """The answer is there: to throw it away would help nobody."""
    work = Work()

    def interrupted() -> bool:
        work.gate.set()
        assert work.ended.wait(PATIENCE_S)
        for thread in threading.enumerate():  # its future is set before it ends
            if thread.name.endswith("(_work_on)"):
                thread.join(PATIENCE_S)
        return True

    assert flights.run("key", work, Caller(is_interrupted=interrupted)) is not None


def test_a_thread_that_cannot_start_is_an_error_and_the_next_one_tries(
    flights: SingleFlight[str, object],
) -> None:
    work = Work()
    work.gate.set()
    with no_threads():
        for _ in range(2):
            with pytest.raises(ProcessLimitError, match="can't start"):
                flights.run("key", work, NOT_INTERRUPTED)
    assert work.done == 0
    assert flights.run("key", work, NOT_INTERRUPTED) is not None
    assert work.done == 1


def test_nothing_is_kept_of_work_that_has_ended(
    flights: SingleFlight[str, object],
) -> None:
    work = Work()
    work.gate.set()
    for number in range(50):
        flights.run(str(number), work, NOT_INTERRUPTED)
    assert flights._flights == {}
    assert work.done == 50


def test_who_asks_joins_work_that_nobody_had_asked_for(
    flights: SingleFlight[str, object],
) -> None:
    ahead, asked = Work(), Work()
    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(flights.lead, "key", ahead)
        assert ahead.begun.wait(PATIENCE_S)
        waiting = Waiting(1)
        value = pool.submit(flights.run, "key", asked, waiting.caller)
        assert waiting.all_wait.wait(PATIENCE_S)
        assert not flights.abandon("key")  # somebody waits
        ahead.gate.set()
        assert value.result() is not None
        assert leading.result() is None
    assert (ahead.done, asked.done) == (1, 0)
    assert (flights._flights, flights._not_joined) == ({}, set())


def test_leading_what_is_under_way_does_nothing(
    flights: SingleFlight[str, object],
) -> None:
    work, again = Work(), Work()
    with ThreadPoolExecutor(1) as pool:
        value = pool.submit(flights.run, "key", work, NOT_INTERRUPTED)
        assert work.begun.wait(PATIENCE_S)
        flights.lead("key", again)
        assert not flights.abandon("key")
        work.gate.set()
        value.result()
    assert again.done == 0


@pytest.mark.parametrize("error", [WrongAnswerError("no"), ValueError()])
def test_a_failure_of_what_nobody_asked_for_reaches_nobody(
    flights: SingleFlight[str, object], error: BaseException
) -> None:
    work = Work()
    work.error = error
    work.gate.set()
    flights.lead("key", work)
    assert work.done == 1
    assert (flights._flights, flights._not_joined) == ({}, set())


def test_work_that_was_abandoned_is_joined_by_nobody(
    flights: SingleFlight[str, object],
) -> None:
    """Who asks between the giving up and its end begins anew, and is let be."""
    asked = Work()
    asked.gate.set()
    gave_up: list[bool] = []
    values: list[object] = []

    def ahead() -> object:
        gave_up.append(flights.abandon("key"))
        values.append(flights.run("key", asked, NOT_INTERRUPTED))
        raise WrongAnswerError("given up")

    flights.lead("key", ahead)
    assert gave_up == [True]
    assert asked.done == 1
    assert values[0] is not None
    assert not flights.abandon("key")
    assert (flights._flights, flights._not_joined) == ({}, set())


def test_abandoned_work_does_not_take_the_next_ones_place(
    flights: SingleFlight[str, object],
) -> None:
    """The old flight lands while the new one is under way: that stays joinable."""
    asked = Work()
    pool = ThreadPoolExecutor(2)

    def ahead() -> object:
        assert flights.abandon("key")
        values.append(pool.submit(flights.run, "key", asked, NOT_INTERRUPTED))
        assert asked.begun.wait(PATIENCE_S)
        raise WrongAnswerError("given up")

    values: list[Future[object]] = []
    with pool:
        flights.lead("key", ahead)
        waiting = Waiting(1)
        second = pool.submit(flights.run, "key", asked, waiting.caller)
        assert waiting.all_wait.wait(PATIENCE_S)
        asked.gate.set()
        assert second.result() is values[0].result()
    assert asked.done == 1


@pytest.mark.parametrize(
    ("look_s", "waited_s"),
    # without a look the process was stopped, or suspended: no answer could come
    [(0.025, 10), (0.3, 10), (1.0, 10), (3600, 10 * 3600)],
)
def test_patience_counts_each_moment_once_and_at_most_a_second_a_look(
    look_s: float, waited_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(single_flight, "_POLL_S", 0)
    flights: SingleFlight[str, object] = SingleFlight(lambda: now_s)

    def looked() -> bool:
        nonlocal now_s
        now_s += look_s
        return False

    work = Work()
    with pytest.raises(WaitTimeoutError):
        flights.run("key", work, Caller(is_interrupted=looked), 10.0)
    assert now_s == pytest.approx(waited_s, abs=1.1 * look_s)
    work.gate.set()
    assert flights.run("key", work, NOT_INTERRUPTED) is not None  # the work went on
    assert work.done <= 2
