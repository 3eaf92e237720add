"""The command `allenfs`, run as a user would, and the process behind a mount."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

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
