"""Identify the process that serves a mount.

A PID alone is ambiguous: it may belong to another PID namespace, or have been reused.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from pathlib import Path
from typing import NamedTuple

PID_ATTRIBUTE = "user.allenfs.pid"
PROCESS_ATTRIBUTE = "user.allenfs.process"
ATTRIBUTES = (PID_ATTRIBUTE, PROCESS_ATTRIBUTE)

_STARTED_FIELD = 22  # proc_pid_stat(5)
_PROGRAM, _COMMAND = b"allenfs", b"mount"


class Process(NamedTuple):
    """The unambiguous identity of a process.

    Attributes
    ----------
    pid : int
        In its own PID namespace.
    started_ticks : int
        Start time, in clock ticks since boot.
    pid_namespace : str
        As ``/proc/PID/ns/pid`` links to it.
    """

    pid: int
    started_ticks: int
    pid_namespace: str

    @classmethod
    def parse(cls, text: str) -> Process:
        """Parse what a mount reports; raises ValueError."""
        pid, started_ticks, pid_namespace = text.split()
        return cls(int(pid), int(started_ticks), pid_namespace)

    def is_visible(self) -> bool:
        """Whether it is in the PID namespace of this process."""
        return self.pid_namespace == _pid_namespace()

    def pidfd(self, owner: int | None) -> int | None:
        """Return a pidfd to signal the process with: see pidfd_open(2).

        None if it is not visible, has ended, cannot be signalled, or is not an
        ``allenfs mount`` of `owner`: the report of a mount is not trusted.
        """
        try:
            process = os.pidfd_open(self.pid)
        except (OSError, OverflowError):
            return None
        with contextlib.suppress(OSError):
            # the start time is the same: the pidfd refers to that process
            if self._is_mount_of(owner):
                signal.pidfd_send_signal(process, 0)
                return process
        os.close(process)
        return None

    def _is_mount_of(self, owner: int | None) -> bool:
        directory = Path(f"/proc/{self.pid}")
        return (
            self.is_visible()
            and _started_ticks(directory) == self.started_ticks
            and directory.stat().st_uid == owner
            and _is_mount((directory / "cmdline").read_bytes().split(b"\0"))
        )


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


def _is_mount(arguments: list[bytes]) -> bool:
    """Whether it is ``allenfs mount`` or ``python -m allenfs mount``."""
    return any(
        os.path.basename(program) == _PROGRAM and command == _COMMAND
        for program, command in itertools.pairwise(arguments)
    )
