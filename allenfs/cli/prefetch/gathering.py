"""Download, check or evict files with a pool of threads.

One thread finds the files, others process them, and the caller iterates over the
outcomes. The caller accesses neither the tree nor the service, so that it can always
be interrupted.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from allenfs.cli.prefetch import selection
from allenfs.cli.prefetch.selection import Named
from allenfs.errors import (
    AllenFSError,
    BrokenImageError,
    InterruptedWaitError,
    ProcessLimitError,
)
from allenfs.service.single_flight import start_thread

if TYPE_CHECKING:
    from allenfs.cli.prefetch.place import Place

Task = Literal["fetch", "check", "evict"]

# Maximum queue of found files: usually shows the total early, at most 10 MB.
_FOUND_AHEAD = 100_000
_MAX_OUTCOMES = 1000
# Four connections download as many in 8 s, and the records of a directory take 1 s.
_FEW_FILES = 64


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
    """One task for the files that some patterns stand for, until `stop` is set.

    Each pattern has its place, or is a path that cannot be used. One thread iterates
    over them lazily; `outcomes` raises its exceptions.
    """

    def __init__(
        self,
        patterns: Iterable[tuple[Place, str] | Named],
        task: Task,
        *,
        recursive: bool,
        stop: threading.Event,
    ) -> None:
        self._patterns = patterns
        self._task = task
        self._recursive = recursive
        self._stop = stop
        self._places: dict[Place, None] = {}  # in their order
        self._workers = 0
        self._files: queue.Queue[tuple[Place, str] | None] = queue.Queue(_FOUND_AHEAD)
        self._outcomes: queue.Queue[Outcome | Exception | None] = queue.Queue(
            _MAX_OUTCOMES
        )
        self.found = 0  # files so far
        self.is_all_found = False

    @property
    def is_waiting(self) -> bool:
        """Whether a service does not answer."""
        breakers = [place.breaker for place in [*self._places]]
        return any(one.is_tripped and not one.is_stopped for one in breakers)

    @property
    def reasons(self) -> list[str]:
        """Why files were not tried."""
        reasons = (place.reason for place in [*self._places])
        return list(dict.fromkeys(reason for reason in reasons if reason))

    def outcomes(self, every_s: float) -> Iterator[Outcome | None]:
        """Run the task; yield the outcome of each file, and None every `every_s`."""
        self._start(self._find)
        ended = 0
        while ended <= self._workers:  # and the thread that finds the files
            try:
                outcome = self._outcomes.get(timeout=every_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is None:
                ended += 1
            else:
                yield outcome

    def rest(self) -> Iterator[Outcome]:
        """Yield the outcomes that are already queued, without waiting."""
        while not self._outcomes.empty():  # only the caller removes items
            outcome = self._outcomes.get()
            if isinstance(outcome, Outcome):
                yield outcome

    def _start(self, target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            except Exception as error:  # noqa: BLE001 - raised again in `outcomes`
                self._outcomes.put(error)
            else:
                self._outcomes.put(None)

        start_thread(threading.Thread(target=run, daemon=True))

    def _find(self) -> None:
        for pattern in self._patterns:
            if isinstance(pattern, Named):
                self._found(None, pattern)
            else:
                self._find_matches(*pattern)
        self.is_all_found = not (self._stop.is_set() or self.reasons)
        for _ in range(self._workers):
            self._files.put(None)

    def _find_matches(self, place: Place, pattern: str) -> None:
        self._places[place] = None
        self._start_workers(place)
        named = selection.files(
            place.tree,
            pattern,
            recursive=self._recursive,
            announce=functools.partial(self._look_ahead, place),
        )
        while True:
            with place.breaker.turn() as may_ask:
                one = next(named, None) if may_ask else None
                if one is None or self._stop.is_set():
                    return
                if one.error is not None:
                    place.is_outage(one.error)
            self._found(place, one)

    def _look_ahead(self, place: Place, directory: str) -> None:
        """Request the records of a directory before it is listed.

        Only if few files wait: otherwise queries, which go first, would delay the
        downloads. A failure is found again when the directory is listed.
        """
        if self._files.qsize() >= _FEW_FILES or place.breaker.is_tripped:
            return

        def list_names() -> None:
            with contextlib.suppress(AllenFSError):
                place.tree.names(directory)

        with contextlib.suppress(ProcessLimitError):
            start_thread(threading.Thread(target=list_names, daemon=True))

    def _start_workers(self, place: Place) -> None:
        """Start as many threads as the place has connections."""
        # one thread, so that checks report in order
        wanted = place.tree.connections if self._task == "fetch" else 1
        while self._workers < wanted:
            try:
                self._start(self._process)
            except ProcessLimitError:
                if not self._workers:
                    raise
                return  # fewer threads are slower, but enough
            self._workers += 1

    def _found(self, place: Place | None, named: Named) -> None:
        self.found += 1
        if named.error is not None:
            path = place.tree.shown(named.path) if place else named.path
            self._outcomes.put(Outcome(path, Result.FAILED, cause=str(named.error)))
        elif place is not None:
            self._files.put((place, named.path))

    def _process(self) -> None:
        while (file := self._files.get()) is not None and not self._stop.is_set():
            place, path = file
            shown = place.tree.shown(path)
            try:
                outcome = Outcome(shown, *self._result(place, path))
            except InterruptedWaitError:
                return
            except BrokenImageError as error:
                outcome = Outcome(shown, Result.BROKEN, cause=str(error))
            except AllenFSError as error:
                outcome = Outcome(shown, Result.FAILED, cause=str(error))
            self._outcomes.put(outcome)

    def _result(self, place: Place, path: str) -> tuple[Result, int]:
        if self._task == "evict":
            size_bytes, result = place.tree.evict(path), Result.EVICTED
        else:
            size_bytes, result = place.tree.local_bytes(path), Result.LOCAL
        if self._task == "fetch":
            if size_bytes is None:
                size_bytes, result = place.download(path), Result.FETCHED
            else:
                place.verify(path)
        if size_bytes is None:
            result = Result.UNTRIED if self._task == "fetch" else Result.MISSING
        return result, size_bytes or 0
