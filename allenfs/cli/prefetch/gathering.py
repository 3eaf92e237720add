"""Download, check or evict files with a pool of threads.

One thread finds the files, others process them, and the caller iterates over the
outcomes. The caller accesses neither the tree nor the service, so that it can always
be interrupted.
"""

from __future__ import annotations

import enum
import errno
import functools
import queue
import threading
from typing import TYPE_CHECKING, NamedTuple

from allenfs.cli.prefetch import selection
from allenfs.errors import (
    AllenFSError,
    BrokenImageError,
    InterruptedWaitError,
    ProcessLimitError,
)
from allenfs.service.single_flight import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from allenfs.cli.prefetch.outage import Outage
    from allenfs.cli.prefetch.selection import Named
    from allenfs.cli.prefetch.tree import Tree

# Queue size of found files: large enough to know the total, at most 10 MB.
_FOUND_AHEAD = 100_000
_MAX_OUTCOMES = 1000
# One to find files, one to process them.
_FEWEST_THREADS = 2
# A single image that is too large does not mean that the store is full.
_UNKEPT_IN_A_ROW = 4
# Possible failures of the whole service.
_OUTAGES = (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EIO)


class Task(enum.Enum):
    """What to do with each file."""

    FETCH = "fetch"
    CHECK = "check"
    EVICT = "evict"


class Result(enum.Enum):
    """The result for a file."""

    FETCHED = "fetched"
    LOCAL = "already local"
    MISSING = "not local"
    EVICTED = "evicted"
    FAILED = "failed"
    BROKEN = "broken at the service"
    UNTRIED = "not tried"


class Outcome(NamedTuple):
    """The outcome for one file: its path as messages show it, and why it failed."""

    path: str
    result: Result
    size_bytes: int = 0  # of the local file, or of the evicted one
    cause: str = ""


class Gathering:
    """One task for the files that match some patterns in one tree.

    Parameters
    ----------
    tree, patterns
        Where to find the files. One thread iterates over the patterns lazily.
    stop : Event
        Set to stop the task.

    Attributes
    ----------
    found : int
        Files found so far.
    """

    def __init__(
        self,
        tree: Tree,
        patterns: Iterable[str],
        task: Task,
        *,
        recursive: bool,
        outage: Outage,
        stop: threading.Event,
    ) -> None:
        self._tree = tree
        self._patterns = patterns
        self._recursive = recursive
        self._stop = stop
        self._work = {
            Task.FETCH: self._fetch,
            Task.CHECK: self._check,
            Task.EVICT: self._evict,
        }[task]
        # checks keep the order of the files
        self._workers = tree.connections if task is Task.FETCH else 1
        self._files: queue.Queue[Named | None] = queue.Queue(_FOUND_AHEAD)
        self._outcomes: queue.Queue[Outcome | Exception | None] = queue.Queue(
            _MAX_OUTCOMES
        )
        self._first: str | None = None
        self._unkept = 0
        self.outage = outage
        self.found = 0
        self.is_all_found = False

    def outcomes(self, every_s: float) -> Iterator[Outcome | None]:
        """Run the task; yield the outcome of each file, and None every `every_s`."""
        running = 0
        for target in [self._find] + [self._process] * self._workers:
            thread = threading.Thread(target=self._run, args=(target,), daemon=True)
            try:
                start_thread(thread)
            except ProcessLimitError:
                if running < _FEWEST_THREADS:
                    raise
                break  # fewer threads are slower, but enough
            running += 1
        while running:
            try:
                outcome = self._outcomes.get(timeout=every_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is None:
                running -= 1
            else:
                yield outcome

    def rest(self) -> Iterator[Outcome]:
        """Yield the outcomes that are already queued, without waiting."""
        while not self._outcomes.empty():  # the caller alone takes from it
            outcome = self._outcomes.get()
            if isinstance(outcome, Outcome):
                yield outcome

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception as error:  # noqa: BLE001 - raised again in `outcomes`
            self._outcomes.put(error)
        else:
            self._outcomes.put(None)

    def _find(self) -> None:
        for pattern in self._patterns:
            named = selection.files(self._tree, pattern, recursive=self._recursive)
            while not self._is_ended() and self.outage.may_ask():
                one = next(named, None)
                if one is not None and one.error and one.error.errno in _OUTAGES:
                    self.outage.failed(str(one.error))
                else:
                    self.outage.unasked()
                if one is None:
                    break
                self.found += 1
                self._files.put(one)
        self.is_all_found = not self._is_ended()
        for _ in range(self._workers):
            self._files.put(None)

    def _is_ended(self) -> bool:
        return self._stop.is_set() or self.outage.reason is not None

    def _process(self) -> None:
        while (named := self._files.get()) is not None and not self._stop.is_set():
            shown = self._tree.shown(named.path)
            try:
                if named.error is not None:
                    raise named.error
                outcome = Outcome(shown, *self._work(named.path))
            except InterruptedWaitError:
                return
            except BrokenImageError as error:
                outcome = Outcome(shown, Result.BROKEN, cause=str(error))
            except AllenFSError as error:
                outcome = Outcome(shown, Result.FAILED, cause=str(error))
            self._outcomes.put(outcome)

    def _check(self, path: str) -> tuple[Result, int]:
        size_bytes = self._tree.local_bytes(path)
        result = Result.MISSING if size_bytes is None else Result.LOCAL
        return result, size_bytes or 0

    def _evict(self, path: str) -> tuple[Result, int]:
        size_bytes = self._tree.evict(path)
        result = Result.MISSING if size_bytes is None else Result.EVICTED
        return result, size_bytes or 0

    def _fetch(self, path: str) -> tuple[Result, int]:
        if self._tree.local_bytes(path) is not None:
            if path.endswith(".jpg"):
                self._first = self._first or path
            # verifies the checksum, and marks it as recently used
            return Result.LOCAL, self._tree.fetch(path)
        if self._failure_at_first:
            self._give_up(self._failure_at_first)
        while self.outage.may_ask():
            try:
                size_bytes = self._tree.fetch(path)
            except AllenFSError as error:
                if error.errno not in _OUTAGES or isinstance(error, BrokenImageError):
                    self.outage.answered()
                    raise
                if self.outage.failed(str(error)):
                    continue
                raise
            self.outage.answered()
            self._require_kept(path)
            return Result.FETCHED, size_bytes
        return Result.UNTRIED, 0

    def _require_kept(self, path: str) -> None:
        """Check that the store has kept this image, and still has the first one."""
        first = self._first = self._first or path
        is_kept = self._tree.local_bytes(path) is not None
        self._unkept = 0 if is_kept else self._unkept + 1
        is_first_gone = path != first and self._tree.local_bytes(first) is None
        failure = None if is_kept else self._tree.store_failure()
        if failure:
            self._give_up(failure)
        elif is_first_gone or self._unkept >= _UNKEPT_IN_A_ROW:
            self.outage.give_up("the store has no room for all images")
        if not is_kept:
            why = failure or "the store has no room for it"
            msg = f"downloaded, but not kept: {why}"
            raise AllenFSError(msg)

    @functools.cached_property
    def _failure_at_first(self) -> str | None:
        """Why the store cannot be written; checked once, before the first download."""
        return self._tree.store_failure()

    def _give_up(self, failure: str) -> None:
        self.outage.give_up(f"the store cannot be written: {failure}")
