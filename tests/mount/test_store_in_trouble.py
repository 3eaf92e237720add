"""Promise 7 under trouble: damaged files, a full, locked or unwritable store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, image_bytes

from allenfs.sample.server import SampleService

PATH = "section/69750516/ds4/image.jpg"


def _cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def _empty(data: bytearray) -> None:
    data.clear()


def _flip_one_bit(data: bytearray) -> None:
    data[len(data) // 2] ^= 0x10


@pytest.mark.parametrize("damage", [_cut, _empty, _flip_one_bit])
@pytest.mark.mounted(warnings=["downloaded again"])
def test_damaged_stored_file_is_noticed_and_downloaded_again(
    mounted: Mounted, service: SampleService, damage: object
) -> None:
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    (stored,) = mounted.stored
    data = bytearray(stored.read_bytes())
    damage(data)  # type: ignore[operator]
    stored.write_bytes(data)
    mounted.start()
    assert (mounted / PATH).read_bytes() == expected
    assert service.image_requests == 2
    assert mounted.log.count("downloaded again") == 1


def _fifo(stored: Path) -> None:
    os.mkfifo(stored)


def _directory(stored: Path) -> None:
    stored.mkdir()


def _symlink(stored: Path) -> None:
    stored.symlink_to("/etc/passwd")


@pytest.mark.parametrize("stranger", [_fifo, _directory, _symlink])
@pytest.mark.mounted(warnings=["downloaded again", "trouble with the store"])
def test_stranger_in_a_stored_files_place_is_replaced(
    mounted: Mounted, service: SampleService, stranger: object
) -> None:
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    (stored,) = mounted.stored
    stored.unlink()
    stranger(stored)  # type: ignore[operator]
    os.mkfifo(mounted.cache_dir / "incoming" / ("0" * 32))
    mounted.start()
    assert (mounted / PATH).read_bytes() == expected
    assert (mounted / PATH).read_bytes() == expected
    assert service.image_requests == 2
    assert stored.is_file()


def test_locked_store_still_gives_the_image(
    tmp_path: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    store = tmp_path / "store"
    with Mounted(
        tmp_path, service.url, cache_dir=store, warnings=["trouble with the store"]
    ) as mounted:
        (mounted / "section/69750516/ds8/image.jpg").read_bytes()
        with (store / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a stopped process would
            assert (mounted / PATH).read_bytes() == expected
            assert len(mounted.stored) == 1
        other = "section/69750516/ds6/image.jpg"
        (mounted / other).read_bytes()
        assert len(mounted.stored) == 2


def test_locked_store_and_a_damaged_file_do_not_hold_ctrl_c(
    tmp_path: Path, service: SampleService
) -> None:
    store = tmp_path / "store"
    with Mounted(
        tmp_path,
        service.url,
        cache_dir=store,
        warnings=["trouble with the store", "downloaded again"],
    ) as mounted:
        (mounted / PATH).read_bytes()
        with (store / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mounted.stored[0].write_bytes(bytes(700))
            service.pause()
            cat = subprocess.Popen(["cat", mounted / PATH], stdout=subprocess.PIPE)
            cat.send_signal(signal.SIGINT)
            output, _ = cat.communicate(timeout=1.5)  # the lock is waited for 2 s
            assert (cat.returncode, output) == (-signal.SIGINT, b"")
        service.resume()
        assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)


@pytest.mark.mounted(capacity_bytes=8192)
def test_image_larger_than_the_store_is_read_whole(
    mounted: Mounted, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    service.reset_counters()
    assert (mounted / PATH).read_bytes() == expected
    assert mounted.stored == []
    assert (mounted / PATH).stat().st_size == len(expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True
    )
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_full_disk_still_gives_the_image(
    tmp_path: Path, service: SampleService, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    path = "section/69750516/ds5/image.jpg"
    expected = image_bytes(service.url, path)
    with Mounted(
        tmp_path, service.url, cache_dir=small_disk / "store", warnings=["the store"]
    ) as mounted:
        (mounted / "section/69750516/ds8/image.jpg").read_bytes()
        fd = os.open(filler, os.O_CREAT | os.O_WRONLY)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(fd, bytes(4096))
        os.close(fd)
        assert (mounted / path).read_bytes() == expected
        assert "No space left on device" in mounted.log
        filler.unlink()
        other = "section/69750516/ds6/image.jpg"
        assert (mounted / other).read_bytes() == image_bytes(service.url, other)
        assert len(mounted.stored) == 2  # and it is kept again


@pytest.mark.mounted(warnings=["trouble with the store", "Too many open files"])
def test_out_of_descriptors_is_enfile_and_recovers(
    mounted: Mounted, service: SampleService
) -> None:
    paths = [f"section/69750516/ds7/q{number}/image.jpg" for number in range(30, 90)]
    right = {path: image_bytes(service.url, path) for path in paths}
    (mounted / paths[0]).read_bytes()
    in_use = len(os.listdir(f"/proc/{mounted.pid}/fd"))
    _, most = resource.prlimit(mounted.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(mounted.pid, resource.RLIMIT_NOFILE, (in_use + 20, most))
    with contextlib.ExitStack() as stack:

        def errno_of(path: str) -> int | None:
            try:
                file = stack.enter_context((mounted / path).open("rb"))
            except OSError as error:
                return error.errno
            assert file.read() == right[path]
            return None

        errnos = {errno_of(path) for path in paths} - {None}
        assert errnos
        # that no connection can be opened is what the network cannot do
        assert errnos <= {errno.ENFILE, errno.EHOSTUNREACH}
        assert os.listdir(mounted / "section") == ["69750516"]
    for path in paths:
        assert (mounted / path).read_bytes() == right[path]


def test_unwritable_store_still_gives_the_image(
    tmp_path: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    (tmp_path / "file").write_text("in the store's place")
    with Mounted(
        tmp_path,
        service.url,
        cache_dir=tmp_path / "file" / "store",
        warnings=["trouble with the store"],
    ) as mounted:
        assert (mounted / PATH).read_bytes() == expected
        assert mounted.log.count("trouble with the store") == 1
