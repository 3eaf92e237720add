"""Answers are requested once, cached until they expire, and used if a query fails."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from no_threads import no_threads
from repository_bench import DAY_S, FAILURES, PATIENCE_S, Bench, thing, warnings

from allenfs.catalog.record_cache import CachedRecord
from allenfs.errors import (
    InterruptedWaitError,
    PathNotFoundError,
    ProcessLimitError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.service.health import FailureMemory
from allenfs.service.rma import Query
from allenfs.service.single_flight import NOT_INTERRUPTED, Caller
from allenfs.store.record_files import StoredRecord

failures = pytest.mark.parametrize("error", FAILURES, ids=lambda e: type(e).__name__)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_an_answer_is_asked_once_for_its_time(bench):
    held = bench.get("Gene")
    assert held.record == {"id": 1, "version": 1}
    assert held.fetched_ns == 1000 * 10**9
    bench.now_s += 7 * DAY_S - 1
    assert bench.get("Gene") is held
    bench.now_s += 1
    assert bench.version("Gene") == 2
    assert bench.get("Gene").fetched_ns == bench.now_s * 10**9
    assert bench.service.asked == {"Gene": 2}


def test_an_answer_outlives_its_process_for_the_rest_of_its_time(bench):
    held = bench.get("Gene")
    bench.now_s += 6 * DAY_S
    later = bench.again()
    assert later.get("Gene").record == held.record
    assert later.get("Gene").fetched_ns == held.fetched_ns
    later.now_s += DAY_S - 1
    assert later.version("Gene") == 1
    later.now_s += 1
    assert later.version("Gene") == 2
    assert bench.service.asked == {"Gene": 2}


def test_a_clock_that_was_put_back_makes_an_answer_old(bench):
    bench.get("Gene")
    bench.now_s -= 500
    assert bench.again().version("Gene") == 2


@failures
def test_an_older_answer_is_better_than_a_failure(bench, error, caplog):
    bench.get("Gene")
    bench.now_s += 30 * DAY_S
    bench.service.error = error
    for one in (bench, bench.again()):
        caplog.clear()
        assert one.version("Gene") == 1
        assert one.get("Gene").fetched_ns == 1000 * 10**9
        assert "an older answer is used" in warnings(caplog)[0]
        assert len(warnings(caplog)) == 1
        assert error.cause in (one.repository.last_failure or "")
    assert bench.service.asked == {"Gene": 3}
    # requested again after its time, and not earlier
    bench.now_s += 9
    assert bench.version("Gene") == 1
    assert bench.service.asked == {"Gene": 3}
    bench.service.error = None
    bench.now_s += 1
    assert bench.version("Gene") == 4
    assert bench.repository.last_failure is None


def test_while_no_thread_can_be_started_an_older_answer_is_used(bench):
    with no_threads():
        with pytest.raises(ProcessLimitError):
            bench.get("Gene")
    assert bench.version("Gene") == 1
    bench.now_s += 30 * DAY_S
    with no_threads():
        assert bench.version("Gene") == 1
    bench.now_s += 10
    assert bench.version("Gene") == 2


@pytest.mark.parametrize("error", FAILURES[:3], ids=["unreachable", "stalled", "busy"])
def test_one_failed_asking_is_enough_for_all_older_answers(bench, error):
    """A mount without a network must not try for minutes at each directory."""
    for name in ("A", "B", "C"):
        bench.get(name)
    bench.now_s += 8 * DAY_S
    bench.service.error = error
    assert [bench.version(name) for name in ("A", "B", "C")] == [1, 1, 1]
    assert bench.service.asked == {"A": 2, "B": 1, "C": 1}
    bench.service.error = None
    bench.now_s += 10
    assert [bench.version(name) for name in ("A", "B", "C")] == [3, 2, 2]


@pytest.mark.parametrize("error", FAILURES[3:], ids=lambda e: type(e).__name__)
def test_an_invalid_answer_does_not_affect_the_next(bench, error):
    for name in ("A", "B"):
        bench.get(name)
    bench.now_s += 8 * DAY_S
    bench.service.errors["A"] = error
    assert [bench.version("A"), bench.version("B")] == [1, 2]


@failures
def test_a_failure_is_remembered_for_ten_seconds_and_logged_once(bench, error, caplog):
    bench.service.error = error
    for _ in range(3):
        with pytest.raises(type(error)) as raised:
            bench.get("Gene")
        assert raised.value.cause == error.cause
        assert raised.value.errno == error.errno
    bench.now_s += 9.9
    with pytest.raises(type(error)):
        bench.get("Gene")
    assert bench.service.asked == {"Gene": 1}
    (line,) = warnings(caplog)
    assert line.startswith("thing/Gene: ")
    assert bench.repository.last_failure == line
    bench.service.error = None
    bench.now_s += 0.2
    assert bench.version("Gene") == 2
    assert len(warnings(caplog)) == 1
    assert bench.repository.last_failure is None


def test_a_failure_of_one_query_does_not_affect_another(bench):
    bench.service.errors["Gene"] = UnreachableError("no")
    with pytest.raises(UnreachableError):
        bench.get("Gene")
    assert bench.version("Atlas") == 1


def test_what_does_not_exist_is_asked_again_after_a_minute(bench):
    bench.service.rows["Gene"] = []
    for _ in range(3):
        assert bench.get("Gene").record is None
        with pytest.raises(PathNotFoundError):
            bench.repository.existing(thing("Gene"), NOT_INTERRUPTED)
    bench.now_s += 59
    assert bench.get("Gene").record is None
    assert bench.service.asked == {"Gene": 1}
    assert bench.files.get(("thing", "Gene")) is None
    del bench.service.rows["Gene"]
    bench.now_s += 1
    assert bench.version("Gene") == 2
    assert (
        bench.repository.existing(thing("Gene"), NOT_INTERRUPTED).record["version"] == 2
    )


def test_what_was_and_is_no_more_is_forgotten(bench):
    known = bench.get("Gene").record
    bench.now_s += 8 * DAY_S
    bench.service.rows["Gene"] = []
    assert bench.get("Gene").record == known  # one empty answer may be a mistake
    bench.now_s += 61
    assert bench.get("Gene").record is None
    assert bench.files.get(("thing", "Gene")) is None
    bench.service.error = UnreachableError("no")
    with pytest.raises(UnreachableError):
        bench.again().get("Gene")


def test_a_failure_is_never_an_absence(bench):
    for error in FAILURES:
        bench.service.error = error
        bench.now_s += 11
        with pytest.raises(ServiceError) as raised:
            bench.repository.existing(thing("Gene"), NOT_INTERRUPTED)
        assert not isinstance(raised.value, PathNotFoundError)


def test_sixteen_simultaneous_callers_make_one_query(bench):
    bench.service.gate.clear()
    seen: set[int] = set()
    all_wait, lock = threading.Event(), threading.Lock()

    def waits() -> bool:
        with lock:
            seen.add(threading.get_ident())
            if len(seen) == 16:
                all_wait.set()
        return False

    caller = Caller(is_interrupted=waits)
    with ThreadPoolExecutor(16) as pool:
        futures = [
            pool.submit(bench.repository.get, thing("Gene"), caller) for _ in range(16)
        ]
        assert all_wait.wait(PATIENCE_S)
        bench.service.gate.set()
    assert len({id(future.result()) for future in futures}) == 1
    assert bench.service.asked == {"Gene": 1}


def test_an_interrupted_caller_leaves_and_the_answer_is_cached(bench):
    bench.service.gate.clear()
    with pytest.raises(InterruptedWaitError):
        bench.repository.get(thing("Gene"), Caller(is_interrupted=lambda: True))
    bench.service.gate.set()
    assert bench.version("Gene") == 1
    assert bench.service.asked == {"Gene": 1}


def test_what_is_known_is_what_was_answered_here_or_before(bench):
    for name in ("7", "10"):
        bench.repository.get(thing(name, "dataset"), NOT_INTERRUPTED)
    bench.repository.get(thing("5", "section"), NOT_INTERRUPTED)
    bench.service.rows["8"] = []
    bench.repository.get(thing("8", "dataset"), NOT_INTERRUPTED)
    assert bench.cache.names("dataset") == ["10", "7"]
    assert bench.again().cache.names("dataset") == ["10", "7"]
    bench.files.clear()
    assert bench.cache.names("dataset") == ["10", "7"]
    assert bench.again().cache.names("dataset") == []


def test_a_store_that_keeps_nothing_costs_no_answer(tmp_path):
    (tmp_path / "store").write_text("no directory")
    bench = Bench(tmp_path / "store")
    assert bench.version("Gene") == 1
    assert bench.version("Gene") == 1
    assert bench.optional("Gene") == 1
    assert bench.optional("Atlas") == 1


def test_an_error_that_was_raised_often_holds_no_memory(bench):
    bench.service.error = UnreachableError("no")
    raised = []
    for _ in range(3):
        with pytest.raises(UnreachableError) as caught:
            bench.get("Gene")
        raised.append(caught.value)
    assert len(set(map(id, raised))) == 3


def test_old_answers_are_asked_again_for_300_directories_too(tmp_path):
    bench = Bench(tmp_path)
    names = [f"Model{number}" for number in range(310)]
    for name in names:
        bench.get(name)
    bench.now_s += 8 * DAY_S
    later = bench.again()
    bench.service.asked.clear()
    found = [later.optional(name) for name in names]
    assert None not in found
    assert sum(bench.service.asked.values()) == 300


def test_callers_wait_at_most_ten_seconds_and_the_answer_is_cached(bench):
    bench.service.gate.clear()

    def looked() -> bool:
        assert bench.service.arrived.wait(PATIENCE_S)
        bench.now_s += 1
        return False

    with pytest.raises(ServiceTimeoutError, match=r" \(1 attempt, 10\.0 s\)$"):
        bench.repository.get(thing("Gene"), Caller(is_interrupted=looked))
    began_s = bench.now_s
    with pytest.raises(ServiceTimeoutError):  # the next one does not wait
        bench.repository.get(thing("Gene"), Caller(is_interrupted=looked))
    assert bench.now_s == began_s
    bench.service.gate.set()
    bench.now_s += 11
    assert bench.version("Gene") == 1
    assert bench.service.asked == {"Gene": 1}


def test_time_in_which_the_process_was_stopped_is_not_waited(bench):
    """SIGSTOP, or a lid that is closed: the answer lies in the socket meanwhile."""
    bench.service.gate.clear()

    def looked() -> bool:
        assert bench.service.arrived.wait(PATIENCE_S)
        if not bench.service.gate.is_set():
            bench.now_s += 3600
            bench.service.gate.set()
        return False

    assert (
        bench.repository.get(thing("Gene"), Caller(is_interrupted=looked)).record[
            "version"
        ]
        == 1
    )
    assert bench.service.asked == {"Gene": 1}


def test_a_failure_that_arrives_after_the_check_is_not_queried_again(
    bench, monkeypatch
):
    bench.service.error = UnreachableError("no")
    look = FailureMemory.remembered

    def look_late(memory: Any, key: tuple[str, str]) -> ServiceError | None:
        monkeypatch.undo()
        found = look(memory, key)
        with pytest.raises(UnreachableError):  # another thread's, meanwhile
            bench.get("Gene")
        return found

    monkeypatch.setattr(FailureMemory, "remembered", look_late)
    with pytest.raises(UnreachableError):
        bench.get("Gene")
    assert bench.service.asked == {"Gene": 1}


def test_an_older_answer_does_not_wait_for_a_slow_service(bench):
    assert bench.version("Gene") == 1
    bench.now_s += 8 * DAY_S
    bench.service.gate.clear()
    bench.service.arrived.clear()
    began_s = bench.now_s

    def looked() -> bool:
        assert bench.service.arrived.wait(PATIENCE_S)
        bench.now_s += 1
        return False

    held = bench.repository.get(thing("Gene"), Caller(is_interrupted=looked))
    assert held.record["version"] == 1
    assert bench.now_s - began_s <= 6
    bench.service.gate.set()


def test_a_service_that_was_just_unreachable_is_tried_once(bench):
    assert bench.version("Gene") == 1
    assert bench.service.once[-1] is False
    bench.service.error = UnreachableError("no")
    with pytest.raises(UnreachableError):
        bench.get("Atlas")
    bench.service.error = None
    assert bench.version("Product") == 1
    assert bench.service.once[-2:] == [False, True]
    assert bench.version("Plane") == 1
    assert bench.service.once[-1] is False


def test_the_pages_of_a_list_are_tried_again_once_the_service_is_back(bench):
    def ask(page):
        page(Query("Product"), 0, 1)
        bench.now_s += 11  # longer than a failure is remembered
        return page(Query("Product"), 1, 1)

    bench.service.error = UnreachableError("no")
    with pytest.raises(UnreachableError):
        bench.get("Atlas")
    bench.service.error = None
    bench.repository.get(replace(thing("Product"), ask=ask), NOT_INTERRUPTED)
    assert bench.service.once[-2:] == [True, False]


def test_that_there_was_nothing_is_no_answer_when_it_is_old(bench):
    bench.service.rows["Gene"] = []
    assert bench.get("Gene").record is None
    bench.now_s += 61
    bench.service.error = UnreachableError("no")
    with pytest.raises(UnreachableError):
        bench.get("Gene")


def test_an_answer_that_cannot_be_read_any_more_is_asked_again(bench, caplog):
    bench.files.put(("thing", "Gene"), StoredRecord({"version": "other"}, 10**12))

    def read(answer: Any) -> Any:
        return {"id": answer["id"], "version": answer["version"]}

    question = replace(thing("Gene"), read=read)
    assert bench.repository.get(question, NOT_INTERRUPTED).record == {
        "id": 1,
        "version": 1,
    }
    (warning,) = caplog.messages
    assert "thing/Gene" in warning


def in_memory(bench: Bench, name: str) -> list[CachedRecord[Any]]:
    """The records of things called NAME0 to NAME299 that need no store."""
    found = (bench.cache.fresh(thing(f"{name}{number}")) for number in range(300))
    return [one for one in found if one is not None]


def test_what_is_kept_in_memory_is_weighed_not_counted(bench):
    light = {"id": 1, "all": [0] * 1000}
    heavy = {"id": 1, "all": [[]] * 100_000, "text": "a" * 10**6}
    for number in range(300):
        bench.service.rows[f"Light{number}"] = [light]
        bench.get(f"Light{number}")
    for number in range(40):
        bench.service.rows[f"Heavy{number}"] = [heavy]
        bench.get(f"Heavy{number}")
    light_ones, heavy_ones = in_memory(bench, "Light"), in_memory(bench, "Heavy")
    assert 0 < len(heavy_ones) < 4
    weights_bytes = [one.weight_bytes for one in [*light_ones, *heavy_ones]]
    assert sum(weights_bytes) <= 64 * 2**20
    # evicted records are in the store, with the same weight
    bench.service.error = UnreachableError("no")
    for number in range(5):
        assert bench.get(f"Heavy{number}").record == heavy
    assert 0 < len(in_memory(bench, "Heavy")) < 4


def test_an_answer_weighs_its_text_its_values_and_what_holds_them(bench):
    def weight_bytes(row: dict[str, Any]) -> int:
        name = f"Thing{len(bench.service.rows)}"
        bench.service.rows[name] = [row]
        return bench.get(name).weight_bytes

    nothing = weight_bytes({"id": 1})
    assert nothing > 1000
    assert weight_bytes({"id": 1, "name": "a" * 1000}) > nothing + 4 * 1000
    assert weight_bytes({"id": 1, "all": [[]] * 100}) > nothing + 100 * 100


def test_an_answer_heavier_than_all_that_is_remembered_is_given(bench):
    heaviest = {"id": 1, "all": [[]] * 400_000}
    bench.service.rows["Gene"] = [heaviest]
    assert bench.get("Gene").record == heaviest
    assert bench.get("Gene").weight_bytes == 64 * 2**20


def test_a_failed_query_keeps_none_of_its_pages(bench):
    class Read(list[int]):
        pass

    seen: list[weakref.ref[Read]] = []

    def ask(page: Any) -> Any:
        read = Read([1])
        seen.append(weakref.ref(read))
        raise WrongAnswerError(str(read))

    others = {*threading.enumerate()}  # some tests' threads never end
    gc.disable()
    try:
        with pytest.raises(WrongAnswerError):
            bench.repository.get(replace(thing("Gene"), ask=ask), NOT_INTERRUPTED)
        for thread in {*threading.enumerate()} - others:  # that of the query ends
            thread.join(PATIENCE_S)
        assert seen[0]() is None
    finally:
        gc.enable()


def test_a_list_without_end_ends_at_the_deadline(bench):
    pages = 0

    def ask(page: Any) -> Any:
        nonlocal pages
        while page(Query("Gene"), pages, 2000):
            pages += 1
            bench.now_s += 7

    question = replace(thing("Gene"), ask=ask, patience_s=math.inf)
    with pytest.raises(ServiceTimeoutError, match="before the deadline"):
        bench.repository.get(question, NOT_INTERRUPTED)
    assert pages == 600 // 7 + 1
