"""`umount` where a mount has copies, or its process is in another namespace."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from command import allenfs, busy, mounting, serving_pid, succeeds, until_gone
from mounted import STRICT_PYTHON

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds6/image.jpg"
ALLENFS = [*STRICT_PYTHON, "-m", "allenfs"]
# With /proc of its own numbers; what is unmounted there is unmounted here, too.
PID_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
PID_NAMESPACE += ["--propagation=unchanged"]
MOUNT_NAMESPACE = ["unshare", "--mount"]
NO_ADMIN = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]

Use = Callable[[Path], AbstractContextManager[None]]
maybe_busy = pytest.mark.parametrize("use", [contextlib.nullcontext, busy])


@pytest.fixture
def root(tmp_path: Path, service: SampleService) -> Iterator[Path]:
    """A mount in a directory whose mounts other namespaces may share."""
    shared = tmp_path / "shared"
    (shared / "mnt").mkdir(parents=True)
    (shared / "bind").mkdir()
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-shared", shared], check=True)
    try:
        succeeds("mount", "--api-url", service.url, shared / "mnt")
        pid = serving_pid(shared / "mnt")
        yield shared / "mnt"
    finally:
        for place in (shared / "bind", shared / "mnt"):
            while is_mounted(place):
                subprocess.run(["umount", "-l", place], check=True)
        # its process still has the directory below the mount open
        subprocess.run(["umount", "-l", shared], check=True)
    until_gone(pid)


def within(
    namespace: list[str], *command: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*namespace, *map(str, command)], capture_output=True, text=True, check=False
    )


@contextlib.contextmanager
def mount_namespace(*options: str) -> Iterator[int]:
    """Keep a mount namespace; yield a process that is in it."""
    holder = subprocess.Popen(
        [*MOUNT_NAMESPACE, *options, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(b"it runs\n")
    holder.stdin.flush()
    holder.stdout.readline()
    try:
        yield holder.pid
    finally:
        holder.communicate()


def serves(root: Path, pid: int) -> bool:
    return serving_pid(root) == pid and len((root / PATH).read_bytes()) > 0


@maybe_busy
def test_umount_in_a_mount_namespace_leaves_the_mount_outside(
    root: Path, use: Use
) -> None:
    pid = serving_pid(root)
    script = '"$@" && ! mountpoint -q "$0"'
    with use(root):
        done = within(
            [*MOUNT_NAMESPACE, "sh", "-c", script, str(root)], *ALLENFS, "umount", root
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        f"allenfs: unmounted {root}; process {pid} still serves it on {root} in "
        "another mount namespace\n"
    )
    assert serves(root, pid)


@maybe_busy
def test_umount_keeps_bind_mounts_working(root: Path, use: Use) -> None:
    pid, bind = serving_pid(root), root.with_name("bind")
    subprocess.run(["mount", "--bind", root, bind], check=True)
    with use(root):
        done = allenfs("umount", root)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        f"allenfs: unmounted {root}; process {pid} still serves it on {bind}\n"
    )
    assert not is_mounted(root)
    assert serves(bind, pid)
    succeeds("umount", bind)
    until_gone(pid)


@maybe_busy
def test_umount_keeps_copy_in_another_users_namespace(root: Path, use: Use) -> None:
    pid = serving_pid(root)
    with mount_namespace() as inside:
        with use(root):
            done = allenfs("umount", root)
        assert done.returncode == 0
        assert "in another mount namespace" in done.stderr
        assert not is_mounted(root)
        there = f"/proc/{inside}/root{root}"
        assert os.listdir(f"{there}/section/12/ds4")
        # and does not prevent another mount
        with mounting(root, "--sample"):
            pass
    until_gone(pid)


@pytest.mark.both_libfuses
def test_umount_kills_process_when_copies_are_unmounted_too(root: Path) -> None:
    pid = serving_pid(root)
    # as services have it
    with mount_namespace("--propagation=slave") as inside, busy(root):
        there = f"/proc/{inside}/root{root}"
        assert "section" in os.listdir(there)
        succeeds("umount", root)
        assert not is_mounted(root)
        assert os.listdir(there) == []
        until_gone(pid)


@maybe_busy
def test_umount_without_the_capability_is_exit_1_and_ends_nothing(
    root: Path, use: Use
) -> None:
    pid = serving_pid(root)
    with use(root):
        done = within(NO_ADMIN, *ALLENFS, "umount", root)
    assert done.returncode == 1
    assert done.stderr == f"allenfs: {root}: Operation not permitted\n"
    assert serves(root, pid)
    succeeds("umount", root)


def test_umount_in_a_pid_namespace_detaches_and_ends_no_process(root: Path) -> None:
    pid = serving_pid(root)
    with busy(root):
        done = within(PID_NAMESPACE, *ALLENFS, "umount", root)
        assert done.returncode == 0
        assert done.stderr == (
            f"allenfs: unmounted {root}; a process in another PID namespace ends "
            "when nothing uses it any more\n"
        )
        assert not is_mounted(root)
        os.kill(pid, 0)
    until_gone(pid)


def test_a_mount_answers_in_a_pid_namespace_that_does_not_see_its_process(
    root: Path,
) -> None:
    done = within(PID_NAMESPACE, *ALLENFS, "mount", "--sample", root)
    assert done.returncode == 3
    assert done.stderr == f"allenfs: {root} is already mounted\n"
    done = within(PID_NAMESPACE, *ALLENFS, "prefetch", root / PATH)
    assert done.returncode == 0, done.stderr
    assert (root / PATH).stat().st_blocks > 0
