"""The progress of a task: a bar on a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import queue
import struct
import termios

import pytest

from allenfs.cli.prefetch import report
from allenfs.cli.prefetch.gathering import Outcome, Result
from allenfs.cli.prefetch.report import Report

END = "§"


class Terminal:
    """A pseudo terminal of some columns."""

    def __init__(self, columns):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")

    def read(self):
        """Return what was written, which arrives in pieces."""
        self.stream.write(END)
        self.stream.flush()
        data = b""
        while not data.endswith(END.encode()):
            data += os.read(self.ours, 65536)
        return data.decode().removesuffix(END)

    def close(self):
        with contextlib.suppress(OSError):  # the other end is closed
            self.stream.close()
        os.close(self.ours)


@pytest.fixture
def terminal(monkeypatch, request):
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal(getattr(request, "param", 60))
    yield made
    made.close()


class Slow:
    """A gathering of 60 files, with an outcome in each of 31 seconds."""

    found, is_waiting, is_all_found, reasons = 60, False, True, ()
    now_s = 0.0

    def outcomes(self, every_s):
        for _ in range(31):
            self.now_s += 1
            yield Outcome("name", Result.FETCHED, 1024)
            yield None


@pytest.fixture
def slow(monkeypatch):
    made = Slow()
    monkeypatch.setattr(report, "monotonic", lambda: made.now_s)
    return made


def follow(gathering, err, *, is_quiet=False):
    printed = Report(
        *(gathering, "fetch", io.StringIO(), err, queue.SimpleQueue()),
        is_quiet=is_quiet,
        skips_broken=False,
    )
    assert printed.follow() == 0


def drawn(terminal, gathering):
    """Return each line that was drawn, and the summary."""
    follow(gathering, terminal.stream)
    *lines, summary = terminal.read().strip().split("\r")
    assert summary.startswith("allenfs: 60 files in 0:31: 31 fetched (31.0 KiB), 29")
    lines = [line.rstrip() for line in lines if line.strip()]
    assert all(line.isprintable() for line in lines)
    return lines


def test_a_terminal_has_one_line_that_is_drawn_again_within_its_width(terminal, slow):
    start, *lines = drawn(terminal, slow)
    assert start == "0 of 0+ files"
    assert len(lines) == 31
    for done, line in enumerate(lines, 1):
        assert len(line) < 60
        assert line.startswith(f"{done / 60 * 100:3.0f}%|")
        assert f"| {done} of 60 files, {done}.0 KiB, " in line
        assert line.endswith(" left")


def test_an_outage_is_shown_instead_of_the_time_that_is_left(terminal, slow):
    slow.is_waiting = True
    assert drawn(terminal, slow)[-1].endswith("31.0 KiB, no answer, waiting")


def test_the_total_is_open_while_files_are_being_found(terminal, slow):
    outcomes = slow.outcomes

    def until_all_are_found(every_s):
        slow.is_all_found = False
        yield from outcomes(every_s)
        slow.is_all_found = True

    slow.outcomes = until_all_are_found
    assert drawn(terminal, slow)[-1] == "31 of 60+ files, 31.0 KiB"


@pytest.mark.parametrize("terminal", [20, 30], indirect=True)
def test_a_narrow_terminal_has_shorter_lines(terminal, slow):
    lines = drawn(terminal, slow)
    assert all(len(line) < 30 for line in lines)
    assert any("1 of" in line for line in lines)


EVERY_TEN_SECONDS = """\
allenfs: 60 files in 0:10: 10 fetched (10.0 KiB), 50 remaining
allenfs: 60 files in 0:20: 20 fetched (20.0 KiB), 40 remaining
allenfs: 60 files in 0:30: 30 fetched (30.0 KiB), 30 remaining
allenfs: 60 files in 0:31: 31 fetched (31.0 KiB), 29 remaining
"""


def test_a_stream_that_is_no_terminal_gets_a_line_every_ten_seconds(slow):
    err = io.StringIO()
    follow(slow, err)
    assert err.getvalue() == EVERY_TEN_SECONDS


@pytest.mark.parametrize("terminal", [0, 1, 5], indirect=True)
def test_so_does_a_terminal_that_cannot_draw_a_bar(terminal, slow):
    follow(slow, terminal.stream)
    assert terminal.read().replace("\r", "") == EVERY_TEN_SECONDS


def test_quiet_and_dumb_terminals_have_no_bar(terminal, slow, monkeypatch):
    follow(slow, terminal.stream, is_quiet=True)
    assert terminal.read() == ""
    slow.now_s = 0
    monkeypatch.setenv("TERM", "dumb")
    follow(slow, terminal.stream)
    assert terminal.read().replace("\r", "") == EVERY_TEN_SECONDS


def test_a_terminal_may_be_closed(terminal, slow):
    outcomes = slow.outcomes

    def closing(every_s):
        os.close(terminal.ours)
        terminal.ours = os.open(os.devnull, os.O_RDONLY)
        yield from outcomes(every_s)

    slow.outcomes = closing
    follow(slow, terminal.stream)


def test_a_list_on_a_terminal_is_not_mixed_with_the_bar(terminal, slow):
    outcomes = [Outcome(name, Result.MISSING) for name in ("first", "second")]
    slow.outcomes = lambda _: outcomes
    streams = terminal.stream, terminal.stream, queue.SimpleQueue()
    Report(slow, "check", *streams, is_quiet=False, skips_broken=False).follow()
    lines = terminal.read().split("\r\n")
    assert lines[0].startswith("\r0 of 0+ files")
    assert [line.rpartition("\r")[2] for line in lines[:2]] == ["first", "second"]
