"""Which threads hold a listener of fanotify, or may hold one."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

from allenfs.adapters.processes import is_listener

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


def is_listener_for_a_stranger(pid: int) -> bool:
    """Ask as a user who cannot read the descriptors of the process."""
    said = subprocess.check_output([sys.executable, "-c", _AS_STRANGER, str(pid)])
    return {b"True\n": True, b"False\n": False}[said]


def test_a_process_is_one_as_long_as_it_holds_a_listener() -> None:
    assert not is_listener(os.getpid())
    listener = ctypes.CDLL(None).fanotify_init(_FAN_CLASS_CONTENT, os.O_RDONLY)
    try:
        assert is_listener(os.getpid())
    finally:
        os.close(listener)
    assert not is_listener(os.getpid())


def test_a_thread_that_has_ended_or_cannot_be_seen_is_none() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert not is_listener(ended.pid)
    assert not is_listener(0)


def test_unreadable_process_counts_as_listener_only_with_cap_sys_admin() -> None:
    assert is_listener_for_a_stranger(os.getpid())
    process = subprocess.Popen(
        [*("setpriv", "--reuid=1", "--regid=1", "--clear-groups"), "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"it runs\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"it runs\n"
    assert not is_listener_for_a_stranger(process.pid)
    process.communicate()
