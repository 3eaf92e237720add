"""`allenfs mount` and `umount` as commands: exit codes, one line, no leftovers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import allenfs, busy, fails, mounting, serving_pid, succeeds, until_gone
from mounted import STRICT_PYTHON

from allenfs import __file__ as package_file
from allenfs import __version__
from allenfs.mount.mount_table import is_mounted

PATH = "section/69750516/ds6/image.jpg"
# As the installed script starts: the current directory is not on its path.
_MAIN = "import sys; sys.path.remove(''); "
_MAIN += "from allenfs.cli.main import main; sys.exit(main())"
SCRIPT = [sys.executable, "-c", _MAIN]
MODULE = [*STRICT_PYTHON, "-m", "allenfs"]


@pytest.fixture
def root(root):
    renamed = root.with_name("a mount, мозг")  # a space, a comma, and not only ASCII
    root.rename(renamed)
    yield renamed
    while is_mounted(renamed):
        subprocess.run(["umount", "-l", renamed], check=True)


@pytest.mark.both_libfuses
def test_mount_returns_when_the_mountpoint_answers_and_umount_when_it_is_gone(
    root, service
):
    succeeds("mount", "--api-url", service.url, root)
    images = ["section", "projection", "atlas"]
    assert os.listdir(root) == [*images, "dataset", "browse", "structure"]
    pid = serving_pid(root)
    assert (root / PATH).stat().st_size > 0
    succeeds("umount", root)
    assert not is_mounted(root)
    until_gone(pid)


def test_sample_needs_no_service(root):
    with mounting(root, "--sample"):
        first = (root / PATH).read_bytes()
    # another port, the same name in the store
    with mounting(root, "--sample"):
        assert os.listdir(root / "section") == ["69750516"]
        assert (root / PATH).read_bytes() == first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sample_service_serves_until_a_signal_ends_it(root, number):
    command = [*MODULE, "sample-service", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = re.search(r"http://127\.0\.0\.1:[0-9]+", process.stdout.readline())
        with mounting(root, "--api-url", url[0]):
            assert (root / PATH).read_bytes()
        process.send_signal(number)
        assert process.wait(30) == 0


def test_settings_come_from_the_environment(root, tmp_path, service):
    store = tmp_path / "store"
    environ = {"ALLENFS_CACHE_DIR": str(store), "ALLENFS_CACHE_SIZE": "64MiB"}
    with mounting(root, ALLENFS_API_URL=service.url, **environ):
        (root / PATH).read_bytes()
        assert service.image_requests == 1
        assert store.stat().st_mode & 0o777 == 0o700
        assert os.statvfs(root).f_blocks * 4096 == 59 * 2**20 - 4096
        # a path in the mount, too
        done = allenfs("url", root / PATH, ALLENFS_API_URL=service.url)
    url = f"{service.url}/api/v2/image_download/69750516?downsample=6"
    assert done.stdout == f"{url}\n"


def test_paths_are_of_the_current_directory_and_modules_are_not(root, service):
    (root.parent / "requests.py").write_text("raise SystemExit('shadowed')")
    options = ["--cache-dir", "store", "--log-file", "log", "--api-url", service.url]
    mount = [*SCRIPT, "mount", *options, root.name]
    subprocess.run(mount, cwd=root.parent, check=True)
    (root / PATH).read_bytes()
    assert (root.parent / "store" / "images").is_dir()
    assert "mounted" in (root.parent / "log").read_text()
    subprocess.run([*SCRIPT, "umount", root.name], cwd=root.parent, check=True)
    assert not is_mounted(root)


def test_checkout_mounts_without_being_installed(root, tmp_path, service):
    package = tmp_path / "checkout" / "allenfs"
    shutil.copytree(Path(package_file).parent, package)
    init = package / "__init__.py"
    init.write_text(init.read_text().replace(__version__, "9.9.9"))
    mount = [*MODULE, "mount", "--api-url", service.url, root]
    subprocess.run(mount, cwd=package.parent, check=True)
    (root / PATH).read_bytes()
    # it is this allenfs that serves, not the installed one
    assert service.headers[0]["User-Agent"].startswith("allenfs/9.9.9 ")
    succeeds("umount", root)


def test_empty_or_lost_paths_are_exit_2(tmp_path):
    gone = tmp_path / "gone"
    for arguments in (["mount", ""], ["umount", ""], ["umount", "m"]):
        gone.mkdir()
        done = subprocess.run(
            ["sh", "-c", 'cd "$0" && rmdir "$0" && "$@"', gone, *SCRIPT, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_two_mounts_at_once_are_one_mount(root, service):
    """The others are exit 3, as those that come later; a signal ends the one."""
    mount = ("mount", "--api-url", service.url, root)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: allenfs(*mount), range(4)))
    assert sorted(one.returncode for one in done) == [0, 3, 3, 3]
    assert sorted(len(one.stderr.splitlines()) for one in done) == [0, 1, 1, 1]
    assert "already mounted" in fails(3, "mount", "--sample", root)
    assert (root / PATH).read_bytes()
    pid = serving_pid(root)
    os.kill(pid, signal.SIGINT)
    until_gone(pid)
    assert not is_mounted(root)


def test_unusable_mountpoint_or_missing_device_is_exit_3(root):
    (root / "file").touch()
    for name, reason in (
        *(("missing", "does not exist"), ("file", "not a directory")),
        ("", "not empty"),
    ):
        assert reason in fails(3, "mount", "--sample", root / name)
    (root / "file").unlink()
    # another /dev, in a mount namespace of this command
    script = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 &&"
    script += f' exec {sys.executable} -m allenfs mount --sample "$0"'
    command = ["unshare", "--mount", "sh", "-c", script, root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert re.fullmatch(r"allenfs: .*no /dev/fuse.*\n", done.stderr)


def _kill(root):
    pid = serving_pid(root)
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)


@pytest.mark.both_libfuses
def test_dead_mount_is_recovered_by_the_next_mount_and_by_umount(root, service):
    """Even one that is in use."""
    mount = ("mount", "--api-url", service.url, root)
    succeeds(*mount)
    with (root / PATH).open("rb") as file, busy(root):
        _kill(root)
        with pytest.raises(OSError, match="Transport endpoint is not connected"):
            os.listdir(root)
        succeeds(*mount)
        assert (root / PATH).read_bytes()
        with pytest.raises(OSError, match=r"Transport endpoint|Software caused"):
            os.pread(file.fileno(), 1, 2**20)
    _kill(root)
    succeeds("umount", root)
    assert not is_mounted(root)
    assert os.listdir(root) == []


def test_two_mounts_at_once_on_a_dead_mount_are_one_mount(root, service):
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


@pytest.mark.both_libfuses
def test_umount_of_a_stopped_daemon_ends(root, service):
    """And another mount over it says that umount is what helps."""
    mount = ("mount", "--api-url", service.url, root)
    succeeds(*mount)
    pid = serving_pid(root)
    os.kill(pid, signal.SIGSTOP)
    try:
        line = fails(3, *mount)
        assert "already mounted and does not answer: run allenfs umount" in line
        done = allenfs("umount", root)
        assert done.returncode == 0, done.stderr
        assert "its process does not respond and may still be running" in done.stderr
        assert not is_mounted(root)
    finally:
        os.kill(pid, signal.SIGCONT)
    until_gone(pid)
