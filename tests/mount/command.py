"""The command `allenfs`, run as a user would, and the process behind a mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from mounted import STRICT_PYTHON, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    """Run a command that must print nothing."""
    done = allenfs(*arguments, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@contextlib.contextmanager
def mounted_by_command(
    root: Path, *options: str | Path, **environ: str
) -> Iterator[int]:
    """Run `allenfs mount` before the block, and `umount` after it; yield the PID."""
    succeeds("mount", *options, root, **environ)
    yield serving_pid(root)
    succeeds("umount", root)


@contextlib.contextmanager
def busy(place: Path) -> Iterator[None]:
    """Have a process with its current directory there."""
    process = subprocess.Popen(["sleep", "60"], cwd=place)
    try:
        yield
    finally:
        process.kill()
        process.wait()


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
