"""Locks among real processes: one holder at a time, none of them dead or stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from allenfs.config import StoreSettings
from allenfs.store.directory import StoreDirectory
from allenfs.store.lock_files import LockFiles

PATIENCE_S = 30
IMAGE, SLOT = "image-0123", "slot-0"
LOCKS = """
import os, sys
from pathlib import Path
from allenfs.config import StoreSettings
from allenfs.store.directory import StoreDirectory
from allenfs.store.lock_files import LockFiles
settings = StoreSettings(Path(sys.argv[1]), 2**20, "test")
locks = LockFiles(settings, StoreDirectory(settings.directory))
"""
HOLD = (
    LOCKS
    + """
releases = [locks.try_lock(name) for name in sys.argv[2:]]
assert None not in releases
print("held", flush=True)
sys.stdin.readline()
"""
)
FORK = (
    LOCKS
    + """
release = locks.try_lock(sys.argv[2])
if os.fork():
    release()
    print("released", flush=True)
sys.stdin.readline()
"""
)
# Each adds to a number that another one would spoil.
COUNT = (
    LOCKS
    + """
count = Path(sys.argv[2])
for _ in range(100):
    while (release := locks.try_lock("image-0123")) is None:
        pass
    before = int(count.read_text())
    os.sched_yield()
    count.write_text(str(before + 1))
    release()
"""
)


class Locks:
    """The locks of one process."""

    def __init__(self, directory):
        settings = StoreSettings(directory, 2**20, "test")
        self._files = LockFiles(settings, StoreDirectory(directory))
        self._releases = {}

    def try_lock(self, name):
        release = self._files.try_lock(name)
        if release is not None:
            self._releases[name] = release
        return release is not None

    def release(self, name):
        self._releases.pop(name)()


@contextlib.contextmanager
def running(program, directory, *names):
    """A process whose first line has been read."""
    with subprocess.Popen(
        [sys.executable, "-c", program, directory, *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() in (b"held\n", b"released\n")
        yield process
        process.kill()


@pytest.fixture
def holder(tmp_path):
    """A process that holds both locks."""
    with running(HOLD, tmp_path, IMAGE, SLOT) as process:
        yield process


@pytest.fixture
def stopped(holder):
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    return holder


def remove_while_free(path):
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def test_one_process_at_a_time_also_while_the_file_is_removed(tmp_path):
    count = tmp_path / "count"
    count.write_text("0")
    command = [sys.executable, "-c", COUNT, tmp_path / "store", count]
    processes = [subprocess.Popen(command) for _ in range(3)]
    while any(process.poll() is None for process in processes):
        for file in tmp_path.glob("store/locks/test/*"):
            remove_while_free(file)
        time.sleep(0.002)
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert count.read_text() == "300"


def test_a_killed_process_frees_its_locks(tmp_path, holder):
    locks = Locks(tmp_path)
    assert not any(locks.try_lock(name) for name in (IMAGE, SLOT))
    holder.kill()
    holder.wait()
    for name in (IMAGE, SLOT):
        assert locks.try_lock(name)
        assert not Locks(tmp_path).try_lock(name)
        locks.release(name)
        assert Locks(tmp_path).try_lock(name)


def test_a_stopped_process_delays_no_other_and_disturbs_none_later(tmp_path, stopped):
    locks, other = Locks(tmp_path), Locks(tmp_path)
    assert all(locks.try_lock(name) for name in (IMAGE, SLOT))
    assert not any(other.try_lock(name) for name in (IMAGE, SLOT))
    stopped.send_signal(signal.SIGCONT)
    stopped.stdin.close()
    stopped.wait(PATIENCE_S)
    assert not any(other.try_lock(name) for name in (IMAGE, SLOT))


def test_of_two_that_find_a_stopped_process_only_one_gets_its_lock(
    tmp_path, stopped, monkeypatch
):
    first, second = Locks(tmp_path), Locks(tmp_path)
    results = []
    thread = threading.Thread(target=lambda: results.append(second.try_lock(IMAGE)))
    unlink = Path.unlink

    def unlink_late(path):
        monkeypatch.undo()
        thread.start()
        thread.join(0.3)  # long enough to do the same, if nothing prevents it
        unlink(path)

    monkeypatch.setattr(Path, "unlink", unlink_late)
    results.append(first.try_lock(IMAGE))
    thread.join(PATIENCE_S)
    assert sorted(results) == [False, True]


def test_a_forked_child_keeps_no_lock(tmp_path):
    with running(FORK, tmp_path, SLOT):
        assert Locks(tmp_path).try_lock(SLOT)  # the child still runs


def test_without_a_store_every_lock_is_free_with_one_warning_until_there_is_one(
    tmp_path, caplog
):
    place = tmp_path / "store"
    place.write_text("a file")
    locks = Locks(place)
    assert all(locks.try_lock(IMAGE) for _ in range(3))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"trouble with the store {place}: ")
    place.unlink()
    assert locks.try_lock(IMAGE)
    assert not Locks(place).try_lock(IMAGE)


@pytest.mark.parametrize(
    ("part", "make"),
    [
        ("locks", "symlink_to"),
        ("locks/test", "symlink_to"),
        (f"locks/test/{SLOT}", "symlink_to"),
        (f"locks/test/{SLOT}", "hardlink_to"),
    ],
)
def test_what_others_left_in_place_of_a_lock_is_not_written_to(
    tmp_path, caplog, part, make
):
    place, other = tmp_path / part, tmp_path / "other"
    locks = Locks(tmp_path)
    assert locks.try_lock(SLOT)
    locks.release(SLOT)
    place.rename(other)
    getattr(place, make)(other)
    (file,) = [other] if other.is_file() else list(other.rglob(SLOT))
    file.write_text("theirs")
    assert locks.try_lock(SLOT)  # free, as without a store
    assert file.read_text() == "theirs"
    (record,) = caplog.records
    assert record.getMessage().startswith("trouble with the store ")


def test_images_that_share_a_file_are_never_locked_twice(tmp_path):
    locks, other = Locks(tmp_path), Locks(tmp_path)
    names = [f"image-{number**7}" for number in range(300)]
    locked = [name for name in names if locks.try_lock(name)]
    files = list(tmp_path.glob("locks/test/*"))
    assert len(locked) == len(files) < len(names)
    assert not any(other.try_lock(name) for name in names)
    for name in locked:
        locks.release(name)
    assert not any(path.stat().st_size for path in files)
    assert [name for name in names if other.try_lock(name)] == locked
