"""A failing store: damaged files, a full, locked or broken disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal

import pytest
from command import cat
from disks import full, tmpfs
from mounted import Mounted, errno_of, image_bytes

PATH = "section/69750516/ds4/image.jpg"
DISK_BYTES = 256 * 1024
# of 8 to 20 kB
PATHS = [f"section/69750516/ds5/q{number}/image.jpg" for number in range(60, 90)]
RECORDS = ["section/70679080/info.json", "section/102146167/info.json"]
TROUBLE, AGAIN = "trouble with the store", "downloading it again"


def _flip_one_bit(stored):
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 0x10
    stored.write_bytes(data)


def _replace_by_a_link(stored):
    stored.unlink()
    stored.symlink_to("/etc/passwd")


@pytest.mark.parametrize("damage", [_flip_one_bit, _replace_by_a_link])
@pytest.mark.mounted(warnings=[AGAIN, TROUBLE])
def test_damaged_stored_file_is_noticed_and_downloaded_again(mounted, service, damage):
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    (stored,) = mounted.stored
    damage(stored)
    os.mkfifo(mounted.cache_dir / "incoming" / ("0" * 32))
    mounted.start()
    for _ in range(2):
        assert (mounted / PATH).read_bytes() == expected
    assert service.image_requests == 2
    assert mounted.stored == [stored]
    assert stored.is_file()


@contextlib.contextmanager
def locked(mounted):
    """As by a process that is stopped."""
    with (mounted.cache_dir / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.mounted(warnings=[TROUBLE, AGAIN])
def test_locked_store_still_gives_the_image(mounted, service):
    """And does not hold Ctrl-C, though a damaged file cannot be removed."""
    (mounted / "section/69750516/ds8/image.jpg").read_bytes()
    with locked(mounted):
        assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
        assert len(mounted.stored) == 1
    other = "section/69750516/ds7/image.jpg"
    (mounted / other).read_bytes()
    assert len(mounted.stored) == 2
    with locked(mounted):
        for stored in mounted.stored:
            stored.write_bytes(bytes(700))
        service.pause()
        reader = cat(mounted / other)
        reader.send_signal(signal.SIGINT)
        output, _ = reader.communicate(timeout=1.5)  # the lock is waited for 2 s
        assert (reader.returncode, output) == (-signal.SIGINT, b"")
    service.resume()
    assert (mounted / other).read_bytes() == image_bytes(service.url, other)


@pytest.mark.mounted(warnings=[TROUBLE, "Too many open files"])
def test_out_of_descriptors_is_enfile_and_recovers(mounted, service):
    paths = [f"section/69750516/ds7/q{number}/image.jpg" for number in range(30, 90)]
    right = {path: image_bytes(service.url, path) for path in paths}
    (mounted / paths[0]).read_bytes()
    in_use = len(os.listdir(f"/proc/{mounted.pid}/fd"))
    _, most = resource.prlimit(mounted.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(mounted.pid, resource.RLIMIT_NOFILE, (in_use + 20, most))
    with contextlib.ExitStack() as stack:

        def look(path):
            file = stack.enter_context((mounted / path).open("rb"))
            assert file.read() == right[path]

        errnos = {errno_of(look, path) for path in paths} - {0}
        # that no connection can be opened is what the network cannot do
        assert set() < errnos <= {errno.ENFILE, errno.EHOSTUNREACH}
        assert os.listdir(mounted / "section") == ["69750516"]
    check(mounted, right, paths)


def check(mounted, right, paths):
    for path in paths:
        assert (mounted / path).read_bytes() == right[path]


@pytest.fixture
def disk(tmp_path):
    """A disk that fails under a mount."""
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    with tmpfs(disk, f"size={DISK_BYTES}"):
        yield disk


@pytest.fixture
def on_disk(tmp_path, service, disk):
    settings = {"cache_dir": disk / "store", "warnings": [TROUBLE]}
    with Mounted(tmp_path, service.url, **settings) as mounted:
        yield mounted


@contextlib.contextmanager
def without_its_directory(disk):
    """It goes, and a file has its name until it is given back."""
    (disk / "store").rename(disk / "aside")
    (disk / "store").touch()
    yield
    (disk / "store").unlink()
    (disk / "aside").rename(disk / "store")


@pytest.mark.parametrize("trouble", [full, without_its_directory])
def test_a_failing_disk_costs_one_warning_and_no_image(on_disk, service, disk, trouble):
    right = {path: image_bytes(service.url, path) for path in PATHS}
    check(on_disk, right, PATHS[:5])
    assert len(on_disk.stored) == 5
    for time in (1, 2):
        with trouble(disk):
            # records cannot be stored either: it is the same failure
            assert (on_disk / RECORDS[time - 1]).read_bytes()
            check(on_disk, right, PATHS[:12])
        assert on_disk.log.count(TROUBLE) == 1
        # and as if nothing had been, without a restart
        check(on_disk, right, PATHS[5 * time : 5 * time + 5])
        assert len(on_disk.stored) == 5 + 5 * time
    assert os.listdir(disk / "store" / "incoming") == []
    on_disk.stop()
    service.pause()
    on_disk.start()
    check(on_disk, right, PATHS[:15])
    service.resume()
