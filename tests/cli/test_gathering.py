"""Files done a few at a time: results, order, bugs, what is left when it is ended."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from no_threads import no_threads

from allenfs.cli.prefetch.gathering import Gathering, Result
from allenfs.cli.prefetch.place import Place
from allenfs.cli.prefetch.tree import Kind
from allenfs.errors import (
    AllenFSError,
    InterruptedWaitError,
    ProcessLimitError,
    ServiceTimeoutError,
    UnreachableError,
)


class FlatTree:
    """One directory of files, and what is called before some are fetched."""

    def __init__(self, count, failing=None, *, room=10**9, connections=4):
        self.connections = connections
        self._names = [f"{number:06}.jpg" for number in range(count)]
        self._failing = failing or {}
        self._room = room
        self._lock = threading.Lock()
        self.local = {}
        self.fetched = []
        self.now = self.most = 0

    def shown(self, path):
        return path

    def names(self, path):
        return self._names

    def kind(self, path, *, follow):
        return Kind.FILE if path.endswith(".jpg") else Kind.DIRECTORY

    def local_bytes(self, path):
        with self._lock:
            return self.local.get(path)

    def fetch(self, path):
        with self._lock:
            self.fetched.append(path)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self._failing.get(path, lambda: None)()
        finally:
            with self._lock:
                self.now -= 1
        with self._lock:
            self.local[path] = 7
            if len(self.local) > self._room:
                del self.local[next(iter(self.local))]
        return 7

    def evict(self, path):
        with self._lock:
            return self.local.pop(path, None)

    def store_failure(self):
        return None


class DeepTree(FlatTree):
    """Directories with some files in each; `list_one` is called with their names."""

    def __init__(self, count, list_one, *, files=1):
        super().__init__(count)
        self._list_one = list_one
        self._files = files

    def names(self, path):
        if path:
            self._list_one(path)
            return [f"{number:03}.jpg" for number in range(self._files)]
        return [name.removesuffix(".jpg") for name in self._names]


def outcomes_of(*trees, task="fetch", pattern="d", pause_s=0.001, patience_s=0.01):
    places = [Place(tree, patience_s=patience_s, pause_s=pause_s) for tree in trees]
    patterns = [(place, pattern) for place in places]
    gathering = Gathering(patterns, task, recursive=False, stop=threading.Event())
    outcomes = [one for one in gathering.outcomes(30) if one is not None]
    assert gathering.found >= len(outcomes)
    return outcomes


def results(outcomes):
    return [one.result for one in outcomes]


def raising(error):
    def throw():
        raise error

    return throw


def test_each_file_is_done_once_and_no_more_at_a_time_than_connections():
    meet = threading.Barrier(4).wait
    first = {f"d/{number:06}.jpg": lambda: meet(30) for number in range(4)}
    small, large = FlatTree(9, connections=1), FlatTree(500, first)
    assert results(outcomes_of(small, large)) == [Result.FETCHED] * 509
    assert len(set(large.fetched)) == len(large.fetched) == 500
    assert large.most == 4
    assert results(outcomes_of(large)) == [Result.LOCAL] * 500


def test_what_is_checked_and_evicted_stays_in_the_order_of_the_listing():
    tree = FlatTree(50)
    outcomes_of(tree)
    del tree.local["d/000007.jpg"]
    checked = outcomes_of(tree, task="check")
    assert [one.path for one in checked] == sorted(one.path for one in checked)
    assert results(checked).index(Result.MISSING) == 7
    evicted = outcomes_of(tree, task="evict")
    assert results(evicted).count(Result.EVICTED) == 49
    assert tree.local == {}


@pytest.mark.parametrize("task", ["fetch", "check"])
def test_directories_of_a_glob_are_listed_ahead_and_their_files_stay_in_order(task):
    meet, first = threading.Barrier(5).wait, {f"{number:06}" for number in range(5)}

    def list_one(name):
        if name in first:  # by the thread that finds files, and four ahead of it
            first.remove(name)
            meet(30)

    tree = DeepTree(200, list_one)
    outcomes = outcomes_of(tree, task=task, pattern="*")
    expected = [f"{number:06}/000.jpg" for number in range(200)]
    found = [one.path for one in outcomes]
    assert (found if task == "check" else sorted(found)) == expected


def test_nothing_is_listed_ahead_while_many_files_wait():
    listed, may_fetch = [], threading.Event()
    tree = DeepTree(20, listed.append, files=100)
    place = Place(tree, patience_s=0.01)
    stop = threading.Event()
    gathering = Gathering([(place, "*")], "fetch", recursive=False, stop=stop)
    tree.fetch = lambda path: tree.local.setdefault(path, int(may_fetch.wait(30)))
    for _ in gathering.outcomes(0.01):
        if gathering.is_all_found:
            may_fetch.set()
    assert gathering.found == 20 * 100
    ahead = [name for name, count in Counter(listed).items() if count > 1]
    assert sorted(ahead) == [f"{number:06}" for number in range(1, 5)]


def test_nothing_is_listed_ahead_while_the_service_does_not_answer():
    listed = []

    def list_one(name):
        listed.append(name)
        raise UnreachableError("no answer")

    outcomes_of(DeepTree(40, list_one), pattern="*", patience_s=30)
    ahead = {name for name, count in Counter(listed).items() if count > 1}
    # four failures in a row are an outage: the fourth directory is followed by four
    assert ahead <= {f"{number:06}" for number in range(1, 8)}


@pytest.mark.parametrize("after", [2, 3])
def test_without_threads_nothing_is_listed_ahead(after):
    listed = []
    with no_threads(after=after):  # one finds files, and the others fetch them
        outcomes = outcomes_of(DeepTree(50, listed.append), pattern="*")
    assert results(outcomes) == [Result.FETCHED] * 50
    assert len(listed) == len({*listed}) == 50


def test_a_directory_that_fails_ahead_is_reported_once():
    def list_one(name):
        if name == "000007":
            raise AllenFSError("no such list")

    outcomes = outcomes_of(DeepTree(20, list_one), pattern="*")
    failed = [one for one in outcomes if one.result is Result.FAILED]
    assert [(one.path, one.cause) for one in failed] == [("000007", "no such list")]
    assert len(outcomes) == 20


def test_files_that_fail_one_by_one_are_no_outage():
    names = [f"d/{number:06}.jpg" for number in range(0, 400, 10)]
    error = AllenFSError("a broken image")
    tree = FlatTree(400, dict.fromkeys(names, raising(error)), connections=1)
    outcomes = outcomes_of(tree)
    failed = [one for one in outcomes if one.result is Result.FAILED]
    assert [one.path for one in failed] == names
    assert {one.cause for one in failed} == {"a broken image"}
    assert results(outcomes).count(Result.FETCHED) == 360


def test_an_outage_that_ends_costs_the_first_failures_only():
    names = [f"d/{number:06}.jpg" for number in range(10)]
    left = iter(range(6))

    def fail_at_first():
        if next(left, None) is not None:
            raise ServiceTimeoutError("no byte")

    tree = FlatTree(10, dict.fromkeys(names, fail_at_first), connections=1)
    outcomes = outcomes_of(tree, pause_s=0, patience_s=600)
    assert results(outcomes) == [Result.FAILED] * 3 + [Result.FETCHED] * 7
    assert len(tree.fetched) == 13


def test_an_outage_that_lasts_leaves_the_rest_untried_but_not_other_places():
    error = UnreachableError("no route")
    names = [f"d/{number:06}.jpg" for number in range(1000)]
    away, tree = FlatTree(1000, dict.fromkeys(names, raising(error))), FlatTree(5)
    counts = Counter(results(outcomes_of(away, tree)))
    assert set(counts) == {Result.FAILED, Result.UNTRIED, Result.FETCHED}
    assert counts[Result.FETCHED] == 5
    assert len(away.fetched) < 50


def test_a_store_that_drives_the_first_one_out_ends_it():
    tree = FlatTree(1000, room=20, connections=1)
    outcomes = outcomes_of(tree)
    assert len(tree.fetched) == 21
    assert set(results(outcomes)) == {Result.FETCHED, Result.UNTRIED}


def test_a_bug_is_raised_and_not_taken_for_a_failure():
    tree = FlatTree(9, {"d/000003.jpg": raising(ZeroDivisionError("a bug"))})
    with pytest.raises(ZeroDivisionError):
        outcomes_of(tree)


def test_an_interrupted_task_ends_without_an_outcome():
    error = InterruptedWaitError("ended")
    tree = FlatTree(3, {"d/000001.jpg": raising(error)}, connections=1)
    assert len(outcomes_of(tree)) == 1


def test_with_few_threads_all_is_done_and_with_too_few_it_is_an_error():
    for threads in (2, 3):
        with no_threads(after=threads):
            outcomes = outcomes_of(FlatTree(20))
        assert results(outcomes) == [Result.FETCHED] * 20
    for threads in (0, 1):
        with no_threads(after=threads), pytest.raises(ProcessLimitError):
            outcomes_of(FlatTree(20))
