"""Identify the process that serves a mount.

A PID alone is ambiguous: it may belong to another PID namespace, or have been reused.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PID_ATTRIBUTE = "user.allenfs.pid"
PROCESS_ATTRIBUTE = "user.allenfs.process"
ATTRIBUTES = (PID_ATTRIBUTE, PROCESS_ATTRIBUTE)

_STARTED_FIELD = 22  # proc_pid_stat(5)


class Process(NamedTuple):
    """The unambiguous identity of a process: its start is in clock ticks since boot."""

    pid: int
    started_ticks: int
    pid_namespace: str

    @classmethod
    def parse(cls, value: bytes) -> Process:
        """Parse the attribute of a mount; raises ValueError."""
        pid, started_ticks, pid_namespace = value.decode("ascii").split()
        return cls(int(pid), int(started_ticks), pid_namespace)

    def is_visible(self) -> bool:
        """Whether it is in the PID namespace of this process."""
        return self.pid_namespace == _pid_namespace()

    @contextlib.contextmanager
    def pidfd(self, owner: int | None) -> Iterator[int | None]:
        """Open a pidfd to signal the process with: see pidfd_open(2).

        None if it is not visible, has ended, cannot be signalled, or is not an
        ``allenfs mount`` of `owner`: the report of a mount is not trusted.
        """
        try:
            process = os.pidfd_open(self.pid)
        except (OSError, OverflowError):
            yield None
            return
        try:
            yield process if self._is_mount_of(owner, process) else None
        finally:
            os.close(process)

    def _is_mount_of(self, owner: int | None, process: int) -> bool:
        """Whether a pidfd, opened before, is that of this mount."""
        directory = Path(f"/proc/{self.pid}")
        try:
            signal.pidfd_send_signal(process, 0)
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
            return (
                self.is_visible()
                and _started_ticks(directory) == self.started_ticks
                and directory.stat().st_uid == owner
                # allenfs mount, or python -m allenfs mount
                and any(
                    os.path.basename(program) == b"allenfs" and command == b"mount"
                    for program, command in itertools.pairwise(arguments)
                )
            )
        except OSError:
            return False


def attribute(name: str) -> str:
    """Return the value of one of `ATTRIBUTES` for a mount of this process."""
    pid = str(os.getpid())
    if name == PID_ATTRIBUTE:
        return pid
    return f"{pid} {_started_ticks(Path('/proc/self'))} {_pid_namespace()}"


def _started_ticks(directory: Path) -> int:
    # the program name may contain spaces and parentheses
    _, _, rest = (directory / "stat").read_text(errors="replace").rpartition(") ")
    return int(rest.split()[_STARTED_FIELD - 3])


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
