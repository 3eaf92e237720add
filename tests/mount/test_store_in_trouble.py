"""Promise 7 under trouble: damaged files, a full, locked or failing store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from command import cat
from disks import full, read_only, tmpfs
from mounted import Mounted, errno_of, image_bytes

from allenfs.sample.server import SampleService

PATH = "section/69750516/ds4/image.jpg"
DISK_BYTES = 256 * 1024
# of 8 to 20 kB
PATHS = [f"section/69750516/ds5/q{number}/image.jpg" for number in range(60, 90)]
RECORDS = ["section/70679080/info.json", "section/102146167/info.json"]
TROUBLE, AGAIN = "trouble with the store", "downloaded again"


def _flip_one_bit(stored: Path) -> None:
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 0x10
    stored.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda stored: os.truncate(stored, stored.stat().st_size // 2),
    "empty": lambda stored: os.truncate(stored, 0),
    "one bit": _flip_one_bit,
}
STRANGERS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "directory": Path.mkdir,
    "link": lambda stored: stored.symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.mounted(warnings=[AGAIN])
def test_damaged_stored_file_is_noticed_and_downloaded_again(
    mounted: Mounted, service: SampleService, damage: str
) -> None:
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    (stored,) = mounted.stored
    DAMAGES[damage](stored)
    mounted.start()
    assert (mounted / PATH).read_bytes() == expected
    assert service.image_requests == 2
    assert mounted.log.count(AGAIN) == 1


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.mounted(warnings=[AGAIN, TROUBLE])
def test_stranger_in_a_stored_files_place_is_replaced(
    mounted: Mounted, service: SampleService, stranger: str
) -> None:
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    (stored,) = mounted.stored
    stored.unlink()
    STRANGERS[stranger](stored)
    os.mkfifo(mounted.cache_dir / "incoming" / ("0" * 32))
    mounted.start()
    for _ in range(2):
        assert (mounted / PATH).read_bytes() == expected
    assert service.image_requests == 2
    assert stored.is_file()


@contextlib.contextmanager
def locked(mounted: Mounted) -> Iterator[None]:
    """As by a process that is stopped."""
    with (mounted.cache_dir / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.mounted(warnings=[TROUBLE])
def test_locked_store_still_gives_the_image(
    mounted: Mounted, service: SampleService
) -> None:
    (mounted / "section/69750516/ds8/image.jpg").read_bytes()
    with locked(mounted):
        assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
        assert len(mounted.stored) == 1
    (mounted / "section/69750516/ds6/image.jpg").read_bytes()
    assert len(mounted.stored) == 2


@pytest.mark.mounted(warnings=[TROUBLE, AGAIN])
def test_locked_store_and_a_damaged_file_do_not_hold_ctrl_c(
    mounted: Mounted, service: SampleService
) -> None:
    (mounted / PATH).read_bytes()
    with locked(mounted):
        mounted.stored[0].write_bytes(bytes(700))
        service.pause()
        reader = cat(mounted / PATH)
        reader.send_signal(signal.SIGINT)
        output, _ = reader.communicate(timeout=1.5)  # the lock is waited for 2 s
        assert (reader.returncode, output) == (-signal.SIGINT, b"")
    service.resume()
    assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)


@pytest.mark.mounted(warnings=[TROUBLE, "Too many open files"])
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

        def look(path: str) -> None:
            file = stack.enter_context((mounted / path).open("rb"))
            assert file.read() == right[path]

        errnos = {errno_of(look, path) for path in paths} - {0}
        # that no connection can be opened is what the network cannot do
        assert set() < errnos <= {errno.ENFILE, errno.EHOSTUNREACH}
        assert os.listdir(mounted / "section") == ["69750516"]
    for path in paths:
        assert (mounted / path).read_bytes() == right[path]


# A disk that fails under a mount


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    with tmpfs(disk, f"size={DISK_BYTES},nr_inodes=64"):
        yield disk


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
def without_its_directory(disk: Path) -> Iterator[None]:
    """It goes, and a file has its name until it is given back."""
    (disk / "store").rename(disk / "aside")
    (disk / "store").touch()
    yield
    (disk / "store").unlink()
    (disk / "aside").rename(disk / "store")


def check(mounted: Mounted, right: dict[str, bytes], paths: list[str]) -> None:
    for path in paths:
        assert (mounted / path).read_bytes() == right[path]


@pytest.mark.parametrize(
    "trouble", [full, without_inodes, read_only, without_its_directory]
)
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
        check(mounted, right, PATHS[:5])
        assert len(mounted.stored) == 5
        for time in (1, 2):
            with trouble(disk):
                # a record is not kept either: it is the same trouble
                assert (mounted / RECORDS[time - 1]).read_bytes()
                check(mounted, right, PATHS[:12])
            assert mounted.log.count(TROUBLE) == 1
            # and as if nothing had been, without a restart
            check(mounted, right, PATHS[5 * time : 5 * time + 5])
            assert len(mounted.stored) == 5 + 5 * time
        assert os.listdir(disk / "store" / "incoming") == []
        mounted.stop()
        service.pause()
        mounted.start()
        check(mounted, right, PATHS[:15])
        service.resume()


def test_a_disk_smaller_than_the_limit_costs_one_warning(
    tmp_path: Path, service: SampleService, disk: Path
) -> None:
    """What fits beside what does not fit is no news: it is the same trouble."""
    paths = [
        f"section/69750516/{tier}/q{quality}/image.jpg"
        for quality in range(60, 90)
        for tier in ("ds5", "ds8", "ds4", "ds7")
    ]
    right = {path: image_bytes(service.url, path) for path in paths}
    assert sum(map(len, right.values())) > 4 * DISK_BYTES
    with Mounted(
        tmp_path, service.url, cache_dir=disk / "store", warnings=[TROUBLE]
    ) as mounted:
        check(mounted, right, paths)
        assert mounted.log.count(TROUBLE) == 1


@pytest.mark.parametrize("lost", ["*", "images", "images/*/*/*", "*/../../store"])
def test_what_is_removed_under_a_mount_is_downloaded_again(
    mounted: Mounted, service: SampleService, lost: str
) -> None:
    right = {path: image_bytes(service.url, path) for path in PATHS[:8]}
    service.reset_counters()
    check(mounted, right, 2 * PATHS[:8])
    assert service.image_requests == 8
    with (mounted / PATHS[0]).open("rb") as held:
        for path in mounted.cache_dir.glob(lost):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True) if path.is_file() else None
        assert mounted.stored == []
        assert held.read() == right[PATHS[0]]
    check(mounted, right, 2 * PATHS[:8])
    assert service.image_requests == 16
    assert len(mounted.stored) == 8
