"""A user without an entry in passwd and without HOME: often so in a container."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import image_bytes, until
from plain_user import PlainUser

from allenfs.adapters.processes import PID_ATTRIBUTE
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds6/image.jpg"


@pytest.fixture
def user(place: Path) -> Iterator[PlainUser]:
    with PlainUser(place, is_known=False, may_mount=True) as user:
        yield user


NO_HOME = "cannot find a home folder: $HOME is not set and user {} has no passwd entry"
CACHE = "use --cache-dir DIR or $ALLENFS_CACHE_DIR, or set $HOME or $XDG_CACHE_HOME"
DATA = "use --system, as root, or set $HOME or $XDG_DATA_HOME"


@pytest.mark.one_libfuse
def test_a_command_that_needs_a_folder_says_how_to_name_it(user: PlainUser) -> None:
    no_home = f"allenfs: {NO_HOME.format(user.number)}"
    for command in ("mount --sample /mnt", "prefetch section/5/ds6"):
        assert user.fails(2, *command.split()) == f"{no_home}; {CACHE}"
    for action in ("info", "verify", "clear"):
        assert user.fails(2, "cache", action) == f"{no_home}; {CACHE}"
    for flags in ([], ["--uninstall"]):
        assert user.fails(2, "integrate", *flags) == f"{no_home}; {DATA}"


@pytest.mark.one_libfuse
def test_unknown_home_is_not_created_as_literal_tilde(user: PlainUser) -> None:
    for folder in ("~", "~/images", "~nobody-of-all"):
        said = f"allenfs: cannot expand {folder!r}: unknown home folder"
        assert user.fails(2, "cache", "info", "--cache-dir", folder).startswith(said)
        assert user.fails(2, "cache", "info", ALLENFS_CACHE_DIR=folder).startswith(said)


@pytest.mark.one_libfuse
def test_other_commands_need_no_home(user: PlainUser) -> None:
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
    assert f"warn  log         {NO_HOME.format(user.number)}" in done.stdout
    assert f"FAIL  store       {NO_HOME.format(user.number)}" in done.stdout
    assert "the check crashed" not in done.stdout
    assert done.stderr == ""


@pytest.mark.one_libfuse
def test_the_helper_of_mount_says_it_in_one_line(user: PlainUser) -> None:
    helper = [sys.executable, "-m", "allenfs.cli.fstab", "sample", user.root]
    done = user.run(*helper, "-o", "rw")
    assert (done.returncode, done.stdout) == (1, "")
    said = f"mount.allenfs: {NO_HOME.format(user.number)}; {CACHE}"
    assert done.stderr.splitlines() == [said]


def test_with_a_store_named_it_mounts_and_says_that_there_is_no_log(
    user: PlainUser, service: SampleService
) -> None:
    store = user.home / "store"
    mount = ("mount", "--api-url", service.url, "--cache-dir", store, user.root)
    done = user.allenfs(*mount)
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "allenfs: mounting without a log: cannot find a home folder: "
    )
    assert "use --log-file FILE" in line
    assert (done.returncode, done.stdout) == (0, "")
    try:
        copy = user.home / "copy.jpg"
        assert user.run("cp", user.root / PATH, copy).returncode == 0
        assert copy.read_bytes() == image_bytes(service.url, PATH)
        assert "\n  log          /dev/null\n" in user.allenfs("status").stdout
    finally:
        # fusermount, which umount asks, knows no user without an entry either
        pid = user.run("getfattr", "--only-values", "-n", PID_ATTRIBUTE, user.root)
        user.run("kill", pid.stdout)
        until(lambda: not user.is_mounted())
