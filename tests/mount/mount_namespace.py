"""mount(8) with its helpers, in a mount namespace that ends with the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typing_extensions import Self

PROGRAMS = Path(sys.executable).parent
# What is put into /sbin lies in memory, above what is there.
_SET_UP = """
set -e
mount -t tmpfs none "$0"
mkdir "$0/upper" "$0/work"
sbin=$(realpath /sbin)
mount -t overlay -o "lowerdir=$sbin,upperdir=$0/upper,workdir=$0/work" none "$sbin"
echo ready
exec cat
"""


class MountNamespace:
    """A mount namespace; what is mounted in it is gone when it is."""

    def __init__(self, folder: Path) -> None:
        self._above = folder / "above"
        self._above.mkdir()

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _SET_UP, str(self._above)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._holder.communicate()

    @property
    def file(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/ns/mnt")

    def link(self, name: str, program: str) -> None:
        """Link a program of this allenfs into /sbin."""
        self.run("ln", "-sf", PROGRAMS / program, f"/sbin/{name}")

    def run(
        self, *arguments: str | Path, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", f"--mount={self.file}", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ) if environ is None else environ,
        )

    def __truediv__(self, path: Path) -> Path:
        """Return where a path of the namespace is seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root") / path.relative_to("/")
