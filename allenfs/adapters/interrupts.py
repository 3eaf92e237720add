"""Decide whether a signal interrupts an operation.

The kernel reports any signal of the waiting process. Signals that end the process or
that it handles (Ctrl-C in Python, an alarm) interrupt; signals that stop, continue or
are ignored do not: Ctrl-Z and `fg` must not break a `cp`.
"""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
_PENDING = ("SigPnd", "ShdPnd")
_WITHOUT_EFFECT = ("SigBlk", "SigIgn")


def interruption(library: Any, major: int) -> Callable[[], bool]:
    """Return a function that tells whether to end the operation of this thread.

    It ends if its caller got a signal, or if the filesystem is being unmounted.

    Parameters
    ----------
    library : ctypes.CDLL
        A libfuse, with the functions of its fuse.h.
    major : int
        2 or 3.
    """

    def is_interrupted() -> bool:
        # most operations do not wait, and never call this
        context = library.fuse_get_context().contents
        if _is_ending(library, major, ctypes.c_void_p(context.fuse)):
            return True
        return bool(library.fuse_interrupted()) and has_interrupting_signal(context.pid)

    return is_interrupted


def _is_ending(library: Any, major: int, mount: ctypes.c_void_p) -> bool:
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
        status = Path(f"/proc/{thread_id}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return _has_effect(
            {name: int(fields[name], 16) for name in _PENDING + _WITHOUT_EFFECT}
        )
    except (OSError, ValueError, KeyError):
        return True


def _has_effect(bits: dict[str, int]) -> bool:
    pending = bits["SigPnd"] | bits["ShdPnd"]
    without_effect = bits["SigBlk"] | bits["SigIgn"] | _HARMLESS_BITS
    return bool(pending & ~without_effect)
