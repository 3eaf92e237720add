"""`allenfs mount` and `umount` as commands: exit codes, one line, no leftovers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import (
    allenfs,
    busy,
    fails,
    mounting,
    serving_pid,
    succeeds,
    until_gone,
)
from mounted import STRICT_PYTHON, until

from allenfs import __file__ as package_file
from allenfs import __version__
from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds6/image.jpg"
# As the installed script starts: the current directory is not on its path.
_PYTHON = [
    sys.executable,
    "-c",
    "import sys; sys.path.remove(''); "
    "from allenfs.cli.main import main; sys.exit(main())",
]
# What allenfs relies on, and keyword arguments of fusepy.
BROKEN_OPTIONS = [
    *("attr_timeout=1", "direct_io", "nothreads", "suid", "dev", "rw"),
    *("foreground", "encoding=utf8", "raw_fi", "operations=x", "no_such_option"),
]


@pytest.fixture
def root(root: Path) -> Iterator[Path]:
    renamed = root.with_name("a mount, мозг")  # a space, a comma, and not only ASCII
    root.rename(renamed)
    yield renamed
    while is_mounted(renamed):
        subprocess.run(["umount", "-l", renamed], check=True)


@pytest.mark.both_libfuses
def test_mount_returns_when_the_mountpoint_answers_and_umount_when_it_is_gone(
    root: Path, service: SampleService
) -> None:
    succeeds("mount", "--api-url", service.url, root)
    images = ["section", "projection", "atlas"]
    assert os.listdir(root) == [*images, "dataset", "browse"]
    pid = serving_pid(root)
    assert (root / PATH).stat().st_size > 0
    succeeds("umount", root)
    assert not is_mounted(root)
    until_gone(pid)


def test_sample_needs_no_service(root: Path) -> None:
    with mounting(root, "--sample"):
        first = (root / PATH).read_bytes()
    # another port, the same name in the store
    with mounting(root, "--sample"):
        assert os.listdir(root / "section") == ["69750516"]
        assert (root / PATH).read_bytes() == first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sample_service_serves_until_it_is_told_to_end(
    root: Path, number: signal.Signals
) -> None:
    command = [*STRICT_PYTHON, "-m", "allenfs", "sample-service", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:[0-9]+", process.stdout.readline())
        assert url is not None
        with mounting(root, "--api-url", url[0]):
            assert (root / PATH).read_bytes()
        process.send_signal(number)
        assert process.wait(30) == 0


def test_settings_come_from_the_environment(
    root: Path, tmp_path: Path, service: SampleService
) -> None:
    store = tmp_path / "store"
    environ = {"ALLENFS_CACHE_DIR": str(store), "ALLENFS_CACHE_SIZE": "64MiB"}
    with mounting(root, ALLENFS_API_URL=service.url, **environ):
        (root / PATH).read_bytes()
        assert service.image_requests == 1
        assert store.stat().st_mode & 0o777 == 0o700
        assert os.statvfs(root).f_blocks * 4096 == 59 * 2**20 - 4096


def test_relative_paths_are_of_the_current_directory(
    root: Path, service: SampleService
) -> None:
    command = [*STRICT_PYTHON, "-m", "allenfs"]
    options = ["--cache-dir", "store", "--log-file", "log", "--api-url", service.url]
    subprocess.run(
        [*command, "mount", *options, root.name], cwd=root.parent, check=True
    )
    (root / PATH).read_bytes()
    assert (root.parent / "store" / "images").is_dir()
    assert "mounted" in (root.parent / "log").read_text()
    subprocess.run([*command, "umount", root.name], cwd=root.parent, check=True)
    assert not is_mounted(root)


@pytest.mark.both_libfuses
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemon_unmounts_on_a_signal(
    root: Path, service: SampleService, number: signal.Signals
) -> None:
    succeeds("mount", "--api-url", service.url, root)
    pid = serving_pid(root)
    os.kill(pid, number)
    until_gone(pid)
    assert not is_mounted(root)


@pytest.mark.parametrize(("images", "ahead"), [("0", 0), ("1", 1)])
def test_readahead_of_the_command_line_reaches_the_mount(
    root: Path, service: SampleService, images: str, ahead: int
) -> None:
    with mounting(root, "--api-url", service.url, "--readahead", images):
        folder = root / "dataset/72109410/ds7"
        for name in sorted(os.listdir(folder))[:3]:
            (folder / name).read_bytes()
        until(lambda: service.image_requests >= 3 + ahead)
    assert service.image_requests == 3 + ahead


def test_wrong_command_line_is_exit_2(root: Path) -> None:
    for wrong in (
        ["--cache-size", "much"],
        ["--cache-size", "0"],
        ["--connections", "0"],
        ["--deadline", "-1"],
        ["--stall-timeout", "nan"],
        ["--no-such-flag"],
        ["--sample", "--api-url", "http://127.0.0.1:1"],
        *(["-o", option] for option in BROKEN_OPTIONS),
    ):
        done = allenfs("mount", *wrong, root)
        assert done.returncode == 2, wrong
        assert "Traceback" not in done.stderr
    assert allenfs("mount").returncode == 2
    assert not is_mounted(root)


def test_checkout_mounts_without_being_installed(
    root: Path, tmp_path: Path, service: SampleService
) -> None:
    package = tmp_path / "checkout" / "allenfs"
    shutil.copytree(Path(package_file).parent, package)
    init = package / "__init__.py"
    init.write_text(init.read_text().replace(__version__, "9.9.9"))
    command = [*STRICT_PYTHON, "-m", "allenfs", "mount", "--api-url", service.url]
    subprocess.run([*command, root], cwd=package.parent, check=True)
    (root / PATH).read_bytes()
    # it is this allenfs that serves, not the installed one
    assert service.headers[0]["User-Agent"].startswith("allenfs/9.9.9 ")
    succeeds("umount", root)


def test_empty_or_lost_paths_are_exit_2(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for arguments in (["mount", ""], ["umount", ""], ["umount", "m"]):
        gone.mkdir()
        done = subprocess.run(
            ["sh", "-c", 'cd "$0" && rmdir "$0" && "$@"', gone, *_PYTHON, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_two_mounts_at_once_are_one_mount(root: Path, service: SampleService) -> None:
    command = [*STRICT_PYTHON, "-m", "allenfs", "mount", "--api-url", service.url]
    starts = [
        subprocess.Popen([*command, root], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    printed = [start.communicate(timeout=60)[1] for start in starts]
    assert sorted(start.returncode for start in starts) == [0, 3, 3, 3]
    assert [len(text.splitlines()) for text in sorted(printed)] == [0, 1, 1, 1]
    succeeds("umount", root)
    assert not is_mounted(root)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "does not exist"), ("file", "not a directory"), ("", "not empty")],
)
def test_unusable_mountpoint_is_exit_3(root: Path, name: str, reason: str) -> None:
    (root / "file").touch()
    assert reason in fails(3, "mount", "--sample", root / name)


def test_second_mount_is_exit_3_and_leaves_the_first(
    root: Path, service: SampleService
) -> None:
    with mounting(root, "--api-url", service.url):
        assert "already mounted" in fails(3, "mount", "--sample", root)
        assert (root / PATH).read_bytes()


def _kill(root: Path) -> None:
    pid = serving_pid(root)
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)


@pytest.mark.both_libfuses
def test_dead_mount_is_recovered_by_the_next_mount_and_by_umount(
    root: Path, service: SampleService
) -> None:
    mount = ("mount", "--api-url", service.url, root)
    succeeds(*mount)
    for _ in range(3):
        _kill(root)
        with pytest.raises(OSError, match="Transport endpoint is not connected"):
            os.listdir(root)
        succeeds(*mount)
        assert (root / PATH).read_bytes()
    _kill(root)
    succeeds("umount", root)
    assert not is_mounted(root)
    assert os.listdir(root) == []


def test_dead_mount_that_somebody_holds_open_is_recovered(
    root: Path, service: SampleService
) -> None:
    succeeds("mount", "--api-url", service.url, root)
    with (root / PATH).open("rb") as file, busy(root):
        _kill(root)
        succeeds("mount", "--api-url", service.url, root)
        assert (root / PATH).read_bytes()
        with pytest.raises(OSError, match=r"Transport endpoint|Software caused"):
            os.pread(file.fileno(), 1, 2**20)
    succeeds("umount", root)


def test_two_mounts_at_once_on_a_dead_mount_are_one_mount(
    root: Path, service: SampleService
) -> None:
    mount = ("mount", "--api-url", service.url, root)
    succeeds(*mount)
    for _ in range(4):
        _kill(root)
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda _: allenfs(*mount), range(3)))
        assert sorted(one.returncode for one in done) == [0, 3, 3]
        assert (root / PATH).read_bytes()
        table = Path("/proc/self/mountinfo").read_text()
        assert table.count(root.parent.name) == 1
    succeeds("umount", root)


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_mount_over_a_stopped_daemon_is_exit_3(
    root: Path, service: SampleService
) -> None:
    with mounting(root, "--api-url", service.url) as pid:
        with _stopped(pid):
            line = fails(3, "mount", "--api-url", service.url, root)
            assert "already mounted and does not answer: run allenfs umount" in line
        assert (root / PATH).read_bytes()


@pytest.mark.parametrize(
    "url", ["", " ", "api.brain-map.org", "ftp://host", "http://", "http://host:port"]
)
def test_malformed_service_url_is_exit_3(root: Path, url: str) -> None:
    assert "not a service's address" in fails(3, "mount", "--api-url", url, root)


def test_missing_device_is_exit_3(root: Path) -> None:
    # another /dev, in a mount namespace of this command
    script = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 &&"
    script += f" exec {sys.executable} -m allenfs mount"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{script} --sample "$0"', root],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert re.fullmatch(r"allenfs: .*no /dev/fuse.*\n", done.stderr)


def test_umount_of_what_is_not_mounted_is_one_line(root: Path) -> None:
    assert "no allenfs is mounted" in fails(1, "umount", root)


@pytest.mark.both_libfuses
def test_umount_of_a_stopped_daemon_ends(root: Path, service: SampleService) -> None:
    succeeds("mount", "--api-url", service.url, root)
    pid = serving_pid(root)
    with _stopped(pid):
        done = allenfs("umount", root)
        assert done.returncode == 0, done.stderr
        assert "its process does not respond and may still be running" in done.stderr
        assert not is_mounted(root)
    until_gone(pid)


def test_path_in_a_mount_is_a_url(root: Path, service: SampleService) -> None:
    with mounting(root, "--api-url", service.url):
        done = allenfs("url", root / PATH, ALLENFS_API_URL=service.url)
    url = f"{service.url}/api/v2/image_download/69750516?downsample=6"
    assert done.stdout == f"{url}\n"


def test_module_in_the_current_directory_does_not_shadow_ours(
    root: Path, service: SampleService
) -> None:
    (root.parent / "requests.py").write_text("raise SystemExit('shadowed')")
    command = [*_PYTHON, "mount", "--api-url", service.url]
    subprocess.run([*command, root], cwd=root.parent, check=True)
    assert (root / PATH).read_bytes()
    succeeds("umount", root)
