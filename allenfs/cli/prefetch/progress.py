"""Progress of a long task: a line that is redrawn, or a new one every 10 s."""

from __future__ import annotations

import os
import unicodedata
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TextIO

from allenfs.text import clock, printable, size

if TYPE_CHECKING:
    from collections.abc import Callable

# Long enough to smooth the rate.
_RECENT_S = 30.0
_PLAIN_EVERY_S = 10.0
# A shorter part of a name is useless.
_LEAST_NAME_CHARS = 12
_USUAL_COLUMNS = 80
_WIDE = ("W", "F")


@dataclass(slots=True)
class Tally:
    """Progress so far.

    Attributes
    ----------
    found : int
        Files found so far; all of them if `is_all_found`.
    done : int
        Files processed, whatever the result.
    work_bytes : int
        Bytes downloaded.
    name : str
        The last file processed.
    note : str
        What delays the task, if anything.
    """

    found: int = 0
    is_all_found: bool = False
    done: int = 0
    work_bytes: int = 0
    name: str = ""
    note: str = ""


class _Moment(NamedTuple):
    at_s: float
    done: int
    work_bytes: int


class Progress:
    """Shows a tally on a stream: redrawn on a terminal, else every 10 s.

    After a write error, nothing more is shown.

    Parameters
    ----------
    stream : TextIO or None
        None shows nothing.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, stream: TextIO | None, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream is not None and is_terminal(stream)
        self._is_drawn = False
        self._moments = deque([_Moment(clock(), 0, 0)])
        self._shown_s = clock()

    def show(self, tally: Tally) -> None:
        """Redraw the line; without a terminal, print one every 10 s."""
        now_s = self._clock()
        self._moments.append(_Moment(now_s, tally.done, tally.work_bytes))
        while now_s - self._moments[0].at_s > _RECENT_S and len(self._moments) > 2:
            self._moments.popleft()
        if self._is_terminal:
            line = self._line(tally, self._columns() - 1)
            self._write(f"\r{line}\x1b[K")
            self._is_drawn = True
        elif now_s - self._shown_s >= _PLAIN_EVERY_S:
            self._shown_s = now_s
            self._write(self._line(tally, None) + "\n")

    def clear(self) -> None:
        """Erase the line."""
        if self._is_drawn:
            self._is_drawn = False
            self._write("\r\x1b[K")

    def _line(self, tally: Tally, columns: int | None) -> str:
        first, last = self._moments[0], self._moments[-1]
        span_s = last.at_s - first.at_s
        files_a_s = (last.done - first.done) / span_s if span_s > 0 else 0.0
        bytes_a_s = (last.work_bytes - first.work_bytes) / span_s if span_s > 0 else 0.0
        total = f"{tally.found}{'' if tally.is_all_found else '+'}"
        parts = [f"{tally.done} of {total} files"]
        if tally.work_bytes:
            parts.append(size(tally.work_bytes))
        if tally.note:
            parts.append(tally.note)
        elif bytes_a_s > 0:
            parts.append(f"{size(bytes_a_s)}/s")
        if not tally.note and tally.is_all_found and files_a_s > 0:
            parts.append(f"{clock((tally.found - tally.done) / files_a_s)} left")
        line = "  ".join(parts)
        if columns is None:
            return line
        room = columns - len(line) - 2
        if tally.name and room >= _LEAST_NAME_CHARS:
            line += "  " + end_of(printable(tally.name), room)
        return cut(line, columns)

    def _columns(self) -> int:
        assert self._stream is not None
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _USUAL_COLUMNS
        except OSError:
            return _USUAL_COLUMNS

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream = None


def is_terminal(stream: TextIO) -> bool:
    """Whether a line on it can be redrawn."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def cut(text: str, columns: int) -> str:
    """Return the beginning of a text, no wider than `columns` of a terminal."""
    kept, width = [], 0
    for one in text:
        width += _width(one)
        if width > columns:
            break
        kept.append(one)
    return "".join(kept)


def end_of(text: str, columns: int) -> str:
    """Return a text, or ``…`` and its end, no wider than `columns`."""
    if sum(map(_width, text)) <= columns:
        return text
    return "…" + cut(text[::-1], columns - 1)[::-1]


def _width(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in _WIDE else 1
