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

from mounted import STRICT_PYTHON
from typing_extensions import Self

_READER = Path(__file__).with_name("reader.py")
# Four attempts of a second each, behind 32 others on four connections.
_STUCK_S = 60.0
_END_S = 60.0


class _Process:
    """A reading process, and when it last did a step."""

    def __init__(self, arguments: list[object], folder: Path) -> None:
        self._command = [*STRICT_PYTHON, *map(str, [_READER, *arguments])]
        # what a killed one leaves behind goes with the test's folder
        self._environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._environ["TMPDIR"] = str(folder)
        self.start()

    def start(self) -> None:
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen(
            self._command, stdout=pipe, stderr=pipe, text=True, env=self._environ
        )
        self._steps, self._moved_s = 0, time.monotonic()

    def check(self, steps: int) -> None:
        """Raise if it has found something wrong, or hangs."""
        assert self.popen.poll() is None, self.popen.communicate()[1]
        if steps != self._steps:
            self._steps, self._moved_s = steps, time.monotonic()
        assert time.monotonic() - self._moved_s < _STUCK_S, "a reader hangs"


class Readers:
    """Reading processes; leaving the block ends them, and checks how they ended."""

    def __init__(self, pool_folder: Path, folder: Path) -> None:
        self._pool_folder = pool_folder
        self._folder = folder
        self._progress = folder / "progress"
        self._progress.write_bytes(bytes(8 * 256))
        self._processes: list[_Process] = []
        self.counts: Counter[str] = Counter()

    def start(self, root: Path, count: int, *, may_be_gone: bool = False) -> None:
        """Let `count` more processes read below `root`."""
        for place in range(len(self._processes), len(self._processes) + count):
            arguments = [root, self._pool_folder, 1000 + place, self._progress, place]
            arguments += ["gone"] * may_be_gone
            self._processes.append(_Process(arguments, self._folder))

    def kill_one(self, dice: random.Random) -> None:
        """kill -9 in the middle of whatever it does; another one takes its place."""
        process = dice.choice(self._processes)
        process.popen.kill()
        process.popen.communicate()
        process.start()

    def check(self) -> None:
        """Raise if one has found something wrong, or hangs."""
        steps = self._progress.read_bytes()
        for place, process in enumerate(self._processes):
            process.check(int.from_bytes(steps[8 * place : 8 * place + 8], "little"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        popens = [process.popen for process in self._processes]
        # but for one that `check` has found dead
        running = [one for one in popens if not one.stdout.closed]
        for process in running:
            process.stdout.readline()  # ready, or dead: else SIGTERM comes too early
            process.terminate()
        wrong = []
        for process in running:
            try:
                out, stderr = process.communicate(timeout=_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, stderr = process.communicate()
                wrong.append("a reader does not end")
            if process.returncode or stderr:
                wrong.append(stderr.strip() or f"ended with {process.returncode}")
            else:
                self.counts.update(json.loads(out))
        assert wrong == [] or exc_info[0] is not None, wrong
