"""The calls from the kernel to the daemon: no more than needed, warm or cold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run
from mounted import until

from allenfs.mount.mount_table import is_mounted

LISTING = "dataset/71670687/ds6"
_OPCODE = re.compile(r"opcode: ([A-Z]+)")


class Watched:
    """A mount whose libfuse prints every call to `output`."""

    def __init__(self, root: Path, output: Path) -> None:
        self._root, self._output = root, output
        folder = root / LISTING
        self.files = sorted(folder / name for name in os.listdir(folder) if "_" in name)

    def calls(self, action: Callable[[], object]) -> Counter[str]:
        """Count the calls that `action` makes, by the kernel's names."""
        start = self._settled()
        action()
        end = self._settled()
        text = self._output.read_bytes()[start:end]
        return Counter(_OPCODE.findall(text.decode(errors="replace")))

    def _settled(self) -> int:
        """Return where the output ends when all before has been answered.

        RELEASE is answered behind the caller's back, in the order of the queue.
        """
        for _ in range(2):
            run("stat", "-f", self._root)
        return self._output.stat().st_size


@pytest.fixture
def watched(root, service):
    printed = root.parent / "printed"
    command = [sys.executable, "-m", "allenfs", "mount", "--foreground", "-odebug"]
    command += ["--api-url", service.url, "--log-file", str(root.parent / "log")]
    with (
        printed.open("wb") as output,
        subprocess.Popen([*command, root], stdout=output, stderr=output) as process,
    ):
        until(lambda: is_mounted(root))
        yield Watched(root, printed)
        run("umount", root)
    assert process.returncode == 0


@pytest.mark.both_libfuses
def test_a_warm_file_costs_one_open_three_getattrs_and_one_release(watched):
    first, *others = watched.files
    cold = watched.calls(lambda: run("cat", first))
    assert cold["OPEN"] <= 2  # the kernel is sent back once, to learn the size
    assert cold["RELEASE"] == 1
    assert 1 <= cold["READ"] <= 1 + -(-first.stat().st_size // 131_072)
    for _ in range(2):
        run("cat", *others)
    calls = watched.calls(lambda: run("cat", *others))
    count = len(others)
    assert count == 11
    # the names are looked up once a second, and the size by `fstat` and at the end
    assert calls.pop("LOOKUP", 0) <= count + len(LISTING.split("/"))
    assert count <= calls.pop("GETATTR") <= 3 * count
    assert calls == {"OPEN": count, "RELEASE": count, "STATFS": 2}


@pytest.mark.both_libfuses
def test_ls_costs_at_most_four_calls_a_file(watched):
    files = watched.files
    run("ls", "-l", files[0].parent)
    calls = watched.calls(lambda: run("ls", "-l", files[0].parent))
    count, above = len(files), len(LISTING.split("/"))
    assert calls["LOOKUP"] <= count + above
    assert calls["GETATTR"] <= count + above
    assert calls["GETXATTR"] <= 2 * count + 4  # of the system's attributes
    # READDIRPLUS would look at every file for `ls`, too
    others = {"OPEN", "READ", "ACCESS", "FLUSH", "READLINK", "READDIRPLUS"}
    assert not set(calls) & others


@pytest.mark.both_libfuses
def test_operations_that_always_succeed_are_called_once(watched):
    files = watched.files

    def open_and_close() -> None:
        for file in files[:6]:
            with file.open("rb") as opened:
                opened.read()
                os.fsync(opened.fileno())
            os.access(file, os.R_OK)

    open_and_close()
    again = watched.calls(open_and_close)
    assert not set(again) & {"FLUSH", "ACCESS", "FSYNC", "INTERRUPT"}
