"""Other programs: run to their end, and timed."""

from __future__ import annotations

import subprocess
import time

_END_S = 10


class BenchError(Exception):
    """A program does not work, so its speed cannot be measured."""


def run(*command: object) -> str:
    """Run a program and return what it printed; raises BenchError."""
    return _run(command, subprocess.PIPE)


def seconds_of(*command: object) -> float:
    """Run a program and return the seconds it took; raises BenchError."""
    started_s = time.perf_counter()
    _run(command, subprocess.DEVNULL)
    return time.perf_counter() - started_s


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, or kill it after 10 s."""
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _run(command: tuple[object, ...], stdout: int) -> str:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    except OSError as error:
        raise BenchError(str(error)) from error
    if done.returncode:
        raise BenchError(
            f"{words[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return done.stdout
