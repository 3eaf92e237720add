"""The thread that called an operation: its signals, and whether it is a virus scanner.

The kernel reports any signal of the waiting process. Signals that end the process or
that it handles (Ctrl-C in Python, an alarm) interrupt; signals that stop, continue or
are ignored do not: Ctrl-Z and `fg` must not break a `cp`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allenfs.service.single_flight import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    if _is_unmounting(library, major, ctypes.c_void_p(context.fuse)):
        return True
    return bool(library.fuse_interrupted()) and has_interrupting_signal(context.pid)


def _is_unmounting(library: Any, major: int, mount: ctypes.c_void_p) -> bool:
    if major == 2:
        return bool(library.fuse_exited(mount))
    library.fuse_get_session.restype = ctypes.c_void_p
    session = ctypes.c_void_p(library.fuse_get_session(mount))
    return bool(library.fuse_session_exited(session))


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
    try:
        return _FANOTIFY in _open_files(thread_id)
    except PermissionError:
        with contextlib.suppress(OSError, ValueError, KeyError):
            capabilities = _status_bits(thread_id, "CapEff")["CapEff"]
            return bool(capabilities & _CAP_SYS_ADMIN)
    except OSError:
        pass
    return False


def _open_files(thread_id: int) -> Iterator[str]:
    directory = f"/proc/{thread_id}/fd"
    for number in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):  # just closed
            yield os.readlink(f"{directory}/{number}")


def _status_bits(thread_id: int, *names: str) -> dict[str, int]:
    """Return hexadecimal fields of ``/proc/ID/status``."""
    status = Path(f"/proc/{thread_id}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {name: int(fields[name], 16) for name in names}
