"""Whether the signal that reached a waiting process is a reason to stop waiting.

The kernel tells a filesystem of any signal. A download is given up for those
that end the process, and for those that it handles itself (a shell's Ctrl-C in
Python, an alarm); not for those that stop or continue it, or that it would
otherwise not notice: Ctrl-Z and `fg` must not break a `cp`.
"""

from __future__ import annotations

import signal
from pathlib import Path

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
