"""Many reading processes at once, and whether each of them gets on."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mounted import STRICT_PYTHON

if TYPE_CHECKING:
    from typing_extensions import Self

_READER = Path(__file__).with_name("reader.py")
# Four attempts of a second each, behind 32 others on four connections.
_STUCK_S = 60.0
_END_S = 60.0


class Readers:
    """Reading processes; leaving the block ends them, and checks how they ended."""

    def __init__(self, pool_folder: Path, folder: Path) -> None:
        self._pool_folder = pool_folder
        self._folder = folder  # what a killed one leaves behind goes with the test's
        self._progress = folder / "progress"
        self._progress.write_bytes(bytes(8 * 256))
        self._processes: list[subprocess.Popen[str]] = []
        self._started: list[list[str]] = []
        self._moved: list[tuple[int, float]] = []
        self.counts: Counter[str] = Counter()

    def start(self, root: Path, count: int, *, may_be_gone: bool = False) -> None:
        """Let `count` more processes read below `root`."""
        for _ in range(count):
            place = len(self._processes)
            arguments = [root, self._pool_folder, 1000 + place, self._progress, place]
            if may_be_gone:
                arguments.append("gone")
            self._started.append([str(one) for one in arguments])
            self._processes.append(_process(self._started[place], self._folder))
            self._moved.append((0, time.monotonic()))

    def kill_one(self, dice: random.Random) -> None:
        """kill -9 in the middle of whatever it does; another one takes its place."""
        place = dice.randrange(len(self._processes))
        self._processes[place].kill()
        self._processes[place].communicate()
        self._processes[place] = _process(self._started[place], self._folder)
        self._moved[place] = (0, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        # but for one that `check` has found dead
        running = [
            one for one in self._processes if one.stdout and not one.stdout.closed
        ]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()  # ready, or dead: else SIGTERM comes too early
            process.terminate()
        wrong = []
        for process in running:
            try:
                out, said = process.communicate(timeout=_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, said = process.communicate()
                wrong.append("a reader does not end")
            if process.returncode or said:
                wrong.append(said.strip() or f"ended with {process.returncode}")
            else:
                self.counts.update(json.loads(out))
        assert wrong == [] or exc_info[0] is not None, wrong

    def check(self) -> None:
        """Raise if one has found something wrong, or hangs."""
        now_s = time.monotonic()
        steps = self._progress.read_bytes()
        for place, process in enumerate(self._processes):
            assert process.poll() is None, process.communicate()[1]
            done = int.from_bytes(steps[8 * place : 8 * place + 8], "little")
            before, moved_s = self._moved[place]
            if done != before:
                self._moved[place] = done, now_s
            assert now_s - moved_s < _STUCK_S, f"reader {place} hangs"


def _process(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*STRICT_PYTHON, str(_READER), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TMPDIR": str(folder),
        },
    )
