"""The output of ``allenfs prefetch``: progress, failures and a summary."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, deque
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from allenfs.cli.prefetch.gathering import Result, Task
from allenfs.text import clock, printable, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allenfs.cli.prefetch.gathering import Gathering, Outcome

_EXIT_FAILED = 1
_LISTED_FAILURES = 20
_DRAW_EVERY_S = 0.2
_PRINT_EVERY_S = 10.0  # without a terminal
_FEWEST_COLUMNS = 20

_COUNTED = "{percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} files{postfix}"
_TIMED = _COUNTED + ", {remaining} left"
# While files are being found, their number is a lower bound.
_FINDING = "{n_fmt} of {total_fmt}+ files{postfix}"


class Report:
    """Reports progress, and failures and totals at the end.

    Parameters
    ----------
    out, err : TextIO
        `out` is for the files that a check finds missing.
    skips_broken : bool
        Do not count images that are broken at the service as failures.

    Attributes
    ----------
    warnings : deque of str
        Printed at the next opportunity; any thread may append.
    """

    def __init__(
        self,
        task: Task,
        out: TextIO,
        err: TextIO,
        *,
        is_quiet: bool,
        skips_broken: bool,
    ) -> None:
        self.warnings: deque[str] = deque()
        self._task = task
        self._out = out
        self._err = err
        self._is_quiet = is_quiet
        self._skips_broken = skips_broken
        self._progress = Progress(err, is_quiet=is_quiet)
        self._started_s = self._shown_s = monotonic()
        self._gathering: Gathering | None = None
        self._found_before = self._done = 0
        self._counts: Counter[Result] = Counter()
        self._bytes: Counter[Result] = Counter()
        self._lock = threading.Lock()  # guards the failures
        self._listed: dict[Result, list[str]] = {Result.FAILED: [], Result.BROKEN: []}
        self._reasons: list[str] = []

    def follow(self, gathering: Gathering) -> None:
        """Report the outcomes of a task until it ends."""
        self._found_before, self._gathering = self._found, gathering
        for outcome in gathering.outcomes(_DRAW_EVERY_S):
            if outcome is not None:
                self._add(outcome)
            self._print_warnings()
            self._show(gathering)
        reason = gathering.outage.reason
        if reason is not None and reason not in self._reasons:
            self._reasons.append(reason)

    def failed(self, path: str, cause: str, result: Result = Result.FAILED) -> None:
        """Record a failure; any thread may call this."""
        with self._lock:
            self._counts[result] += 1
            if len(self._listed[result]) < _LISTED_FAILURES:
                self._listed[result].append(f"{path}: {cause}")

    def ended(self) -> int:
        """Print failures and the summary; return the exit code."""
        self.close()
        self._out.flush()
        self._print_warnings()
        self._print_failures()
        self._print(f"given up: {reason}" for reason in self._reasons)
        if not self._is_quiet:
            self._print([self._summary()])
        bad = [Result.FAILED, Result.UNTRIED]
        if not self._skips_broken:
            bad.append(Result.BROKEN)
        if self._task is Task.CHECK:
            bad.append(Result.MISSING)
        return _EXIT_FAILED if self._reasons or any(map(self._counts.get, bad)) else 0

    def interrupted(self) -> None:
        """Print failures and the summary after a signal."""
        self.close()
        with contextlib.suppress(OSError):
            for outcome in self._gathering.rest() if self._gathering else ():
                self._add(outcome)
            self._out.flush()
        self._print_failures()
        again = "run the command again to continue"
        self._print([f"interrupted: {self._summary()}; {again}"])

    def close(self) -> None:
        """Erase the progress bar."""
        self._progress.close()

    @property
    def _found(self) -> int:
        return self._found_before + (self._gathering.found if self._gathering else 0)

    def _add(self, outcome: Outcome) -> None:
        self._done += 1
        if outcome.result in self._listed:
            self.failed(outcome.path, outcome.cause, outcome.result)
            return
        self._counts[outcome.result] += 1
        self._bytes[outcome.result] += outcome.size_bytes
        is_missing = self._task is Task.CHECK and outcome.result is Result.MISSING
        if is_missing and not self._is_quiet:
            self._progress.clear()
            self._out.write(outcome.path + "\n")

    def _show(self, gathering: Gathering) -> None:
        every_s = _DRAW_EVERY_S if self._progress.is_shown else _PRINT_EVERY_S
        now_s = monotonic()
        if self._is_quiet or now_s - self._shown_s < every_s:
            return
        self._shown_s = now_s
        if not self._progress.is_shown:
            self._print([self._summary()])
            return
        fetched_bytes = self._bytes[Result.FETCHED]
        self._progress.show(
            self._done,
            self._found,
            size(fetched_bytes) if fetched_bytes else "",
            "no answer, waiting" if gathering.outage.is_on else "",
            is_all_found=gathering.is_all_found,
        )

    def _summary(self) -> str:
        parts = [
            f"{count} {result.value}"
            + (f" ({size(self._bytes[result])})" if self._bytes[result] else "")
            for result in Result
            if (count := self._counts[result])
        ]
        remaining = self._found - self._done
        if remaining > 0:
            parts.append(f"{remaining} remaining")
        is_all_found = self._gathering is None or self._gathering.is_all_found
        found = f"{self._found}{'' if is_all_found else '+'}"
        files = "1 file" if found == "1" else f"{found} files"
        spent = clock(monotonic() - self._started_s)
        return f"{files} in {spent}: {', '.join(parts) or 'none'}"

    def _print_failures(self) -> None:
        for result, listed in self._listed.items():
            if result is Result.BROKEN:
                if self._skips_broken and self._is_quiet:
                    continue
                if listed:
                    self._print([f"{result.value}: {self._counts[result]}"])
            with self._lock:  # the thread that finds files may still run
                lines, count = list(listed), self._counts[result]
            self._print(lines)
            if count > len(lines):
                self._print([f"and {count - len(lines)} more {result.name.lower()}"])

    def _print_warnings(self) -> None:
        while self.warnings:
            self._progress.clear()
            self._print([self.warnings.popleft()])

    def _print(self, lines: Iterable[str]) -> None:
        with contextlib.suppress(OSError):  # stderr is closed
            for line in lines:
                self._err.write(f"allenfs: {printable(line)}\n")
            self._err.flush()


class Progress:
    """A bar on a terminal; nothing elsewhere, or if the terminal is closed."""

    def __init__(self, stream: TextIO, *, is_quiet: bool) -> None:
        self.is_shown = not is_quiet and _can_draw(stream)
        # Its defaults are a semaphore for several processes, and a thread.
        tqdm.set_lock(threading.RLock())
        tqdm.monitor_interval = 0
        self._bar: tqdm[Any] = tqdm(
            file=stream,
            disable=not self.is_shown,
            total=0,
            leave=False,
            position=0,
            dynamic_ncols=True,
            miniters=0,
            bar_format=_FINDING,
        )
        self.clear = self._bar.clear  # until it is drawn again
        self.close = self._bar.close

    def show(
        self, done: int, found: int, amount: str, note: str, *, is_all_found: bool
    ) -> None:
        """Redraw the bar.

        Parameters
        ----------
        done, found : int
            Files.
        amount, note : str
            How much was downloaded; what delays the task, if anything.
        """
        bar = self._bar
        bar.total = found
        has_rate = done and not note
        bar.bar_format = (
            (_TIMED if has_rate else _COUNTED) if is_all_found else _FINDING
        )
        bar.set_postfix_str(", ".join(filter(None, (amount, note))), refresh=False)
        if done > bar.n:  # `update(0)` would forget the time since the last file
            bar.update(done - bar.n)
        bar.refresh()


def _can_draw(stream: TextIO) -> bool:
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    # 0 if unknown
    return os.get_terminal_size(stream.fileno()).columns >= _FEWEST_COLUMNS
