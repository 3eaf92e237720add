"""Mounts that call themselves allenfs, and what `mount` and `umount` make of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import allenfs, busy, fails, mounting, serving_pid
from mounted import until

from allenfs.mount.mount_table import is_mounted

NAMING = Path(__file__).with_name("naming.py")
AS_STRANGER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def mounts(root):
    return Path("/proc/self/mountinfo").read_text().count(f" {root} ")


@contextlib.contextmanager
def strange(root, *names):
    """A mount of another program, that names a process."""
    before = mounts(root)
    with running(sys.executable, NAMING, root, *names) as serving:
        until(lambda: mounts(root) > before)
        yield serving
        serving.terminate()
        serving.wait()


@contextlib.contextmanager
def running(*command):
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_umount_ends_no_process_that_a_strange_mount_names(root):
    """Another user's, or one that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with running(*AS_STRANGER, "sleep", "60") as victim:
        for pid in (victim.pid, ended.pid):
            with strange(root, str(pid)), busy(root):
                assert serving_pid(root) == pid
                assert allenfs("umount", root).returncode == 0
                assert not is_mounted(root)
        assert victim.poll() is None


def process_attribute(pid, *, ticks=0, namespace=None):
    """Return what a mount reports about its process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    namespace = namespace or os.readlink("/proc/self/ns/pid")
    return f"{pid} {int(fields[19]) + ticks} {namespace}"


STRANGE = {
    "allenfs mount": ("mount", {}),
    "another command": ("prefetch", {}),
    "an older process": ("mount", {"ticks": -1}),
    "another PID namespace": ("mount", {"namespace": "pid:[4026531000]"}),
}


@pytest.mark.parametrize("process_of", STRANGE)
def test_umount_kills_only_the_serving_process(root, process_of):
    """A process of the user who unmounts, with these arguments."""
    command, changes = STRANGE[process_of]
    sleep = "import time; time.sleep(60)"
    with running(sys.executable, "-c", sleep, "allenfs", command) as process:
        reported = process_attribute(process.pid, **changes)
        # umount ends a process only if the mount is busy
        with strange(root, str(process.pid), reported), busy(root):
            done = allenfs("umount", root)
        assert done.returncode == 0
        assert not is_mounted(root)
        if process_of == "allenfs mount":
            assert process.wait(30) == -signal.SIGTERM
            assert done.stderr == ""
        else:
            assert process.poll() is None
            assert "ends when nothing uses it any more" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_a_mount_that_lives_is_not_cleared_away_whatever_it_answers(root):
    """Nor a dead one that another process clears."""
    with strange(root, "") as serving:
        message = fails(3, "mount", "--sample", root)
        assert "already mounted and does not answer" in message
        assert is_mounted(root)
        assert serving.poll() is None
        serving.kill()
        serving.wait()
        with locked(root.parent):
            message = fails(3, "mount", "--sample", root)
        assert "another process is already cleaning it up" in message
        assert is_mounted(root)


@contextlib.contextmanager
def locked(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def test_dead_mounts_one_below_another_are_all_cleared_away(root, service):
    with strange(root, "") as below, strange(root, "") as above:
        for serving in (above, below):
            serving.kill()
            serving.wait()
        assert mounts(root) == 2
        with mounting(root, "--api-url", service.url):
            assert mounts(root) == 1
            assert "section" in os.listdir(root)
