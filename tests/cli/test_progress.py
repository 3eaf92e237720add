"""The line that tells how far it is: its words, its width, its stream."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allenfs.cli.prefetch.progress import Progress, Tally, _width, cut, end_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(st.text(max_size=40), st.integers(1, 40))
def test_a_text_is_cut_to_its_columns(text: str, columns: int) -> None:
    for short in (cut(text, columns), end_of(text, columns)):
        assert sum(map(_width, short)) <= columns
    assert text.startswith(cut(text, columns))
    assert text.endswith(end_of(text, columns).removeprefix("…"))


def test_a_stream_that_is_no_terminal_gets_a_line_every_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock)
    for second in range(31):
        clock.now_s = second
        progress.show(
            Tally(60, is_all_found=True, done=second, work_bytes=second * 1024)
        )
        progress.clear()
    assert stream.getvalue() == (
        "10 of 60 files  10.0 KiB  1.0 KiB/s  0:50 left\n"
        "20 of 60 files  20.0 KiB  1.0 KiB/s  0:40 left\n"
        "30 of 60 files  30.0 KiB  1.0 KiB/s  0:30 left\n"
    )


def test_a_rate_forgets_what_was_long_ago() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock)
    for second in range(101):
        clock.now_s = second
        done = min(second, 10) * 100 + second
        progress.show(Tally(2000, is_all_found=True, done=done, work_bytes=done))
    assert stream.getvalue().splitlines()[-1].endswith("1 bytes/s  15:00 left")


def test_while_files_are_being_found_the_total_is_open_and_no_time_is_told() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock)
    clock.now_s = 10
    progress.show(Tally(60, done=20, note="no answer, waiting"))
    assert stream.getvalue() == "20 of 60+ files  no answer, waiting\n"


class Terminal:
    """A pseudo terminal of some columns."""

    def __init__(self, columns: int) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")

    def read(self) -> str:
        return os.read(self.ours, 65536).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal(60)
    yield made
    made.stream.close()
    os.close(made.ours)


def test_a_terminal_has_one_line_that_is_drawn_again_within_its_width(
    terminal: Terminal,
) -> None:
    clock = Clock()
    progress = Progress(terminal.stream, clock)
    name = "dataset/1/" + "脳" * 40 + "\x1b[31m.jpg"
    for second in range(3):
        clock.now_s = second
        progress.show(Tally(60, is_all_found=True, done=second, name=name))
        said = terminal.read()
        assert said.startswith("\r")
        assert said.endswith("\x1b[K")
        line = said.removeprefix("\r").removesuffix("\x1b[K")
        assert line.isprintable()
        assert 40 < sum(map(_width, line)) < 60
        assert line.endswith(".jpg")
    progress.clear()
    progress.clear()
    assert terminal.read() == "\r\x1b[K"


def test_a_terminal_that_can_draw_nothing_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    clock = Clock()
    progress = Progress(terminal.stream, clock)
    clock.now_s = 10
    progress.show(Tally(2, done=1))
    assert terminal.read() == "1 of 2+ files\r\n"


@pytest.mark.parametrize("columns", [0, 1, 5])
def test_a_narrow_terminal_is_no_trouble(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    narrow = Terminal(columns)
    progress = Progress(narrow.stream, Clock())
    progress.show(Tally(2, done=1, name="name"))
    line = narrow.read().removeprefix("\r").removesuffix("\x1b[K")
    assert len(line) <= (columns or 80)
    narrow.stream.close()
    os.close(narrow.ours)


def test_a_stream_that_nobody_reads_is_no_trouble() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    clock = Clock()
    stream = os.fdopen(writer, "w", encoding="utf-8", closefd=False)
    progress = Progress(stream, clock)
    for _ in range(2):
        clock.now_s += 10
        progress.show(Tally(2, done=1))
    os.close(writer)
    with pytest.raises(OSError):
        stream.close()
