"""`umount` where a mount has copies, or its process is in another namespace."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from command import allenfs, busy, mounting, run, serving_pid, succeeds, until_gone
from mounted import STRICT_PYTHON

from allenfs.mount.mount_table import is_mounted

PATH = "section/69750516/ds6/image.jpg"
ALLENFS = [*STRICT_PYTHON, "-m", "allenfs"]
# With /proc of its own numbers; what is unmounted there is unmounted here, too.
PID_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
PID_NAMESPACE += ["--propagation=unchanged"]
NO_ADMIN = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]

maybe_busy = pytest.mark.parametrize("use", [contextlib.nullcontext, busy])


@pytest.fixture
def root(tmp_path, service):
    """A mount in a directory whose mounts other namespaces may share."""
    shared = tmp_path / "shared"
    (shared / "mnt").mkdir(parents=True)
    (shared / "bind").mkdir()
    run("mount", "--bind", shared, shared)
    run("mount", "--make-shared", shared)
    try:
        succeeds("mount", "--api-url", service.url, shared / "mnt")
        pid = serving_pid(shared / "mnt")
        yield shared / "mnt"
    finally:
        for place in (shared / "bind", shared / "mnt"):
            while is_mounted(place):
                run("umount", "-l", place)
        # its process still has the directory below the mount open
        run("umount", "-l", shared)
    until_gone(pid)


def within(namespace, *command):
    """Run a command; return its exit code and what it says."""
    words = [*namespace, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


@contextlib.contextmanager
def mount_namespace(*options):
    """Keep a mount namespace; yield its root directory."""
    holder = subprocess.Popen(
        ["unshare", "--mount", *options, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdin.write(b"it runs\n")
    holder.stdin.flush()
    holder.stdout.readline()
    try:
        yield f"/proc/{holder.pid}/root"
    finally:
        holder.communicate()


def serves(root, pid):
    return serving_pid(root) == pid and len((root / PATH).read_bytes()) > 0


@maybe_busy
def test_umount_in_a_mount_namespace_leaves_the_mount_outside(root, use):
    pid = serving_pid(root)
    inside = ["unshare", "--mount", "sh", "-c", '"$@" && ! mountpoint -q "$0"', root]
    with use(root):
        assert within(inside, *ALLENFS, "umount", root) == (
            0,
            f"allenfs: unmounted {root}; process {pid} still serves it on {root} in "
            "another mount namespace\n",
        )
    assert serves(root, pid)


@maybe_busy
def test_umount_keeps_bind_mounts_working(root, use):
    pid, bind = serving_pid(root), root.with_name("bind")
    run("mount", "--bind", root, bind)
    message = f"allenfs: unmounted {root}; process {pid} still serves it on {bind}\n"
    with use(root):
        assert within([], *ALLENFS, "umount", root) == (0, message)
    assert not is_mounted(root)
    assert serves(bind, pid)
    succeeds("umount", bind)
    until_gone(pid)


@maybe_busy
def test_umount_keeps_copy_in_another_users_namespace(root, use):
    pid = serving_pid(root)
    with mount_namespace() as inside:
        with use(root):
            done = allenfs("umount", root)
        assert done.returncode == 0
        assert "in another mount namespace" in done.stderr
        assert not is_mounted(root)
        assert os.listdir(f"{inside}{root}/section/12/ds4")
        # and does not prevent another mount
        with mounting(root, "--sample"):
            pass
    until_gone(pid)


@pytest.mark.both_libfuses
def test_umount_kills_process_when_copies_are_unmounted_too(root):
    pid = serving_pid(root)
    # as services have it
    with mount_namespace("--propagation=slave") as inside, busy(root):
        assert "section" in os.listdir(f"{inside}{root}")
        succeeds("umount", root)
        assert not is_mounted(root)
        assert os.listdir(f"{inside}{root}") == []
        until_gone(pid)


@maybe_busy
def test_umount_without_the_capability_is_exit_1_and_ends_nothing(root, use):
    pid = serving_pid(root)
    message = f"allenfs: {root}: Operation not permitted\n"
    with use(root):
        assert within(NO_ADMIN, *ALLENFS, "umount", root) == (1, message)
    assert serves(root, pid)
    succeeds("umount", root)


def test_umount_in_a_pid_namespace_detaches_and_ends_no_process(root):
    pid = serving_pid(root)
    with busy(root):
        assert within(PID_NAMESPACE, *ALLENFS, "umount", root) == (
            0,
            f"allenfs: unmounted {root}; a process in another PID namespace ends "
            "when nothing uses it any more\n",
        )
        assert not is_mounted(root)
        os.kill(pid, 0)
    until_gone(pid)


def test_a_mount_answers_in_a_pid_namespace_that_does_not_see_its_process(root):
    message = f"allenfs: {root} is already mounted\n"
    assert within(PID_NAMESPACE, *ALLENFS, "mount", "--sample", root) == (3, message)
    code, message = within(PID_NAMESPACE, *ALLENFS, "prefetch", root / PATH)
    assert code == 0, message
    assert (root / PATH).stat().st_blocks > 0
