"""Processes at both ends of a mount: the caller of an operation, and the server.

The kernel reports any signal to the waiting process. Signals that end it or that it
handles (Ctrl-C in Python, an alarm) interrupt; signals that stop or continue it, or
that it ignores, do not: Ctrl-Z and `fg` must not break a `cp`.

The serving process is not identified by its PID alone, which may belong to another PID
namespace, or have been reused.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from allenfs.service.single_flight import Caller

# Attributes of a mount
PID_ATTRIBUTE = "user.allenfs.pid"
PROCESS_ATTRIBUTE = "user.allenfs.process"
ATTRIBUTES = (PID_ATTRIBUTE, PROCESS_ATTRIBUTE)

_HARMLESS = {
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGURG,
    signal.SIGWINCH,
}
_HARMLESS_BITS = sum(1 << (number - 1) for number in _HARMLESS)
_FANOTIFY = "anon_inode:[fanotify]"
_CAP_SYS_ADMIN = 1 << 21
_STARTED_FIELD = 22  # proc_pid_stat(5)


def current_caller(library: Any, major: int) -> Caller:
    """Return the caller of the operation that this thread serves.

    It is interrupted if it got a signal, or if the filesystem is being unmounted.

    Parameters
    ----------
    library : ctypes.CDLL
        A libfuse, with the functions of its fuse.h.
    major : int
        2 or 3.
    """
    context = library.fuse_get_context().contents
    return Caller(
        context.pid, functools.partial(_is_interrupted, library, major, context)
    )


def _is_interrupted(library: Any, major: int, context: Any) -> bool:
    mount = ctypes.c_void_p(context.fuse)
    if major == 2:
        is_unmounting = library.fuse_exited(mount)
    else:
        library.fuse_get_session.restype = ctypes.c_void_p
        session = ctypes.c_void_p(library.fuse_get_session(mount))
        is_unmounting = library.fuse_session_exited(session)
    return bool(is_unmounting) or (
        bool(library.fuse_interrupted()) and has_interrupting_signal(context.pid)
    )


def has_interrupting_signal(thread_id: int) -> bool:
    """Whether a pending signal will end the thread or run its handler.

    True if unknown: the thread has ended, or is in another PID namespace.
    """
    try:
        bits = _status_bits(thread_id, "SigPnd", "ShdPnd", "SigBlk", "SigIgn")
    except (OSError, ValueError, KeyError):
        return True
    pending = bits["SigPnd"] | bits["ShdPnd"]
    return bool(pending & ~(bits["SigBlk"] | bits["SigIgn"] | _HARMLESS_BITS))


def is_listener(thread_id: int) -> bool:
    """Whether a thread is a fanotify listener, such as an on-access virus scanner.

    The kernel opens each file for the listener before the program may open it. It does
    so without a lookup and does not retry after ESTALE (see ``kernel_view.py``), so the
    program would get EPERM.

    If the thread's descriptors cannot be read, CAP_SYS_ADMIN decides, which fanotify
    requires. A thread in another PID namespace has the ID 0: never a listener.
    """
    directory = f"/proc/{thread_id}/fd"
    try:
        for number in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # just closed
                if os.readlink(f"{directory}/{number}") == _FANOTIFY:
                    return True
    except PermissionError:
        with contextlib.suppress(OSError, ValueError, KeyError):
            capabilities = _status_bits(thread_id, "CapEff")["CapEff"]
            return bool(capabilities & _CAP_SYS_ADMIN)
    except OSError:
        pass
    return False


def _status_bits(thread_id: int, *names: str) -> dict[str, int]:
    """Return hexadecimal fields of ``/proc/ID/status``."""
    status = Path(f"/proc/{thread_id}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {name: int(fields[name], 16) for name in names}


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
        ``allenfs mount`` of `owner`: what a mount reports is not trusted.
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
        """Whether a pidfd, opened before, refers to this mount's process."""
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
