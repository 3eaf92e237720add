"""A store's disk that fails under a mount: images all the same, and then recovery."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from mounted import Mounted, image_bytes

from allenfs.sample.server import SampleService

DISK_BYTES = 256 * 1024
# of 8 to 20 kB
PATHS = [f"section/69750516/ds5/q{number}/image.jpg" for number in range(60, 90)]
RECORDS = ["section/70679080/info.json", "section/102146167/info.json"]
TROUBLE = "trouble with the store"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    options = f"size={DISK_BYTES},nr_inodes=64,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    yield
    filler.unlink()


@contextlib.contextmanager
def without_inodes(disk: Path) -> Iterator[None]:
    with contextlib.suppress(OSError):
        for number in range(100):
            (disk / f"filler {number}").touch()
    with pytest.raises(OSError, match="No space left"):
        (disk / "one more").touch()
    yield
    for filler in disk.glob("filler *"):
        filler.unlink()


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    # not the disk itself: the mount has a file open for writing
    subprocess.run(["mount", "--bind", disk, disk], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
    yield
    subprocess.run(["umount", "-l", disk], check=True)


@contextlib.contextmanager
def without_its_directory(disk: Path) -> Iterator[None]:
    """It goes, and a file has its name until it is given back."""
    (disk / "store").rename(disk / "aside")
    (disk / "store").touch()
    yield
    (disk / "store").unlink()
    (disk / "aside").rename(disk / "store")


TROUBLES = [full, without_inodes, read_only, without_its_directory]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failing_disk_costs_one_warning_and_no_image(
    tmp_path: Path,
    service: SampleService,
    disk: Path,
    trouble: Callable[[Path], AbstractContextManager[None]],
) -> None:
    right = {path: image_bytes(service.url, path) for path in PATHS}
    with Mounted(
        tmp_path, service.url, cache_dir=disk / "store", warnings=[TROUBLE]
    ) as mounted:
        for path in PATHS[:5]:
            assert (mounted / path).read_bytes() == right[path]
        assert len(mounted.stored) == 5
        for time in (1, 2):
            with trouble(disk):
                # a record is not kept either: it is the same trouble
                assert (mounted / RECORDS[time - 1]).read_bytes()
                for path in PATHS[:12]:
                    assert (mounted / path).read_bytes() == right[path]
            assert mounted.log.count(TROUBLE) == 1
            # and as if nothing had been, without a restart
            for path in PATHS[5 * time : 5 * time + 5]:
                assert (mounted / path).read_bytes() == right[path]
            assert len(mounted.stored) == 5 + 5 * time
        assert os.listdir(disk / "store" / "incoming") == []
        mounted.stop()
        service.pause()
        mounted.start()
        for path in PATHS[:15]:
            assert (mounted / path).read_bytes() == right[path]
        service.resume()


def test_a_disk_smaller_than_the_limit_costs_one_warning(
    tmp_path: Path, service: SampleService, disk: Path
) -> None:
    """What fits beside what does not fit is no news: it is the same trouble."""
    sizes = ("ds5", "ds8", "ds4", "ds7")
    paths = [
        f"section/69750516/{tier}/q{quality}/image.jpg"
        for quality in range(60, 90)
        for tier in sizes
    ]
    right = {path: image_bytes(service.url, path) for path in paths}
    assert sum(map(len, right.values())) > 4 * DISK_BYTES
    with Mounted(
        tmp_path, service.url, cache_dir=disk / "store", warnings=[TROUBLE]
    ) as mounted:
        for path in paths:
            assert (mounted / path).read_bytes() == right[path]
        assert mounted.log.count(TROUBLE) == 1


@pytest.mark.parametrize("lost", ["*", "images", "images/*/*/*", "*/../../store"])
def test_what_is_removed_under_a_mount_is_downloaded_again(
    mounted: Mounted, service: SampleService, lost: str
) -> None:
    right = {path: image_bytes(service.url, path) for path in PATHS}
    service.reset_counters()
    for _ in range(2):
        for path in PATHS[:8]:
            assert (mounted / path).read_bytes() == right[path]
    assert service.image_requests == 8
    with (mounted / PATHS[0]).open("rb") as held:
        for path in mounted.cache_dir.glob(lost):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True) if path.is_file() else None
        assert mounted.stored == []
        assert held.read() == right[PATHS[0]]
    for _ in range(2):
        for path in PATHS[:8]:
            assert (mounted / path).read_bytes() == right[path]
    assert service.image_requests == 16
    assert len(mounted.stored) == 8
