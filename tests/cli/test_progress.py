"""The progress of a task: a bar on a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from allenfs.cli.prefetch import report
from allenfs.cli.prefetch.gathering import Outcome, Result, Task
from allenfs.cli.prefetch.outage import Outage
from allenfs.cli.prefetch.report import Progress, Report

if TYPE_CHECKING:
    from collections.abc import Iterator


END = "§"


class Terminal:
    """A pseudo terminal of some columns."""

    def __init__(self, columns: int) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")

    def read(self) -> str:
        """Return what was written, which arrives in pieces."""
        self.stream.write(END)
        self.stream.flush()
        data = b""
        while not data.endswith(END.encode()):
            data += os.read(self.ours, 65536)
        return data.decode().removesuffix(END)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            self.stream.close()
        os.close(self.ours)


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal(getattr(request, "param", 60))
    yield made
    made.close()


def test_a_terminal_has_one_line_that_is_drawn_again_within_its_width(
    terminal: Terminal,
) -> None:
    progress = Progress(terminal.stream, is_quiet=False)
    assert terminal.read() == "\r0 of 0+ files"
    progress.show(0, 60, "", "", is_all_found=True)
    assert terminal.read().rstrip().endswith("| 0 of 60 files")
    for done in range(1, 4):
        progress.show(done, 60, "1.0 KiB", "", is_all_found=True)
        *_, line = terminal.read().split("\r")
        assert line.isprintable()
        assert len(line) < 60
        assert line.startswith(f"{done / 60 * 100:3.0f}%|")
        assert f"| {done} of 60 files, 1.0 KiB, " in line
        assert line.endswith(" left")
    progress.clear()
    assert terminal.read().replace(" ", "") == "\r\r"
    progress.show(4, 60, "", "no answer, waiting", is_all_found=True)
    assert "| 4 of 60 files, no answer, waiting " in terminal.read() + " "
    progress.close()
    progress.close()
    assert terminal.read().replace(" ", "") == "\r\r"


def test_while_files_are_being_found_the_total_is_open_and_no_time_is_told(
    terminal: Terminal,
) -> None:
    progress = Progress(terminal.stream, is_quiet=False)
    terminal.read()
    progress.show(20, 60, "1.0 KiB", "", is_all_found=False)
    *_, line = terminal.read().split("\r")
    assert line == "20 of 60+ files, 1.0 KiB"
    progress.close()


@pytest.mark.parametrize("terminal", [20, 30], indirect=True)
def test_a_narrow_terminal_is_no_trouble(terminal: Terminal) -> None:
    progress = Progress(terminal.stream, is_quiet=False)
    progress.show(1, 2, "1.0 KiB", "", is_all_found=True)
    progress.close()
    lines = terminal.read().split("\r")
    assert all(line.isprintable() and len(line) < 30 for line in lines)
    assert any("1 of 2" in line for line in lines)


@pytest.mark.parametrize("terminal", [0, 1, 5], indirect=True)
def test_no_bar_with_quiet_nor_where_none_can_be_drawn(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, wide = io.StringIO(), Terminal(60)
    made = [
        Progress(wide.stream, is_quiet=True),
        Progress(plain, is_quiet=False),
        Progress(terminal.stream, is_quiet=False),
    ]
    monkeypatch.setenv("TERM", "dumb")
    made.append(Progress(wide.stream, is_quiet=False))
    for progress in made:
        assert not progress.is_shown
        progress.show(1, 2, "1.0 KiB", "", is_all_found=True)
        progress.clear()
        progress.close()
    assert plain.getvalue() == ""
    assert [one.read() for one in (terminal, wide)] == ["", ""]
    wide.close()


def test_a_terminal_that_was_closed_is_no_trouble(terminal: Terminal) -> None:
    progress = Progress(terminal.stream, is_quiet=False)
    os.close(terminal.ours)
    for done in range(2):
        progress.show(done, 2, "1.0 KiB", "", is_all_found=True)
        progress.clear()
    progress.close()
    terminal.ours = os.open(os.devnull, os.O_RDONLY)


class Slow:
    """A gathering with an outcome in each of 31 seconds."""

    found, is_all_found = 60, True
    outage = Outage(pause_s=1, patience_s=1)
    now_s = 0.0

    def outcomes(self, every_s: float) -> Iterator[Outcome | None]:
        for _ in range(31):
            self.now_s += 1
            yield Outcome("name", Result.FETCHED, 1024)
            yield None


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_stream_that_is_no_terminal_gets_a_line_every_ten_seconds(
    is_quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, err = Slow(), io.StringIO()
    monkeypatch.setattr(report, "monotonic", lambda: slow.now_s)
    printed = Report(
        Task.FETCH, io.StringIO(), err, is_quiet=is_quiet, skips_broken=False
    )
    printed.follow(slow)  # type: ignore[arg-type]
    expected = (
        "allenfs: 60 files in 0:10: 10 fetched (10.0 KiB), 50 remaining\n"
        "allenfs: 60 files in 0:20: 20 fetched (20.0 KiB), 40 remaining\n"
        "allenfs: 60 files in 0:30: 30 fetched (30.0 KiB), 30 remaining\n"
    )
    assert err.getvalue() == ("" if is_quiet else expected)
