"""Mounts that call themselves allenfs, and what `mount` and `umount` make of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import allenfs, busy, fails, mounting, serving_pid, succeeds
from mounted import until

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

NAMING = Path(__file__).with_name("naming.py")
AS_STRANGER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def mounts(root: Path) -> int:
    return Path("/proc/self/mountinfo").read_text().count(f" {root} ")


@contextlib.contextmanager
def strange(root: Path, *names: str) -> Iterator[subprocess.Popen[bytes]]:
    """A mount of another program, that names a process."""
    before = mounts(root)
    serving = subprocess.Popen([sys.executable, NAMING, root, *names])
    try:
        until(lambda: mounts(root) > before)
        yield serving
    finally:
        serving.terminate()
        serving.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextlib.contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        kill(process)


def test_umount_ends_no_process_that_a_strange_mount_names(root: Path) -> None:
    with running(*AS_STRANGER, "sleep", "60") as victim:
        with strange(root, str(victim.pid)), busy(root):
            assert serving_pid(root) == victim.pid
            assert allenfs("umount", root).returncode == 0
            assert not is_mounted(root)
            assert victim.poll() is None


def process_attribute(pid: int, *, ticks: int = 0, namespace: str | None = None) -> str:
    """Return what a mount reports about its process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if namespace is None:
        namespace = os.readlink("/proc/self/ns/pid")
    return f"{pid} {int(fields[19]) + ticks} {namespace}"


SLEEP = "import time; time.sleep(60)"
STRANGE: dict[str, tuple[str, dict[str, Any]]] = {
    "allenfs mount": ("mount", {}),
    "another command": ("prefetch", {}),
    "an older process": ("mount", {"ticks": -1}),
    "another PID namespace": ("mount", {"namespace": "pid:[4026531000]"}),
}


@pytest.mark.parametrize("process_of", STRANGE)
def test_umount_kills_only_the_serving_process(root: Path, process_of: str) -> None:
    """A process of the user who unmounts, with these arguments."""
    command, changes = STRANGE[process_of]
    with running(sys.executable, "-c", SLEEP, "allenfs", command) as process:
        pid = str(process.pid)
        reported = process_attribute(process.pid, **changes)
        # umount ends a process only if the mount is busy
        with strange(root, pid, reported), busy(root):
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


def test_umount_where_the_process_that_is_named_has_ended(root: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with strange(root, str(ended.pid)), busy(root):
        succeeds("umount", root)
        assert not is_mounted(root)


def test_a_mount_that_lives_is_not_cleared_away_whatever_it_answers(root: Path) -> None:
    with strange(root, "") as serving:
        said = fails(3, "mount", "--sample", root)
        assert "already mounted and does not answer" in said
        assert is_mounted(root)
        assert serving.poll() is None


def test_dead_mounts_one_below_another_are_all_cleared_away(
    root: Path, service: SampleService
) -> None:
    with strange(root, "") as below, strange(root, "") as above:
        kill(above)
        kill(below)
        assert mounts(root) == 2
        with mounting(root, "--api-url", service.url):
            assert mounts(root) == 1
            assert "section" in os.listdir(root)


def test_a_dead_mount_that_somebody_else_clears_away_is_exit_3(root: Path) -> None:
    with strange(root, "") as serving:
        kill(serving)
        parent = os.open(root.parent, os.O_RDONLY)
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
            said = fails(3, "mount", "--sample", root)
        finally:
            os.close(parent)
        assert "another process is already cleaning it up" in said
        assert is_mounted(root)
