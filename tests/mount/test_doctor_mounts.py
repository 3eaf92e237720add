"""The doctor on real mounts and disks."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import allenfs
from mounted import Mounted
from verdicts import failed, warned, worked

from allenfs.cli.doctor import machine
from allenfs.cli.doctor.storage import StoreChecks, kind_of
from allenfs.config import StoreSettings
from allenfs.store.directory import require_own

pytestmark = pytest.mark.one_libfuse


def of(store: Path, capacity_bytes: int = 2**20) -> StoreChecks:
    def read_settings() -> StoreSettings:
        require_own(store)
        return StoreSettings(store, capacity_bytes, "host")

    return StoreChecks(read_settings)


@contextlib.contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_mount_that_does_not_answer_is_named_and_the_advice_works(tmp_path, service):
    assert worked(machine.mounts(list)) == "none"
    with Mounted(tmp_path / "a b", service.url) as mount:
        check = functools.partial(machine.mounts, lambda: [mount.root])
        assert worked(check()) == "1 mounted, none is dead or silent"
        with mount.stopped(0):
            assert f"{mount.root} (silent)" in failed(check())
        worked(check())
        assert mount.process is not None
        mount.process.kill()
        mount.process.communicate()
        finding = check()
        assert f"{mount.root} (dead)" in failed(finding)
        command = finding.advice.replace("allenfs", f"{sys.executable} -m allenfs", 1)
        subprocess.run(["sh", "-c", command], check=True)
        assert not os.path.ismount(mount.root)
        mount.start()
        worked(check())


def test_the_store_of_a_mount_is_checked_and_not_changed(tmp_path, service):
    with Mounted(tmp_path, service.url) as mount:
        (mount / "section/69750516/ds6/image.jpg").read_bytes()
        names = sorted(mount.cache_dir.rglob("*"))
        done = allenfs(
            "doctor", "--api-url", service.url, "--cache-dir", mount.cache_dir
        )
        assert f"{mount.cache_dir}, 1 images, " in done.stdout
        assert "writable and lockable" in done.stdout
        assert sorted(mount.cache_dir.rglob("*")) == names


def test_a_store_that_does_not_exist_yet_is_not_created(tmp_path):
    store = tmp_path / "deep" / "store"
    assert "not created yet" in worked(of(store).contents())
    worked(of(store).files())
    assert not store.parent.exists()


def test_a_store_of_another_user_fails_and_recovers(tmp_path):
    (tmp_path / "file").touch()
    os.chown(tmp_path, 65534, -1)
    said = failed(of(tmp_path).contents())
    assert "belongs to nobody" in said or "belongs to user 65534" in said
    assert "--cache-dir" in said
    os.chown(tmp_path, os.geteuid(), -1)
    worked(of(tmp_path).contents())


def test_a_store_with_a_link_in_it_fails(tmp_path):
    (tmp_path / "images").symlink_to("/etc")
    assert f"Not a directory: {tmp_path}/images" in failed(of(tmp_path).contents())


def test_a_full_disk_fails_and_recovers(tmp_path):
    with disk(tmp_path / "disk", "size=256k,mode=700") as store:
        checks = of(store, capacity_bytes=128 * 1024)
        worked(checks.contents())
        worked(checks.files())
        litter = store / "litter"
        with contextlib.suppress(OSError), litter.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        said = warned(checks.contents())
        assert "0 bytes free, but the limit of 128.0 KiB" in said
        assert "--cache-size" in said
        said = failed(checks.files())
        assert "No space left on device" in said
        assert "free some space" in said
        litter.unlink()
        worked(checks.contents())
        worked(checks.files())


@pytest.mark.parametrize("below", ["", "not/there"])
def test_a_disk_that_cannot_be_written_fails(tmp_path, below):
    with disk(tmp_path / "disk", "ro,mode=700") as place:
        said = failed(of(place / below).files())
        assert "(tmpfs)" in said
        assert "not stored" in said
        assert "--cache-dir" in said


def test_the_type_of_a_file_system_is_named(tmp_path, service):
    assert kind_of(Path("/proc/self")) == "proc"
    with Mounted(tmp_path, service.url) as mount:
        assert "(fuse.allenfs)" in failed(of(mount.root / "store").files())


def test_a_missing_device_is_reported_and_the_checks_continue():
    script = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 &&"
    script += f" exec {sys.executable} -m allenfs doctor --api-url nonsense"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "FAIL  device      /dev/fuse cannot be opened: No such file" in done.stdout
    assert "-> load the kernel module: sudo modprobe fuse" in done.stdout
    assert "ok    libfuse" in done.stdout
    assert done.stderr == ""


def test_ctrl_c_ends_it_in_the_middle_of_a_check():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "allenfs", "doctor"),
                *("--api-url", f"http://127.0.0.1:{port}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = listener.accept()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 130
    assert said == ""
