"""A store that cannot be written: reported once, and until it can be written again."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import allenfs, run
from disks import on_fat, read_only
from mounted import STRICT_PYTHON, image_bytes, until

from allenfs.mount.mount_table import is_mounted

HANGING = Path(__file__).with_name("hanging.py")
TABLE = Path("/proc/self/mountinfo")
PATH = "section/69750516/ds6/image.jpg"
INFO = "section/69750516/info.json"
OTHERS = "section/69750516/ds7"
# root without its exemption from permissions
PLAIN = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@contextlib.contextmanager
def mode(folder, mode):
    folder.chmod(mode)
    yield
    folder.chmod(0o755)


@contextlib.contextmanager
def dead(folder):
    """As a network disk whose process has ended."""
    behind = folder.with_name("behind")
    behind.mkdir()
    with on_fat(behind, folder) as serving:
        serving.kill()
        serving.wait()
        yield


TROUBLES = {
    functools.partial(mode, mode=0o555): "Permission denied: {}",
    dead: "Transport endpoint is not connected: {}",
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    yield folder
    while f" {folder} " in TABLE.read_text():
        run("umount", "-l", folder)


@pytest.fixture
def root(root):
    yield root
    if is_mounted(root):
        allenfs("umount", root)


@pytest.fixture
def own(folder, service):
    return ("--api-url", service.url, "--cache-dir", folder / "store")


def plain(*arguments):
    return subprocess.run(
        [*PLAIN, *STRICT_PYTHON, "-m", "allenfs", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def store_of(root):
    return json.loads((root / ".allenfs/status.json").read_bytes())["store"]


def warnings_of(root):
    return (root / ".allenfs/log").read_text().count("trouble with the store")


@pytest.mark.declared("trouble with the store")
@pytest.mark.parametrize(("trouble", "why"), TROUBLES.items())
def test_unwritable_store_is_reported_once_and_recovers(
    folder, root, own, service, trouble, why
):
    reason = why.format(folder / "store")
    expected = image_bytes(service.url, PATH)
    with trouble(folder):
        done = plain("mount", *own, root)
        assert (done.returncode, done.stdout) == (0, "")
        (line,) = done.stderr.splitlines()
        warning = "allenfs: warning: the store cannot be written: "
        assert line.startswith(warning + reason)
        assert store_of(root)["failure"].startswith(reason)
        assert f"CANNOT BE WRITTEN: {reason}" in plain("status", root).stdout
        assert (root / PATH).read_bytes() == expected
        assert os.statvfs(root).f_blocks
        assert warnings_of(root) == 1
        service.reset_counters()
        for where in ((root / OTHERS,), (*own, OTHERS)):
            done = plain("prefetch", *where)
            assert done.returncode == 1
            given_up = f"given up: the store cannot be written: {reason}"
            assert f"allenfs: {given_up}" in done.stderr
            assert "not tried" in done.stderr
        assert service.image_requests == 0
    # without a restart, and before anything was stored
    assert store_of(root)["failure"] is None
    assert "CANNOT" not in plain("status", root).stdout
    (root / PATH).read_bytes()
    assert store_of(root)["images"] == 1
    assert warnings_of(root) == 1
    done = plain("prefetch", root / OTHERS)
    assert (done.returncode, "fetched" in done.stderr) == (0, True)


@pytest.mark.one_libfuse
@pytest.mark.declared("trouble with the store")
def test_a_read_only_store_serves_its_images(folder, root, own, service):
    assert plain("prefetch", *own, PATH).returncode == 0
    service.reset_counters()
    with read_only(folder):
        assert "cannot be written" in plain("mount", *own, root).stderr
        assert (root / PATH).read_bytes()
        until(lambda: store_of(root)["images"] == 1)
        # a stored image needs no room
        assert plain("prefetch", root / PATH).returncode == 0
    assert service.image_requests == 0


@pytest.mark.one_libfuse
@pytest.mark.declared("trouble with the store")
def test_mount_survives_unreadable_store_folder(folder, root, own, service):
    assert plain("mount", *own, root).stderr == ""
    (root / PATH).read_bytes()
    assert (root / INFO).read_bytes()
    before = store_of(root)
    assert (before["images"], before["failure"]) == (1, None)
    with mode(folder, 0):
        for path in (PATH, f"{OTHERS}/image.jpg"):
            assert (root / path).read_bytes() == image_bytes(service.url, path)
        assert (root / INFO).read_bytes()
        assert store_of(root)["failure"].startswith("Permission denied: ")
        assert store_of(root)["images"] == 1
        assert plain("status", root).returncode == 0
        assert os.statvfs(root).f_blocks
        assert "Permission denied" in plain("doctor", *own).stdout
    assert store_of(root) == before


@contextlib.contextmanager
def hanging(folder):
    command = [sys.executable, HANGING, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            until(lambda: f" {folder} " in TABLE.read_text())
            yield serving
        finally:
            serving.kill()
            run("umount", "-l", folder)


@pytest.mark.declared("trouble with the store")
@pytest.mark.one_libfuse
def test_mount_answers_before_it_has_counted_its_files(folder, root, own, service):
    assert plain("prefetch", *own, PATH).returncode == 0
    other = folder / "store/images/other"
    other.mkdir()
    with hanging(other) as files:
        assert plain("mount", *own, root).returncode == 0
        assert (root / PATH).read_bytes() == image_bytes(service.url, PATH)
        assert files.stdout.readline() == "asked\n"
        assert os.listdir(root / "section") == ["69750516"]


@pytest.mark.one_libfuse
def test_mount_times_out_on_hanging_store(folder, root, own):
    """What waits for it cannot be killed: that must be the daemon, not the command."""
    soon = "from allenfs.cli.main import main; from allenfs.mount import daemon; "
    soon += "assert daemon.START_S == 30; daemon.START_S = 1; exit(main())"
    with hanging(folder) as disk:
        mount = [*STRICT_PYTHON, "-m", "allenfs", "mount", *own, root]
        mounting = subprocess.Popen(mount)
        assert disk.stdout.readline() == "asked\n"
        mounting.send_signal(signal.SIGINT)
        assert mounting.wait(60) == 130
        assert not is_mounted(root)
        mount = [*STRICT_PYTHON, "-c", soon, "mount", *own, root]
        done = subprocess.run(mount, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 3
        assert f"{root} did not answer in 1 s: the file system" in done.stderr
        assert not is_mounted(root)
