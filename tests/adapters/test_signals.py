"""Which signals end a wait: read from a real process that has them pending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from allenfs.adapters.processes import has_interrupting_signal

_PROCESS = """
import signal, sys
signal.signal(int(sys.argv[1]), getattr(signal, sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""


def _stopped_with_pending(number: int, disposition: str) -> bool:
    """A stopped process takes no signal: whatever it gets stays pending."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(int(number)), disposition],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(number)
        return has_interrupting_signal(process.pid)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGALRM])
def test_a_signal_that_ends_the_process_ends_the_wait(number: int) -> None:
    assert _stopped_with_pending(number, "SIG_DFL")


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGURG, signal.SIGWINCH])
def test_a_signal_that_only_stops_or_tells_does_not(number: int) -> None:
    assert not _stopped_with_pending(number, "SIG_DFL")


def test_an_ignored_signal_does_not() -> None:
    assert not _stopped_with_pending(signal.SIGINT, "SIG_IGN")


def test_what_cannot_be_told_ends_the_wait() -> None:
    assert has_interrupting_signal(0)
    assert has_interrupting_signal(2**30)
