"""The output of ``allenfs prefetch``: progress, failures and a summary."""

from __future__ import annotations

import contextlib
import logging.handlers
import os
import threading
from collections import Counter
from collections.abc import Iterable
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from allenfs.cli.prefetch.gathering import Result
from allenfs.text import clock, printable, size

if TYPE_CHECKING:
    from allenfs.cli.prefetch.gathering import Gathering, Outcome, Task

_EXIT_FAILED = 1
_WARNERS = ("allenfs.store.directory", "allenfs.store.cache")
_LISTED_FAILURES = 20
_DRAW_EVERY_S = 0.2
_PRINT_EVERY_S = 10.0  # without a terminal
_FEWEST_COLUMNS = 20

_COUNTED = "{percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} files{postfix}"
# While files are being found, their number is a lower bound.
_FINDING = "{n_fmt} of {total_fmt}+ files{postfix}"


class Report:
    """Reports progress and `warnings`, and failures and totals at the end.

    `out` is for the files that a check finds missing. With `skips_broken`, images that
    are broken at the service do not count as failures.
    """

    def __init__(
        self,
        gathering: Gathering,
        task: Task,
        out: TextIO,
        err: TextIO,
        warnings: SimpleQueue[logging.LogRecord],
        *,
        is_quiet: bool,
        skips_broken: bool,
    ) -> None:
        self._gathering = gathering
        self._task = task
        self._out = out
        self._err = err
        self._warnings = warnings
        self._is_quiet = is_quiet
        self._skips_broken = skips_broken
        self._bar = _bar(err, is_shown=not is_quiet and _can_draw(err))
        self._started_s = self._shown_s = monotonic()
        self._counts: Counter[Result] = Counter()
        self._bytes: Counter[Result] = Counter()
        self._listed: dict[Result, list[str]] = {Result.FAILED: [], Result.BROKEN: []}

    def follow(self) -> int:
        """Report until the task ends, then the totals; return the exit code."""
        for outcome in self._gathering.outcomes(_DRAW_EVERY_S):
            if outcome is not None:
                self._add(outcome)
            self._print_warnings()
            self._show_progress()
        self.close()
        self._out.flush()
        self._print_warnings()
        self._print_failures()
        reasons = self._gathering.reasons
        self._print(f"given up: {reason}" for reason in reasons)
        if not self._is_quiet:
            self._print([self._summary()])
        bad = [Result.FAILED, Result.UNTRIED]
        if not self._skips_broken:
            bad.append(Result.BROKEN)
        if self._task == "check":
            bad.append(Result.MISSING)
        return _EXIT_FAILED if reasons or any(map(self._counts.get, bad)) else 0

    def interrupted(self) -> None:
        """Print failures and the summary after a signal."""
        self.close()
        with contextlib.suppress(OSError):
            for outcome in self._gathering.rest():
                self._add(outcome)
            self._out.flush()
        self._print_failures()
        again = "run the command again to continue"
        self._print([f"interrupted: {self._summary()}; {again}"])

    def close(self) -> None:
        """Erase the progress bar."""
        self._bar.close()

    def _add(self, outcome: Outcome) -> None:
        path, result, size_bytes, cause = outcome
        self._counts[result] += 1
        self._bytes[result] += size_bytes
        listed = self._listed.get(result)
        if listed is not None and len(listed) < _LISTED_FAILURES:
            listed.append(f"{path}: {cause}")
        is_missing = self._task == "check" and result is Result.MISSING
        if is_missing and not self._is_quiet:
            self._bar.clear()
            self._out.write(f"{path}\n")

    def _show_progress(self) -> None:
        is_drawn, now_s = not self._bar.disable, monotonic()
        every_s = _DRAW_EVERY_S if is_drawn else _PRINT_EVERY_S
        if self._is_quiet or now_s - self._shown_s < every_s:
            return
        self._shown_s = now_s
        if is_drawn:
            self._draw()
        else:
            self._print([self._summary()])

    def _draw(self) -> None:
        bar, done, fetched_bytes = (
            self._bar,
            self._counts.total(),
            self._bytes[Result.FETCHED],
        )
        bar.total = self._gathering.found
        notes = [size(fetched_bytes)] if fetched_bytes else []
        bar.bar_format = _COUNTED if self._gathering.is_all_found else _FINDING
        if self._gathering.is_waiting:
            notes.append("no answer, waiting")
        elif done and self._gathering.is_all_found:
            bar.bar_format += ", {remaining} left"
        bar.set_postfix_str(", ".join(notes), refresh=False)
        if done > bar.n:  # `update(0)` would discard the time since the last file
            bar.update(done - bar.n)
        bar.refresh()

    def _summary(self) -> str:
        parts = [
            f"{count} {result.value}"
            + (f" ({size(self._bytes[result])})" if self._bytes[result] else "")
            for result in Result
            if (count := self._counts[result])
        ]
        remaining = self._gathering.found - self._counts.total()
        if remaining > 0:
            parts.append(f"{remaining} remaining")
        found = f"{self._gathering.found}{'' if self._gathering.is_all_found else '+'}"
        files = "1 file" if found == "1" else f"{found} files"
        spent = clock(monotonic() - self._started_s)
        return f"{files} in {spent}: {', '.join(parts) or 'none'}"

    def _print_failures(self) -> None:
        for result, lines in self._listed.items():
            count = self._counts[result]
            if result is Result.BROKEN and lines:
                if self._skips_broken and self._is_quiet:
                    continue
                self._print([f"{result.value}: {count}"])
            self._print(lines)
            if count > len(lines):
                self._print([f"and {count - len(lines)} more {result.name.lower()}"])

    def _print_warnings(self) -> None:
        while not self._warnings.empty():
            self._bar.clear()
            self._print([self._warnings.get().getMessage()])

    def _print(self, lines: Iterable[str]) -> None:
        with contextlib.suppress(OSError):  # stderr is closed
            for line in lines:
                self._err.write(f"allenfs: {printable(line)}\n")
            self._err.flush()


def store_warnings() -> SimpleQueue[logging.LogRecord]:
    """Collect the warnings of the store; failures are reported separately."""
    warnings: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = logging.handlers.QueueHandler(warnings)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: record.name in _WARNERS)
    logging.getLogger("allenfs").addHandler(handler)
    return warnings


def _bar(stream: TextIO, *, is_shown: bool) -> tqdm[Any]:
    """Return a bar that draws nothing once the terminal is closed."""
    # tqdm's defaults are a semaphore for several processes, and a thread.
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0
    return tqdm(
        file=stream,
        disable=not is_shown,
        total=0,
        leave=False,
        position=0,
        dynamic_ncols=True,
        miniters=0,
        bar_format=_FINDING,
    )


def _can_draw(stream: TextIO) -> bool:
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    # 0 if unknown
    return os.get_terminal_size(stream.fileno()).columns >= _FEWEST_COLUMNS
