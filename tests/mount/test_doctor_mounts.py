"""The doctor on real mounts and real disks: dead, silent, full, somebody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command import allenfs
from mounted import Mounted
from verdicts import failed, warned, worked

from allenfs.cli.doctor import host
from allenfs.cli.doctor.findings import Check, Verdict, run
from allenfs.cli.doctor.storage import StoreChecks, kind_of
from allenfs.config import StoreSettings
from allenfs.errors import UnsafeStoreError
from allenfs.sample.server import SampleService
from allenfs.store.directory import require_own
from allenfs.store.image_files import ImageFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.one_libfuse

IMAGE = "section/69750516/ds6/image.jpg"


def of(store: Path, capacity_bytes: int = 2**20) -> StoreChecks:
    def read_settings() -> StoreSettings:
        require_own(store)
        return StoreSettings(store, capacity_bytes, "host")

    return StoreChecks(read_settings)


@pytest.fixture
def service() -> Iterator[SampleService]:
    with SampleService() as sample:
        yield sample


@contextlib.contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_mount_that_answers_is_well_a_dead_one_is_not_and_the_advice_mends_it(
    tmp_path: Path, service: SampleService
) -> None:
    assert worked(host.mounts(list)) == "none"
    with Mounted(tmp_path / "a b", service.url) as mount:
        assert worked(host.mounts(lambda: [mount.root])) == "1 mounted, all answer"
        with mount.stopped(0):
            said = failed(host.mounts(lambda: [mount.root]))
            assert f"{mount.root} (silent)" in said
        worked(host.mounts(lambda: [mount.root]))
        assert mount.process is not None
        mount.process.kill()
        mount.process.communicate()
        finding = host.mounts(lambda: [mount.root])
        assert f"{mount.root} (dead)" in failed(finding)
        command = finding.advice.replace("allenfs", f"{sys.executable} -m allenfs", 1)
        subprocess.run(["sh", "-c", command], check=True)
        assert not os.path.ismount(mount.root)
        mount.start()
        worked(host.mounts(lambda: [mount.root]))


def test_the_doctor_looks_at_the_store_of_a_mount_and_changes_nothing(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mount:
        (mount / IMAGE).read_bytes()
        names = sorted(mount.cache_dir.rglob("*"))
        done = allenfs(
            "doctor", "--api-url", service.url, "--cache-dir", mount.cache_dir
        )
        assert f"{mount.cache_dir}, 1 images, " in done.stdout
        assert "writable and lockable" in done.stdout
        assert sorted(mount.cache_dir.rglob("*")) == names


def test_a_store_that_is_not_there_yet_is_well_and_is_not_made(tmp_path: Path) -> None:
    store = tmp_path / "deep" / "store"
    checks = of(store)
    assert "not created yet" in worked(checks.owner())
    assert "free" in worked(checks.room())
    worked(checks.files())
    assert not store.parent.exists()


def test_a_store_of_another_user_fails_and_recovers(tmp_path: Path) -> None:
    store = tmp_path / "store"
    ImageFiles(StoreSettings(store, 2**20, "host")).load()
    store.mkdir(exist_ok=True)
    os.chown(store, 65534, -1)
    with pytest.raises(UnsafeStoreError):
        require_own(store)
    said = failed(of(store).owner())
    assert "belongs to nobody" in said or "belongs to user 65534" in said
    assert "--cache-dir" in said
    os.chown(store, os.geteuid(), -1)
    worked(of(store).owner())


def test_a_store_with_a_link_in_it_fails_and_no_other_check_touches_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "images").symlink_to("/etc")
    checks = of(tmp_path)
    found = dict(
        run([Check("store", checks.owner), Check("room", checks.room, ("store",))])
    )
    assert f"Not a directory: {tmp_path}/images" in failed(found["store"])
    assert found["room"].verdict is Verdict.SKIP


def test_a_full_disk_fails_and_recovers(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=256k,mode=700") as store:
        checks = of(store, capacity_bytes=128 * 1024)
        worked(checks.files())
        litter = store / "litter"
        with contextlib.suppress(OSError), litter.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        assert "the disk is full" in failed(checks.room())
        said = failed(checks.files())
        assert "No space left on device" in said
        assert "free some space" in said
        litter.unlink()
        worked(checks.room())
        worked(checks.files())


def test_less_room_than_the_limit_is_warned_of(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=1m,mode=700") as store:
        said = warned(of(store, capacity_bytes=2**30).room())
        assert said.startswith("1.0 MiB free, but the limit of 1.0 GiB")
        assert "--cache-size" in said


@pytest.mark.parametrize("below", ["", "not/there"])
def test_a_disk_that_cannot_be_written_fails(tmp_path: Path, below: str) -> None:
    with disk(tmp_path / "disk", "ro,mode=700") as place:
        said = failed(of(place / below).files())
        assert "tmpfs" in said
        assert "not kept" in said
        assert "--cache-dir" in said


def test_a_store_on_a_remote_file_system_is_warned_of(
    tmp_path: Path, service: SampleService
) -> None:
    assert kind_of(Path("/proc/self")) == "proc"
    with Mounted(tmp_path, service.url) as mount:
        assert kind_of(mount.root) == "fuse.allenfs"
        assert "fuse.allenfs" in failed(of(mount.root / "store").files())


def test_without_the_device_the_command_says_so_and_goes_on(tmp_path: Path) -> None:
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
    assert "FAIL  device      /dev/fuse does not exist" in done.stdout
    assert "-> load the kernel module: sudo modprobe fuse" in done.stdout
    assert "ok    libfuse" in done.stdout
    assert done.stderr == ""


def test_ctrl_c_ends_it_in_the_middle_of_a_check(tmp_path: Path) -> None:
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
