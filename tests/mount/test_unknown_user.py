"""A user without an entry in passwd and without HOME: often so in a container."""

from __future__ import annotations

import sys

import pytest
from mounted import image_bytes, until
from plain_user import PlainUser

from allenfs.adapters.processes import PID_ATTRIBUTE

PATH = "section/69750516/ds6/image.jpg"
CACHE = "use --cache-dir DIR or $ALLENFS_CACHE_DIR, or set $HOME or $XDG_CACHE_HOME"
DATA = "use --system, as root, or set $HOME or $XDG_DATA_HOME"


@pytest.fixture
def user(place):
    with PlainUser(place, is_known=False, may_mount=True) as user:
        yield user


@pytest.fixture
def no_home(user):
    reason = f"$HOME is not set and user {user.number} has no passwd entry"
    return f"cannot find a home folder: {reason}"


@pytest.mark.one_libfuse
def test_a_command_that_needs_a_folder_says_how_to_name_it(user, no_home):
    for command, advice in (
        ("mount --sample /mnt", CACHE),
        ("prefetch section/5/ds6", CACHE),
        ("cache clear", CACHE),
        ("integrate --uninstall", DATA),
    ):
        message = f"allenfs: {no_home}; {advice}"
        assert user.fails(2, *command.split()) == message
    helper = [sys.executable, "-m", "allenfs.cli.fstab", "sample", user.root]
    done = user.run(*helper, "-o", "rw")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mount.allenfs: {no_home}; {CACHE}\n"


@pytest.mark.one_libfuse
def test_other_commands_need_no_home(user, no_home):
    for command in (
        ["url", "section/5/image.jpg"],
        ["path", "https://api.brain-map.org/api/v2/image_download/5"],
        ["cache", "info", "--cache-dir", user.home / "store"],
    ):
        done = user.allenfs(*command)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert "this user has no mounts" in user.fails(1, "status")
    assert "no allenfs is mounted" in user.fails(1, "umount", user.root)
    done = user.allenfs("doctor", "--api-url", "http://127.0.0.1:9")
    assert f"warn  log         {no_home}" in done.stdout
    assert f"FAIL  store       {no_home}" in done.stdout
    assert "the check crashed" not in done.stdout
    assert done.stderr == ""


def test_with_a_store_named_it_mounts_and_says_that_there_is_no_log(
    user, service, no_home
):
    store = user.home / "store"
    flags = ("--api-url", service.url, "--cache-dir", store)
    done = user.allenfs("mount", *flags, user.root)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"allenfs: mounting without a log: {no_home}")
    assert "use --log-file FILE" in line
    assert (done.returncode, done.stdout) == (0, "")
    try:
        copy = user.home / "copy.jpg"
        assert user.run("cp", user.root / PATH, copy).returncode == 0
        assert copy.read_bytes() == image_bytes(service.url, PATH)
        assert "\n  log          /dev/null\n" in user.allenfs("status").stdout
    finally:
        # umount runs fusermount, which does not know users without an entry either
        pid = user.run("getfattr", "--only-values", "-n", PID_ATTRIBUTE, user.root)
        user.run("kill", pid.stdout)
        until(lambda: not user.is_mounted())
