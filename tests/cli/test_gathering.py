"""Files done a few at a time: results, order, bugs, what is left when it is ended."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from no_threads import no_threads

from allenfs.cli.prefetch.gathering import Gathering, Outcome, Result, Task
from allenfs.cli.prefetch.outage import Outage
from allenfs.cli.prefetch.tree import Kind
from allenfs.errors import (
    AllenFSError,
    InterruptedWaitError,
    ProcessLimitError,
    ServiceTimeoutError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class FlatTree:
    """One directory of files; `trouble` is what to do before some are fetched."""

    def __init__(
        self,
        count: int,
        trouble: dict[str, Callable[[], object]] | None = None,
        *,
        room: int = 10**9,
        connections: int = 4,
    ) -> None:
        self.connections = connections
        self._names = [f"{number:06}.jpg" for number in range(count)]
        self._trouble = trouble or {}
        self._room = room
        self._lock = threading.Lock()
        self.here: dict[str, int] = {}
        self.fetched: list[str] = []
        self.now = self.most = 0

    def shown(self, path: str) -> str:
        return path

    def names(self, path: str) -> list[str]:
        return self._names

    def kind(self, path: str, *, follow: bool) -> Kind:
        return Kind.FILE if path.endswith(".jpg") else Kind.DIRECTORY

    def local_bytes(self, path: str) -> int | None:
        with self._lock:
            return self.here.get(path)

    def fetch(self, path: str) -> int:
        with self._lock:
            self.fetched.append(path)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self._trouble.get(path, lambda: None)()
        finally:
            with self._lock:
                self.now -= 1
        with self._lock:
            self.here[path] = 7
            if len(self.here) > self._room:
                del self.here[next(iter(self.here))]
        return 7

    def evict(self, path: str) -> int | None:
        with self._lock:
            return self.here.pop(path, None)

    def store_failure(self) -> str | None:
        return None


def done(tree: FlatTree, task: Task = Task.FETCH) -> list[Outcome]:
    return outcomes_of(tree, Outage(pause_s=0.001, patience_s=0.01), task)


def outcomes_of(
    tree: FlatTree, outage: Outage, task: Task = Task.FETCH
) -> list[Outcome]:
    stop = threading.Event()
    gathering = Gathering(tree, ["d"], task, recursive=False, outage=outage, stop=stop)
    outcomes = [one for one in gathering.outcomes(30) if one is not None]
    assert gathering.found >= len(outcomes)
    return outcomes


def results(outcomes: list[Outcome]) -> list[Result]:
    return [one.result for one in outcomes]


def raising(error: Exception) -> Callable[[], object]:
    def throw() -> None:
        raise error

    return throw


def test_each_file_is_done_once_and_no_more_at_a_time_than_connections() -> None:
    tree = FlatTree(500)
    assert results(done(tree)) == [Result.FETCHED] * 500
    assert len(set(tree.fetched)) == len(tree.fetched) == 500
    assert tree.most <= 4
    assert results(done(tree)) == [Result.LOCAL] * 500


def test_what_is_checked_and_evicted_stays_in_the_order_of_the_listing() -> None:
    tree = FlatTree(50)
    done(tree)
    del tree.here["d/000007.jpg"]
    checked = done(tree, Task.CHECK)
    assert [one.path for one in checked] == sorted(one.path for one in checked)
    assert [one.result for one in checked].index(Result.MISSING) == 7
    evicted = done(tree, Task.EVICT)
    assert results(evicted).count(Result.EVICTED) == 49
    assert tree.here == {}


def test_files_that_fail_one_by_one_are_no_outage() -> None:
    names = [f"d/{number:06}.jpg" for number in range(0, 400, 10)]
    error = AllenFSError("a broken image")
    tree = FlatTree(400, dict.fromkeys(names, raising(error)), connections=1)
    outcomes = done(tree)
    failed = [one for one in outcomes if one.result is Result.FAILED]
    assert [one.path for one in failed] == names
    assert {one.cause for one in failed} == {"a broken image"}
    assert results(outcomes).count(Result.FETCHED) == 360


def test_an_outage_that_ends_costs_the_first_failures_only() -> None:
    names = [f"d/{number:06}.jpg" for number in range(10)]
    left = [6]

    def fail_at_first() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise ServiceTimeoutError("no byte")

    tree = FlatTree(10, dict.fromkeys(names, fail_at_first), connections=1)
    outcomes = outcomes_of(tree, Outage(pause_s=0, patience_s=600))
    assert results(outcomes) == [Result.FAILED] * 3 + [Result.FETCHED] * 7
    assert len(tree.fetched) == 13


def test_an_outage_that_lasts_leaves_the_rest_untried() -> None:
    error = UnreachableError("no route")
    names = [f"d/{number:06}.jpg" for number in range(1000)]
    tree = FlatTree(1000, dict.fromkeys(names, raising(error)))
    outcomes = done(tree)
    assert set(results(outcomes)) == {Result.FAILED, Result.UNTRIED}
    assert len(tree.fetched) < 50


def test_a_store_that_drives_the_first_one_out_ends_it() -> None:
    tree = FlatTree(1000, room=20, connections=1)
    outcomes = done(tree)
    assert len(tree.fetched) == 21
    assert set(results(outcomes)) == {Result.FETCHED, Result.UNTRIED}


def test_a_bug_is_raised_and_not_taken_for_a_failure() -> None:
    tree = FlatTree(9, {"d/000003.jpg": raising(ZeroDivisionError("a bug"))})
    with pytest.raises(ZeroDivisionError):
        done(tree)


def test_who_is_interrupted_leaves_without_an_outcome() -> None:
    error = InterruptedWaitError("ended")
    tree = FlatTree(3, {"d/000001.jpg": raising(error)}, connections=1)
    assert len(outcomes_of(tree, Outage(pause_s=1, patience_s=1))) == 1


def test_with_few_threads_all_is_done_and_with_too_few_it_is_an_error() -> None:
    for threads in (2, 3):
        with no_threads(after=threads):
            outcomes = done(FlatTree(20))
        assert results(outcomes) == [Result.FETCHED] * 20
    for threads in (0, 1):
        with no_threads(after=threads), pytest.raises(ProcessLimitError):
            done(FlatTree(20))
