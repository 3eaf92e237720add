"""Whether the signal that reached a waiting process is a reason to stop waiting.

The kernel tells a filesystem of any signal. A download is given up for those
that end the process, and for those that it handles itself (a shell's Ctrl-C in
Python, an alarm); not for those that stop or continue it, or that it would
otherwise not notice: Ctrl-Z and `fg` must not break a `cp`.
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
_UNHEARD = ("SigBlk", "SigIgn")


def interruption(library: Any, major: int) -> Callable[[], bool]:
    """Return a look at whether this thread's operation shall end.

    It shall when its caller got a signal, and when the filesystem is being
    unmounted.

    Parameters
    ----------
    library : ctypes.CDLL
        A libfuse: the functions are those of its fuse.h.
    major : int
        2 or 3.
    """

    def shall_end() -> bool:
        # only who waits asks: most operations do not
        context = library.fuse_get_context().contents
        if _is_ending(library, major, ctypes.c_void_p(context.fuse)):
            return True
        return bool(library.fuse_interrupted()) and shall_stop_waiting(context.pid)

    return shall_end


def _is_ending(library: Any, major: int, mount: ctypes.c_void_p) -> bool:
    if major == 2:
        return bool(library.fuse_exited(mount))
    library.fuse_get_session.restype = ctypes.c_void_p
    session = ctypes.c_void_p(library.fuse_get_session(mount))
    return bool(library.fuse_session_exited(session))


def shall_stop_waiting(thread_id: int) -> bool:
    """Whether a signal is pending for a thread that ends it or that it handles.

    Yes where it cannot be told: the thread is gone, or of another namespace.
    """
    try:
        status = Path(f"/proc/{thread_id}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return _has_reason(
            {name: int(fields[name], 16) for name in _PENDING + _UNHEARD}
        )
    except (OSError, ValueError, KeyError):
        return True


def _has_reason(bits: dict[str, int]) -> bool:
    pending = bits["SigPnd"] | bits["ShdPnd"]
    unheard = bits["SigBlk"] | bits["SigIgn"] | _HARMLESS_BITS
    return bool(pending & ~unheard)
