"""`allenfs status` of real mounts."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess

import pytest
from command import allenfs, fails
from mounted import STRICT_PYTHON, Mounted, errno_of_open
from plain_user import PlainUser

pytestmark = pytest.mark.one_libfuse

PATH = "section/69750516/ds6/image.jpg"
STATUS = [*STRICT_PYTHON, "-m", "allenfs", "status"]


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_a_page_shows_what_the_mount_did(mounted, service):
    data = (mounted / PATH).read_bytes()
    errno_of_open(mounted / "section/1/image.jpg")
    done = allenfs("status", mounted.root)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{mounted.root}: {service.url}"
    assert (
        "  opened       1 image: 0 from the store, 1 after a download; 1 failed"
        in lines
    )
    assert f"  downloaded   1 image, {len(data) / 1024:.1f} KiB" in lines
    assert lines[-1].endswith("section/1/image.jpg  HTTP 404 Not Found (ENOENT)")
    assert all(len(line) < 100 for line in lines if str(mounted.root) not in line)


def test_json_is_the_file_in_the_mount(mounted):
    page = json.loads(allenfs("status", "--json", mounted.root).stdout)
    assert page["mountpoint"] == str(mounted.root)
    now = json.loads((mounted / ".allenfs/status.json").read_bytes())
    assert page | {"time": now["time"]} == now
    # other mounts of this user may come and go, and fail
    pages = json.loads(allenfs("status", "--json").stdout)
    assert str(mounted.root) in [page["mountpoint"] for page in pages]


def test_a_path_that_is_not_a_mount_is_one_line(tmp_path, mounted):
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "missing", tmp_path / "file", "/", "/proc"):
        assert fails(1, "status", place) == f"allenfs: no allenfs is mounted on {place}"
    fails(1, "status", mounted / "section")
    line = fails(1, "status", tmp_path / "a\nb\x1b[2J")
    assert "a\\nb\\x1b[2J" in line
    for arguments in (["--interval", "0"], ["--interval", "x"], ["/a", "/b"], [""]):
        done = allenfs("status", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_stopped_mount_is_reported(mounted):
    with mounted.stopped(at_least_s=0):
        line = fails(1, "status", mounted.root)
    assert "does not answer: its process is stopped or hangs" in line
    assert allenfs("status", mounted.root).returncode == 0


def test_a_dead_mount_is_reported(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        assert mounted.process is not None
        mounted.process.kill()
        mounted.process.wait()
        for arguments in ([], ["--json"], ["--watch"]):
            line = fails(1, "status", *arguments, mounted.root)
            assert "is a dead mount: its process has ended; run allenfs umount" in line
        mounted.kill()
        assert "no allenfs is mounted" in fails(1, "status", mounted.root)


def test_another_users_mount_is_one_line(place, service):
    with (
        Mounted(place, service.url) as mounted,
        PlainUser(place, is_known=False) as user,
    ):
        assert user.fails(1, "status", mounted.root) == (
            f"allenfs: {mounted.root} belongs to another user and was mounted "
            "without --allow-other"
        )
        assert "this user has no mounts" in user.fails(1, "status")


def test_a_closed_pipe_ends_watching(mounted):
    command = f'{" ".join(STATUS)} --watch --interval 0.01 "$0" | head -n 1'
    done = subprocess.run(
        ["sh", "-c", command, mounted.root], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("ends_by", ["Ctrl-C", "umount"])
def test_watching_ends_with_ctrl_c_or_the_mount(mounted, ends_by):
    with subprocess.Popen(
        [*STATUS, "--watch", "--interval", "0.01", str(mounted.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        heads = 0
        while heads < 3:
            heads += watching.stdout.readline().startswith(f"{mounted.root}: ")
        if ends_by == "Ctrl-C":
            watching.send_signal(signal.SIGINT)
            ended = 0, ""
        else:
            mounted.stop()
            ended = 1, f"allenfs: no allenfs is mounted on {mounted.root}\n"
        _, said = watching.communicate()
    assert (watching.returncode, said) == ended


def test_a_terminal_gets_each_page_in_place_of_the_last(mounted):
    terminal, end = pty.openpty()
    try:
        with subprocess.Popen(
            [*STATUS, "--watch", "--interval", "0.01", str(mounted.root)],
            stdout=end,
            stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "40", "LINES": "8"},
        ) as watching:
            os.close(end)
            shown = b""
            while shown.count(b"\x1b[H") < 5:
                shown += os.read(terminal, 4096)
            watching.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # the terminal's other end is closed
                while os.read(terminal, 4096):
                    pass
            assert watching.stderr is not None
            assert watching.stderr.read() == b""
        assert watching.returncode == 0
    finally:
        os.close(terminal)
    first, *pages = shown.split(b"\x1b[H")[1:-1]
    assert first == b"\x1b[J"
    for page in pages:
        assert page.endswith(b"\x1b[J")
        lines = page.removesuffix(b"\x1b[J").decode().splitlines()
        assert len(lines) == 7
        assert all(len(line.removesuffix("\x1b[K")) < 40 for line in lines)
