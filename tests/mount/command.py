"""The command `allenfs`, run as a user would, and the process behind a mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mounted import STRICT_PYTHON, until


def allenfs(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STRICT_PYTHON, "-m", "allenfs", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def fails(code: int, *arguments: str | Path, **environ: str) -> str:
    """Run a command that shall fail; return its one line."""
    done = allenfs(*arguments, **environ)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("allenfs: ")
    assert done.stdout == ""
    return lines[0]


def succeeds(*arguments: str | Path, **environ: str) -> None:
    """Run a command that shall succeed and print nothing."""
    done = allenfs(*arguments, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@contextlib.contextmanager
def mounting(root: Path, *flags: str | Path, **environ: str) -> Iterator[int]:
    """A mount by `allenfs mount`, until `allenfs umount`; yields the PID."""
    succeeds("mount", *flags, root, **environ)
    yield serving_pid(root)
    assert allenfs("umount", root).returncode == 0


@contextlib.contextmanager
def busy(place: Path) -> Iterator[None]:
    """Have a process with its current directory there."""
    process = subprocess.Popen(["sleep", "60"], cwd=place)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run(*command: str | Path, **options: Any) -> bytes:
    """Run a program that must succeed; return its output."""
    output: bytes = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, **options
    ).stdout
    return output


def cat(*files: Path) -> subprocess.Popen[bytes]:
    """Start a reader."""
    return subprocess.Popen(
        ["cat", *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def serving_pid(root: Path) -> int:
    return int(os.getxattr(root, "user.allenfs.pid"))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until_gone(pid: int) -> None:
    until(lambda: not _is_running(pid))
