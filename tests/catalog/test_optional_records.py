"""Optional records of a listing: waits are short, and crawlers cause few queries."""

from __future__ import annotations

import pytest
from no_threads import no_threads
from repository_bench import DAY_S, FAILURES, PATIENCE_S, Bench, thing, warnings

from allenfs.errors import (
    InterruptedWaitError,
    QueryError,
    UnreachableError,
)
from allenfs.service.single_flight import NOT_INTERRUPTED, Caller
from allenfs.service.slots import Priority


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_listing_queries_an_idle_service(bench):
    assert bench.optional("Gene") == 1
    assert bench.optional("Gene") == 1
    assert bench.service.asked == {"Gene": 1}


def test_a_listing_does_not_queue_for_optional_records(tmp_path):
    bench = Bench(tmp_path, slots=1)
    with bench.slots.at(Priority.IMAGE):
        assert bench.optional("Gene") is None
    assert bench.service.asked == {}
    assert bench.optional("Gene") == 1


def test_a_listing_uses_an_older_answer_without_waiting(tmp_path):
    """The service is busy: stored records are used."""
    old = Bench(tmp_path)
    assert old.version("Gene") == 1
    old.now_s += 8 * DAY_S
    bench = old.again(slots=1)
    looks: list[None] = []

    def looked() -> bool:
        looks.append(None)
        bench.now_s += 1
        assert len(looks) < 1000
        return False

    with bench.slots.at(Priority.IMAGE):
        record = bench.repository.optional(
            thing("Gene"), 1, Caller(is_interrupted=looked)
        )
    assert record == {"id": 1, "version": 1}
    assert bench.service.asked == {"Gene": 1}


def test_a_listing_waits_five_seconds_for_optional_records(bench):
    bench.service.gate.clear()
    looks: list[float] = []

    def looked() -> bool:
        assert bench.service.arrived.wait(PATIENCE_S)
        looks.append(bench.now_s)
        bench.now_s += 1
        return False

    assert (
        bench.repository.optional(thing("Gene"), 1, Caller(is_interrupted=looked))
        is None
    )
    assert 5 <= max(looks) - 1000 <= 9  # each look takes a second, and there are more
    # the next listing does not query a service that is so slow
    assert bench.optional("Atlas") is None
    assert bench.service.asked == {"Gene": 1}
    bench.service.gate.set()
    assert bench.version("Gene") == 1  # the asking went on
    bench.now_s += 10
    assert bench.optional("Atlas") == 1
    assert bench.service.asked == {"Gene": 1, "Atlas": 1}


def test_an_interrupted_listing_raises_the_interrupt(bench):
    bench.service.gate.clear()
    with pytest.raises(InterruptedWaitError):
        bench.repository.optional(thing("Gene"), 1, Caller(is_interrupted=lambda: True))
    bench.service.gate.set()
    assert bench.version("Gene") == 1


def test_listings_query_for_300_directories_an_hour(bench):
    names = [f"Model{number}" for number in range(310)]
    found = [bench.optional(name) for name in names]
    assert found == [1] * 300 + [None] * 10
    assert sum(bench.service.asked.values()) == 300
    assert bench.version(names[309]) == 1  # a lookup that needs the record queries it
    assert bench.optional(names[309]) == 1
    # one directory needs several records
    again = [
        bench.repository.optional(thing(f"{name} 2"), hash(name), NOT_INTERRUPTED)
        for name in names
    ]
    assert len([one for one in again if one]) == 300
    bench.now_s += 3600
    assert [bench.optional(name) for name in names[300:]] == [1] * 10


@pytest.mark.parametrize("error", FAILURES[:3], ids=["unreachable", "stalled", "busy"])
def test_listings_send_no_query_to_an_unreachable_service(bench, error, caplog):
    bench.service.error = error
    assert bench.optional("Gene") is None
    assert [bench.optional(f"Model{number}") for number in range(9)] == [None] * 9
    assert bench.service.asked == {"Gene": 1}
    assert len(warnings(caplog)) == 1
    assert error.cause in (bench.repository.last_failure or "")
    bench.service.error = None
    bench.now_s += 10
    assert bench.optional("Atlas") == 1
    assert bench.repository.last_failure is None


def test_listings_use_stored_records_while_the_service_is_unreachable(bench):
    for name in ("A", "B"):
        bench.get(name)
    bench.now_s += 8 * DAY_S
    later = bench.again()
    bench.service.error = UnreachableError("no")
    assert [
        later.optional("A"),
        later.optional("B"),
        later.optional("C"),
    ] == [1, 1, None]
    assert bench.service.asked == {"A": 2, "B": 1}
    bench.service.error = None
    later.now_s += 10
    assert [later.optional(name) for name in ("A", "B", "C")] == [3, 2, 1]


def test_a_failed_query_of_a_listing_is_remembered_like_any_other(bench):
    bench.service.errors["Gene"] = QueryError("refused")
    assert [bench.optional("Gene") for _ in range(5)] == [None] * 5
    assert bench.service.asked == {"Gene": 1}
    assert bench.optional("Atlas") == 1


def test_listing_works_when_no_thread_can_be_started(bench):
    with no_threads():
        assert bench.optional("Gene") is None
    assert bench.optional("Gene") == 1
