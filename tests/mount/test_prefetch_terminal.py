"""`allenfs prefetch` on a terminal draws one line again and again; elsewhere none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest
from command import allenfs
from mounted import STRICT_PYTHON, Mounted

from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_libfuse

COLUMNS = 50
PATHS = [f"section/69750516/ds7/q{number}/image.jpg" for number in range(12)]


def on_a_terminal(*arguments: str | Path) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*STRICT_PYTHON, "-m", "allenfs", "prefetch", *map(str, arguments)],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the end, as Linux tells it
        while True:
            said += os.read(ours, 65536)
    os.close(ours)
    return process.wait(30), said.decode()


def test_a_terminal_shows_one_line_that_is_drawn_again(tmp_path: Path) -> None:
    with (
        SampleService(latency_s=0.3) as service,
        Mounted(tmp_path, service.url, connections=2) as mounted,
    ):
        code, said = on_a_terminal(*(mounted / path for path in PATHS))
    assert code == 0
    *drawn, summary = said.removesuffix("\r\n").split("\r")
    assert summary.startswith("allenfs: 12 files in ")
    lines = [line for line in drawn if line.strip()]
    assert len(lines) >= 3
    assert all(line.isprintable() and len(line) < COLUMNS for line in drawn)
    figures = r" *[0-9]+%\|.+\| [0-9]+ of 12 files, [0-9.]+ KiB, [0-9?:]+ left *"
    assert any(re.fullmatch(figures, line) for line in lines)
    assert drawn[-1].strip() == ""


def test_what_a_check_lists_on_a_terminal_is_not_mixed_with_the_line(
    tmp_path: Path,
) -> None:
    with SampleService() as service:
        flags = ["--api-url", service.url, "--cache-dir", str(tmp_path / "store")]
        code, said = on_a_terminal(*flags, "--check", *PATHS)
    assert code == 1
    lines = [line for line in said.split("\r\n") if line]
    *listed, summary = [line.rpartition("\r")[2] for line in lines]
    assert listed == PATHS
    assert summary.endswith("12 not local")


def test_without_a_terminal_there_are_no_control_characters(tmp_path: Path) -> None:
    with SampleService(latency_s=0.2) as service:
        flags = ["--api-url", service.url, "--cache-dir", str(tmp_path / "store")]
        done = allenfs("prefetch", *flags, *PATHS, TERM="xterm")
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stderr.splitlines())
    assert done.stdout == ""


def test_quiet_draws_nothing(tmp_path: Path) -> None:
    with SampleService(latency_s=0.2) as service:
        flags = ["--api-url", service.url, "--cache-dir", str(tmp_path / "store")]
        assert on_a_terminal("-q", *flags, *PATHS) == (0, "")
