"""Commands of a user without privileges, whom the machine may not know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mount_namespace import MountNamespace
from mounted import STRICT_PYTHON
from typing_extensions import Self

# Many machines, and all containers, have a /dev/fuse for root alone.
_OPEN_DEVICE = """
set -e
mknod -m 666 "$0/fuse" c 10 229
mount --bind "$0/fuse" /dev/fuse
"""
_KNOW_USER = """
set -e
{ cat /etc/passwd; echo "allenfs-test:x:$1:$1::$0:/bin/sh"; } > "$0/passwd"
mount --bind "$0/passwd" /etc/passwd
"""


class PlainUser:
    """A user in a mount namespace that ends with the test.

    With an unused user ID, so that the user's processes can be counted.

    Parameters
    ----------
    folder : Path
        One that all users can enter; `home` is created in it.
    is_known : bool
        Whether the user has an entry in passwd, which fusermount asks for.
    may_mount : bool
        Whether he has CAP_SYS_ADMIN, with which libfuse needs no fusermount.
    """

    def __init__(
        self, folder: Path, *, is_known: bool, may_mount: bool = False
    ) -> None:
        self.number = 100_000 + os.getpid()
        self.home = folder / "home"
        self.root = self.home / "mnt"
        for made in (self.home, self.root):
            made.mkdir()
            os.chown(made, self.number, self.number)
        # the first to get at a Python that lies below /root
        capabilities = "+dac_read_search" + ",+sys_admin" * may_mount
        self._as_user = [
            *("setpriv", f"--reuid={self.number}", f"--regid={self.number}"),
            *("--clear-groups", f"--inh-caps={capabilities}"),
            f"--ambient-caps={capabilities}",
        ]
        self._scripts = [_OPEN_DEVICE, *[_KNOW_USER] * is_known]
        self._folder = folder
        self._namespace = MountNamespace(folder)

    def __enter__(self) -> Self:
        self._namespace.__enter__()
        for script in self._scripts:
            arguments = [self._folder / "above", str(self.number)]
            done = self._namespace.run("sh", "-c", script, *arguments)
            assert done.returncode == 0, done.stderr
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._namespace.__exit__(*exc_info)

    def run(
        self, *command: str | Path, processes: int | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in an empty environment, with so many processes allowed."""
        limit = ["prlimit", f"--nproc={processes}"] if processes else []
        own = {"PATH": os.environ["PATH"], "ALLENFS_FUSE": os.environ["ALLENFS_FUSE"]}
        own |= {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", **environ}
        return self._namespace.run(*self._as_user, *limit, *command, environ=own)

    def allenfs(
        self, *arguments: str | Path, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return self.run(*STRICT_PYTHON, "-m", "allenfs", *arguments, **options)

    def python(
        self, program: str, *arguments: str | Path
    ) -> subprocess.CompletedProcess[str]:
        """Run a program."""
        return self.run(sys.executable, "-c", program, *arguments)

    def fails(self, code: int, *arguments: str | Path, **options: Any) -> str:
        """Run a command that shall fail; return its one line."""
        done = self.allenfs(*arguments, **options)
        assert (done.returncode, done.stdout) == (code, ""), done
        (line,) = done.stderr.splitlines()
        assert line.startswith("allenfs: "), done.stderr
        return line

    def is_mounted(self) -> bool:
        """Whether anything, alive or dead, is mounted on `root`."""
        table = self._namespace.run("cat", "/proc/self/mountinfo").stdout
        return f" {self.root} " in table
