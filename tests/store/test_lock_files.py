"""Locks among real processes: one holder at a time, none of them dead or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from allenfs.config import StoreSettings
from allenfs.store.health import Trouble
from allenfs.store.lock_files import LockFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 30
IMAGE, SLOT = "image-0123", "slot-0"
HOLD = """
import sys
from pathlib import Path
from allenfs.config import StoreSettings
from allenfs.store.health import Trouble
from allenfs.store.lock_files import LockFiles
settings = StoreSettings(Path(sys.argv[1]), 2**20, "test")
locks = LockFiles(settings, Trouble(settings.directory))
releases = [locks.try_lock(name) for name in sys.argv[2:]]
assert None not in releases
print("held", flush=True)
sys.stdin.readline()
"""
FORK = HOLD.replace(
    "sys.stdin.readline()",
    """
import os
if os.fork():
    releases[0]()
    print("released", flush=True)
sys.stdin.readline()
""",
)
# Each adds to a number that another one would spoil.
COUNT = (
    HOLD.partition("releases")[0]
    + """
import os, time
count = Path(sys.argv[2])
for _ in range(200):
    while (release := locks.try_lock("image-0123")) is None:
        pass
    before = int(count.read_text())
    os.sched_yield()
    count.write_text(str(before + 1))
    release()
"""
)


def locks_in(directory: Path) -> LockFiles:
    return LockFiles(StoreSettings(directory, 2**20, "test"), Trouble(directory))


def files(directory: Path) -> list[str]:
    return sorted(os.listdir(directory / "locks/test"))


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds both locks."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, IMAGE, SLOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_one_process_at_a_time_also_while_files_come_and_go(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    command = [sys.executable, "-c", COUNT, tmp_path / "store", count]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0, 0]
    assert count.read_text() == "600"
    assert files(tmp_path / "store") == []


@pytest.mark.parametrize("name", [IMAGE, SLOT])
def test_a_killed_process_frees_its_locks_and_its_files_are_removed(
    tmp_path: Path, holder: subprocess.Popen[bytes], name: str
) -> None:
    locks = locks_in(tmp_path)
    assert locks.try_lock(name) is None
    holder.kill()
    holder.wait()
    release = locks.try_lock(name)
    assert release is not None
    assert locks.try_lock(name) is None
    release()
    assert locks_in(tmp_path).try_lock("next") is not None
    assert files(tmp_path) == ["next", SLOT]


def test_a_stopped_process_holds_nobody_up_and_disturbs_nobody_later(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    locks = locks_in(tmp_path)
    releases = [locks.try_lock(name) for name in (IMAGE, SLOT)]
    assert None not in releases
    assert locks.try_lock(SLOT) is None
    holder.send_signal(signal.SIGCONT)
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait(PATIENCE_S)
    assert [locks.try_lock(name) for name in (IMAGE, SLOT)] == [None, None]


def test_a_forked_child_keeps_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORK, tmp_path, SLOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert process.stdout.readline() == b"released\n"
        assert locks_in(tmp_path).try_lock(SLOT) is not None  # the child still runs


def test_without_a_store_every_lock_is_free_with_one_warning_until_there_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "store"
    place.write_text("a file")
    locks = locks_in(place)
    for _ in range(3):
        release = locks.try_lock(IMAGE)
        assert release is not None
        release()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"trouble with the store {place}: ")
    place.unlink()
    release = locks.try_lock(IMAGE)
    assert release is not None
    assert locks.try_lock(IMAGE) is None


def test_a_link_in_place_of_a_lock_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    locks = locks_in(tmp_path)
    release = locks.try_lock(SLOT)
    assert release is not None
    release()
    (tmp_path / "locks/test" / SLOT).unlink()
    (tmp_path / "locks/test" / SLOT).symlink_to(tmp_path / "elsewhere")
    assert locks.try_lock(SLOT) is not None
    assert not (tmp_path / "elsewhere").exists()
    assert len(caplog.records) == 1
