"""Several processes on one directory, and processes that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from store_helpers import (
    KIB,
    content,
    disk_usage,
    downloads,
    found,
    image_bytes,
    put,
    section,
    store_at,
    verify_all,
)
from store_process import check_record, image_of

from allenfs.config import StoreSettings
from allenfs.store.record_files import RecordFiles

PROGRAM = Path(__file__).with_name("store_process.py")
CAPACITY = 256 * KIB


def started(directory, *numbers):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAM), str(directory), str(CAPACITY)]
        + [str(number) for number in numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def assert_right_or_nothing(directory):
    """Look at every image with a new store; return how many are there."""
    store = store_at(directory, CAPACITY)
    there = [number for number in range(300) if found(store, number) is not None]
    for number in there:
        assert found(store, number) == image_of(number)
    records = RecordFiles(StoreSettings(directory, CAPACITY, "test"))
    for number in range(8):
        check_record(records, number)
    return len(there)


def test_two_processes_share_a_directory_within_the_limit(tmp_path):
    processes = [started(tmp_path, first, 2, 150) for first in (1, 2)]
    for process in processes:
        go(process)
    for _ in range(140):  # a look at each image that one of them adds
        assert processes[0].stdout.readline()
        assert disk_usage(tmp_path)[0] <= CAPACITY
    for process, left in zip(processes, (10, 150), strict=True):
        with process:
            said = process.stdout.read()  # communicate() loses what is buffered
        assert process.returncode == 0, said
        assert len(said.split()) == left
    assert disk_usage(tmp_path)[0] <= CAPACITY
    assert assert_right_or_nothing(tmp_path) > 5
    records = RecordFiles(StoreSettings(tmp_path, CAPACITY, "test"))
    assert records.sizes()["test"][0] > 0
    assert downloads(tmp_path) == []


def test_kill_9_at_any_moment_leaves_right_images_or_none(tmp_path):
    chance = random.Random(69750516)
    for round_number in range(30):
        process = started(tmp_path, 1 + round_number * 7, 1, 0)
        go(process)
        for _ in range(chance.randrange(1, 12)):
            process.stdout.readline()
        for _ in range(chance.randrange(20_000)):
            pass  # some microseconds to two milliseconds into the next image
        process.kill()
        process.communicate()
        assert process.returncode == -9
        store = store_at(tmp_path, CAPACITY)
        store.load()
        assert downloads(tmp_path) == []
        assert disk_usage(tmp_path)[0] <= CAPACITY
        assert assert_right_or_nothing(tmp_path) > 0
    put(store, 999, image_bytes(999, 5000))
    assert found(store_at(tmp_path, CAPACITY), 999) == image_bytes(999, 5000)
    assert verify_all(tmp_path)[1] == 0


def test_another_processes_image_is_found_without_a_restart(tmp_path):
    store = store_at(tmp_path, CAPACITY)
    put(store, 250, image_of(250))
    process = started(tmp_path, 1, 1, 3)
    process.communicate("go\n")
    assert [found(store, number) for number in (1, 2, 3)] == [
        image_of(number) for number in (1, 2, 3)
    ]
    assert sorted(store.used_ids(section(1).service)) == [1, 2, 3, 250]


def test_a_download_under_way_is_no_litter_to_a_second_mount(tmp_path):
    store = store_at(tmp_path)
    temp_file = store.temp_file()
    temp_file.write(b"first half ")
    (tmp_path / "incoming" / ("0" * 32)).write_bytes(b"of a killed process")
    store_at(tmp_path).load()
    assert downloads(tmp_path) == [temp_file.path]
    temp_file.write(b"second half")
    assert content(store.add(section(1), temp_file, None)) == b"first half second half"
    assert downloads(tmp_path) == []
    assert found(store_at(tmp_path), 1) == b"first half second half"


def test_clear_under_a_download_does_not_lose_it(tmp_path):
    store = store_at(tmp_path)
    temp_file = store.temp_file()
    temp_file.write(b"whole")
    store_at(tmp_path).clear()
    assert content(store.add(section(1), temp_file, None)) == b"whole"
    assert found(store_at(tmp_path), 1) == b"whole"


@pytest.mark.parametrize("lost", ["journal", "lock", "CACHEDIR.TAG", "incoming"])
def test_a_lost_journal_or_lock_is_created_again(tmp_path, lost):
    store = store_at(tmp_path, 64 * KIB)
    put(store, 1, b"one")
    path = tmp_path / lost
    path.rmdir() if path.is_dir() else path.unlink()
    put(store, 2, b"two")
    assert path.exists()
    assert found(store, 1) == b"one"
    assert found(store_at(tmp_path), 2) == b"two"


# Prints every directory that is listed between the start and the first answers.
FIRST_ANSWERS = """
import sys
listed = []
def watch(event, arguments):
    if event in ("os.listdir", "os.scandir", "glob.glob", "pathlib.Path.glob"):
        listed.append(str(arguments[0]))
from pathlib import Path
from store_helpers import found, section, store_at
sys.addaudithook(watch)
store = store_at(Path(sys.argv[1]))
assert found(store, 1) == b"one"
assert store.peek(section(1)).size_bytes == 3
print(*listed)
store.load()
assert len(listed) > 2, "the watch sees nothing"
"""


def test_a_new_store_answers_before_it_has_counted_its_files(tmp_path):
    put(store_at(tmp_path), 1, b"one")
    put(store_at(tmp_path), 2, b"two")
    done = subprocess.run(
        [sys.executable, "-c", FIRST_ANSWERS, str(tmp_path)],
        cwd=PROGRAM.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
