"""Of the process that calls: whether it is a fanotify listener, or is to be killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

import pytest

from allenfs.adapters.processes import has_interrupting_signal, is_listener

_FAN_CLASS_CONTENT = 0x4
# The packages may be where only root can read, so that it leaves root after the import.
_AS_STRANGER = """
import os, sys
from allenfs.adapters.processes import is_listener
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(is_listener(int(sys.argv[1])))
"""
_PROCESS = """
import signal, sys
signal.signal(int(sys.argv[1]), getattr(signal, sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_process_is_a_listener_as_long_as_it_holds_one():
    assert not is_listener(os.getpid())
    listener = ctypes.CDLL(None).fanotify_init(_FAN_CLASS_CONTENT, os.O_RDONLY)
    try:
        assert is_listener(os.getpid())
    finally:
        os.close(listener)
    assert not is_listener(os.getpid())


def is_listener_for_a_stranger(pid):
    """Ask as a user who cannot read the descriptors of the process."""
    answer = subprocess.check_output([sys.executable, "-c", _AS_STRANGER, str(pid)])
    return {b"True\n": True, b"False\n": False}[answer]


def test_unreadable_process_counts_as_listener_only_with_cap_sys_admin():
    assert is_listener_for_a_stranger(os.getpid())
    process = subprocess.Popen(
        [*("setpriv", "--reuid=1", "--regid=1", "--clear-groups"), "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(b"it runs\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"it runs\n"
    assert not is_listener_for_a_stranger(process.pid)
    process.communicate()


@pytest.mark.parametrize(
    ("number", "disposition", "is_interrupting"),
    [
        (signal.SIGINT, "SIG_DFL", True),
        (signal.SIGALRM, "SIG_DFL", True),
        # those that only stop it, or that it does not notice
        (signal.SIGTSTP, "SIG_DFL", False),
        (signal.SIGWINCH, "SIG_DFL", False),
        (signal.SIGINT, "SIG_IGN", False),
    ],
)
def test_a_signal_that_ends_the_process_ends_the_wait(
    number, disposition, is_interrupting
):
    """A stopped process takes no signal: whatever it gets stays pending."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(int(number)), disposition],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(number)
        assert has_interrupting_signal(process.pid) is is_interrupting
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("pid", [0, 2**30])
def test_what_has_ended_or_cannot_be_seen_ends_the_wait_and_is_no_listener(pid):
    assert has_interrupting_signal(pid)
    assert not is_listener(pid)
