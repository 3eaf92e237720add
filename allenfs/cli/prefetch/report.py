"""The output of ``allenfs prefetch``: progress, failures and a summary."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, TextIO

from allenfs.cli.prefetch.gathering import Result, Task
from allenfs.cli.prefetch.progress import Progress, Tally
from allenfs.text import clock, printable, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.cli.prefetch.gathering import Gathering, Outcome
    from allenfs.cli.prefetch.outage import Outage

_EXIT_FAILED = 1
_LISTED_FAILURES = 20
_LOOK_S = 0.2


class Report:
    """Reports progress, and failures and totals at the end.

    Parameters
    ----------
    out : TextIO
        For the files that a check finds missing.
    err : TextIO
        For everything else.
    skips_broken : bool
        Do not count images that are broken at the service as failures.

    Attributes
    ----------
    stop : Event
        Set to stop the task.
    warnings : deque of str
        Printed at the next opportunity; any thread may append.
    """

    def __init__(
        self,
        task: Task,
        out: TextIO,
        err: TextIO,
        *,
        is_quiet: bool = False,
        skips_broken: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.task = task
        self.stop = threading.Event()
        self.warnings: deque[str] = deque()
        self._out = out
        self._err = err
        self._is_quiet = is_quiet
        self._skips_broken = skips_broken
        self._clock = clock
        self._tally = Tally(is_all_found=True)
        self._progress = Progress(None if is_quiet else err, clock)
        self._started_s = self._shown_s = clock()
        self._counts: Counter[Result] = Counter()
        self._bytes: Counter[Result] = Counter()
        self._gathering: Gathering | None = None
        self._found_before = 0
        self._lock = threading.Lock()  # guards the failures
        self._listed: dict[Result, list[str]] = {Result.FAILED: [], Result.BROKEN: []}
        self._reasons: list[str] = []

    def follow(self, gathering: Gathering, outage: Outage) -> None:
        """Report the outcomes of a task until it ends."""
        self._gathering, self._found_before = gathering, self._tally.found
        for outcome in gathering.outcomes(_LOOK_S):
            if outcome is not None:
                self._take(outcome)
            self._count()
            self._tally.note = "no answer, waiting" if outage.is_on else ""
            self._say_warnings()
            if self._clock() - self._shown_s >= _LOOK_S:
                self._shown_s = self._clock()
                self._progress.show(self._tally)
        self._count()
        if outage.reason is not None:
            self._reasons.append(outage.reason)

    def failed(self, path: str, cause: str) -> None:
        """Record a failure; any thread may call this."""
        self._list(Result.FAILED, path, cause)

    def ended(self) -> int:
        """Print failures and the summary; return the exit code."""
        self._progress.clear()
        self._out.flush()
        self._say_warnings()
        self._say_failures()
        for reason in self._reasons:
            self._say(f"given up: {reason}")
        if not self._is_quiet:
            self._say(self._summary())
        bad = [Result.FAILED, Result.UNTRIED]
        if not self._skips_broken:
            bad.append(Result.BROKEN)
        if self.task is Task.CHECK:
            bad.append(Result.MISSING)
        return _EXIT_FAILED if self._reasons or any(map(self._counts.get, bad)) else 0

    def interrupted(self) -> None:
        """Print failures and the summary after a signal."""
        self._progress.clear()
        with contextlib.suppress(OSError):
            for outcome in self._gathering.rest() if self._gathering else ():
                self._take(outcome)
            self._out.flush()
        self._count()
        self._say_failures()
        self._say(f"interrupted: {self._summary()}; run the command again to continue")

    def _count(self) -> None:
        if self._gathering is not None:
            self._tally.found = self._found_before + self._gathering.found
            self._tally.is_all_found = self._gathering.is_all_found

    def _take(self, outcome: Outcome) -> None:
        self._tally.done += 1
        self._tally.name = outcome.path
        if outcome.result in self._listed:
            self._list(outcome.result, outcome.path, outcome.cause)
            return
        self._counts[outcome.result] += 1
        self._bytes[outcome.result] += outcome.size_bytes
        if outcome.result is Result.FETCHED:
            self._tally.work_bytes += outcome.size_bytes
        elif outcome.result is Result.MISSING and self.task is Task.CHECK:
            self._progress.clear()
            if not self._is_quiet:
                self._print(outcome.path)

    def _list(self, result: Result, path: str, cause: str) -> None:
        with self._lock:
            self._counts[result] += 1
            if len(self._listed[result]) < _LISTED_FAILURES:
                self._listed[result].append(f"{path}: {cause}")

    def _summary(self) -> str:
        parts = [
            f"{count} {result.value}"
            + (f" ({size(self._bytes[result])})" if self._bytes[result] else "")
            for result in Result
            if (count := self._counts[result])
        ]
        remaining = self._tally.found - self._tally.done
        if remaining > 0:
            parts.append(f"{remaining} remaining")
        found = f"{self._tally.found}{'' if self._tally.is_all_found else '+'}"
        files = "1 file" if found == "1" else f"{found} files"
        spent = clock(self._clock() - self._started_s)
        return f"{files} in {spent}: {', '.join(parts) or 'none'}"

    def _say_failures(self) -> None:
        with self._lock:
            listed = {result: list(said) for result, said in self._listed.items()}
        broken = self._counts[Result.BROKEN]
        if self._skips_broken and self._is_quiet:
            listed[Result.BROKEN], broken = [], 0
        self._say_all(listed[Result.FAILED], self._counts[Result.FAILED], "failed")
        if broken:
            self._say(f"{Result.BROKEN.value}: {broken}")
        self._say_all(listed[Result.BROKEN], broken, "broken")

    def _say_all(self, listed: list[str], count: int, word: str) -> None:
        for one in listed:
            self._say(one)
        if count > len(listed):
            self._say(f"and {count - len(listed)} more {word}")

    def _say_warnings(self) -> None:
        while self.warnings:
            self._progress.clear()
            self._say(self.warnings.popleft())

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # stderr is closed
            self._err.write(f"allenfs: {printable(text)}\n")
            self._err.flush()

    def _print(self, path: str) -> None:
        self._out.write(path + "\n")
