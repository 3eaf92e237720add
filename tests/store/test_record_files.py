"""Answers on disk: right or not there, within their share, and never a failure."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from record_process import KEYS, answer_of
from store_helpers import put, store_at, warnings_in
from test_store_trouble import as_root, read_only

from allenfs.config import StoreSettings
from allenfs.store.record_files import Kept, RecordFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("record_process.py")
PAGE = 4096
KEY = ("dataset", "70813257")
KEPT = Kept({"record": {"id": 70813257, "name": "µ"}, "images": [None]}, 1700 * 10**9)


def settings_at(
    directory: Path, records_bytes: int = 2**20, service: str = "test"
) -> StoreSettings:
    return StoreSettings(directory, 16 * records_bytes, service)


def records_at(
    directory: Path, records_bytes: int = 2**20, service: str = "test"
) -> RecordFiles:
    return RecordFiles(settings_at(directory, records_bytes, service))


def files(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "records").rglob("*") if path.is_file())


def disk_bytes(directory: Path) -> int:
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in files(directory))


def used_at(directory: Path, key: tuple[str, str], seconds: int) -> None:
    (path,) = (directory / "records/test" / key[0]).glob(f"{key[1]}.*")
    os.utime(path, (seconds, seconds))


json_answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    max_leaves=10,
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
keys = st.tuples(st.sampled_from(["dataset", "gene", "has-genes", "list"]), names)


@settings(max_examples=100, deadline=None)
@given(
    kept=st.dictionaries(
        keys,
        st.builds(Kept, json_answers, st.integers(0, 2**62)),
        min_size=1,
        max_size=6,
    )
)
@example(
    kept={
        ("gene", "Mouse/a"): Kept(1, 1),
        ("gene", "Mouse%2Fa"): Kept(2, 1),
        ("gene", "Mouse"): Kept(3, 1),
        ("gene", "Mouse/a/"): Kept(4, 1),
        ("gene", ".."): Kept(5, 1),
        ("gene", "."): Kept(6, 1),
        ("gene", ""): Kept(7, 1),
        ("gene", "\0"): Kept(8, 1),
        ("gene", "+"): Kept(9, 1),
    }
)
@example(kept={("gene", "a" * n): Kept(n, 1) for n in (199, 200, 201, 250, 300, 3000)})
@example(kept={("gene", "é" * n): Kept(n, 1) for n in (33, 34, 66, 100)})
def test_what_was_put_is_got_by_any_process_under_its_own_key_only(
    kept: dict[tuple[str, str], Kept],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        records = records_at(Path(name))
        for key, one in kept.items():
            records.put(key, one)
        for other in (records, records_at(Path(name))):
            assert {key: other.get(key) for key in kept} == kept
            absent = ("section", "5")
            assert other.get(absent) is None
        for path in files(Path(name)):
            assert path.parent.parent == Path(name) / "records/test"
            assert len(path.name.encode()) <= 255


@settings(max_examples=50, deadline=None)
@given(texts=st.sets(names.filter(lambda text: 0 < len(text.encode()) < 60)))
def test_names_are_those_that_were_put(texts: set[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        records = records_at(Path(name))
        assert records.names("dataset") == []
        for text in texts:
            records.put(("dataset", text), KEPT)
        records.put(("gene", "another"), KEPT)
        assert sorted(records.names("dataset")) == sorted(texts)
        assert sorted(records_at(Path(name)).names("dataset")) == sorted(texts)


def test_a_stranger_among_the_files_is_no_answer_and_is_let_be(tmp_path: Path) -> None:
    records = records_at(tmp_path, records_bytes=PAGE)
    records.put(KEY, KEPT)
    strangers = [
        tmp_path / "records/test/dataset/77",
        tmp_path / "records/test/dataset/78.json",
        tmp_path / "records/test/79.json.gz",
        tmp_path / "records/test/Not.Ours/80.json.gz",
    ]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10 * PAGE)
    assert records.names("dataset") == [KEY[1]]
    assert records.sizes() == {"test": (1, PAGE)}
    records.put(("dataset", "2"), KEPT)
    assert records.get(("dataset", "2")) == KEPT
    records.clear()
    assert files(tmp_path) == sorted(strangers)


def test_an_answer_takes_the_place_of_the_one_there_was(tmp_path: Path) -> None:
    records = records_at(tmp_path)
    records.put(KEY, KEPT)
    records.put(KEY, Kept([1], 5))
    assert records.get(KEY) == Kept([1], 5)
    assert len(files(tmp_path)) == 1
    records.remove(KEY)
    assert records.get(KEY) is None
    assert records.get(KEY) is None
    records.remove(KEY)
    assert files(tmp_path) == []
    assert list((tmp_path / "incoming").iterdir()) == []


def test_answers_of_services_are_kept_apart_and_cleared_together(
    tmp_path: Path,
) -> None:
    one, other = (
        records_at(tmp_path, service="one"),
        records_at(tmp_path, service="two"),
    )
    one.put(KEY, Kept("one", 1))
    assert other.get(KEY) is None
    assert other.names("dataset") == []
    other.put(KEY, Kept("two", 2))
    other.remove(("dataset", "5"))
    assert one.get(KEY) == Kept("one", 1)
    assert other.get(KEY) == Kept("two", 2)
    one.clear()
    assert one.get(KEY) is other.get(KEY) is None
    assert files(tmp_path) == []


def test_answers_are_their_owners_only(tmp_path: Path) -> None:
    store = tmp_path / "store"
    records_at(store).put(KEY, KEPT)
    assert store.stat().st_mode & 0o777 == 0o700
    (path,) = files(store)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


# Damage


def _bytes_of(data: bytes) -> Iterator[bytes]:
    yield from (data[:length] for length in range(len(data)))
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            yield bytes(flipped)
    yield b"\0" * len(data)
    yield data + b"x"


def test_a_damaged_file_is_the_right_answer_or_none(tmp_path: Path) -> None:
    records = records_at(tmp_path)
    records.put(KEY, KEPT)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    dropped = 0
    for damaged in _bytes_of(whole):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damaged)
        kept = records.get(KEY)
        assert kept in (None, KEPT)
        if kept is None:
            dropped += 1
            # it does not stand in the way a second time
            assert not path.exists()
            assert records.get(KEY) is None
    # all but what gzip's head says of itself: its time and its system
    assert dropped > 8 * len(whole)
    records.put(KEY, KEPT)
    assert records.get(KEY) == KEPT


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b", gzip.compress(b"{", mtime=0)])
def test_damage_is_a_warning_of_one_line(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    records = records_at(tmp_path)
    records.put(KEY, KEPT)
    files(tmp_path)[0].write_bytes(data)
    assert records.get(KEY) is None
    assert records.get(KEY) is None
    (line,) = warnings_in(caplog)
    assert KEY[1] in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        5,
        None,
        {"allenfs": 1},
        {"allenfs": 1, "key": list(KEY)},
        {"allenfs": 1, "key": list(KEY), "answer": 1},
        {"allenfs": 1, "key": list(KEY), "answer": 1, "fetched_ns": None},
        {"allenfs": 1, "key": list(KEY), "answer": 1, "fetched_ns": "x"},
        {"allenfs": 1, "key": ["dataset", "5"], "answer": 1, "fetched_ns": 1},
        {"allenfs": 2, "key": list(KEY), "answer": 1, "fetched_ns": 1},
        {"allenfs": 3, "key": list(KEY), "answer": 1, "fetched_ns": 1},
    ],
)
def test_a_file_that_says_something_else_is_no_answer(
    tmp_path: Path, content: Any
) -> None:
    records = records_at(tmp_path)
    records.put(KEY, KEPT)
    (path,) = files(tmp_path)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    assert records.get(KEY) is None
    records.put(KEY, KEPT)
    assert records.get(KEY) == KEPT


def test_a_deeply_nested_file_is_damage(tmp_path: Path) -> None:
    records = records_at(tmp_path)
    records.put(KEY, KEPT)
    (path,) = files(tmp_path)
    path.write_bytes(gzip.compress(b"[" * 100_000))
    assert records.get(KEY) is None
    records.put(KEY, KEPT)
    assert records.get(KEY) == KEPT


# The share


def sized(number: int, pages: int) -> Kept:
    """An answer of so many pages on disk."""
    chance = random.Random(number)
    return Kept(chance.randbytes(pages * PAGE - 700).decode("latin-1"), number)


def pages_of(records: RecordFiles, directory: Path, kept: Kept) -> int:
    records.put(("list", "measured"), kept)
    pages = disk_bytes(directory) // PAGE
    records.remove(("list", "measured"))
    return pages


def test_the_share_is_never_exceeded_and_the_longest_unused_goes_first(
    tmp_path: Path,
) -> None:
    one = pages_of(records_at(tmp_path / "measure"), tmp_path / "measure", sized(0, 1))
    records = records_at(tmp_path, records_bytes=4 * one * PAGE)
    for number in range(1, 5):
        records.put(("dataset", str(number)), sized(number, 1))
        used_at(tmp_path, ("dataset", str(number)), 1000 + number)
        assert disk_bytes(tmp_path) == number * one * PAGE
    assert records.get(("dataset", "1")) == sized(1, 1)  # used just now
    records.put(("dataset", "5"), sized(5, 1))
    assert sorted(records.names("dataset")) == ["1", "3", "4", "5"]
    records.put(("dataset", "6"), sized(6, 1))
    assert sorted(records.names("dataset")) == ["1", "4", "5", "6"]
    assert disk_bytes(tmp_path) == 4 * one * PAGE


def test_the_share_is_that_of_all_services_together(tmp_path: Path) -> None:
    one = pages_of(records_at(tmp_path / "measure"), tmp_path / "measure", sized(0, 1))
    mine = records_at(tmp_path, records_bytes=2 * one * PAGE)
    other = records_at(tmp_path, records_bytes=2 * one * PAGE, service="other")
    other.put(KEY, sized(1, 1))
    mine.put(KEY, sized(2, 1))
    mine.put(("dataset", "3"), sized(3, 1))
    assert disk_bytes(tmp_path) <= 2 * one * PAGE
    assert other.get(KEY) is None


def test_the_share_holds_when_two_keep_in_turn(tmp_path: Path) -> None:
    """Each has to notice what the other one kept since its own last count."""
    one = pages_of(records_at(tmp_path / "measure"), tmp_path / "measure", sized(0, 1))
    caches = [records_at(tmp_path, records_bytes=6 * one * PAGE) for _ in range(2)]
    for number in range(1, 19):
        key = "dataset", str(number)
        caches[number % 2].put(key, sized(number, 1))
        assert disk_bytes(tmp_path) == min(number, 6) * one * PAGE
        used_at(tmp_path, key, 1000 + number)
    kept = sorted(map(int, caches[0].names("dataset")))
    assert kept == list(range(13, 19))


def test_images_and_records_of_other_processes_are_counted_apart(
    tmp_path: Path,
) -> None:
    images, records = store_at(tmp_path, 2**24), records_at(tmp_path)
    for cache in (images, records):
        cache.load()
    put(store_at(tmp_path, 2**24), 1, b"bytes")
    records_at(tmp_path).put(KEY, KEPT)
    for cache in (images, records):
        cache.catch_up()
        assert (cache.count, cache.used_bytes) == (1, PAGE)


def test_an_answer_larger_than_the_share_drives_nothing_out(tmp_path: Path) -> None:
    records = records_at(tmp_path, records_bytes=2 * PAGE)
    records.put(KEY, KEPT)
    records.put(("dataset", "2"), sized(2, 8))
    assert records.get(("dataset", "2")) is None
    assert records.get(KEY) == KEPT
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_looked_for_answer_counts_as_used_also_by_another_process(
    tmp_path: Path,
) -> None:
    one = pages_of(records_at(tmp_path / "measure"), tmp_path / "measure", sized(0, 1))
    records = records_at(tmp_path, records_bytes=2 * one * PAGE)
    for number in (1, 2):
        records.put(("dataset", str(number)), sized(number, 1))
        used_at(tmp_path, ("dataset", str(number)), number)
    assert records_at(tmp_path).get(("dataset", "1")) is not None
    records.put(("dataset", "3"), sized(3, 1))
    assert sorted(records.names("dataset")) == ["1", "3"]


def test_the_share_holds_when_several_make_room_at_once(tmp_path: Path) -> None:
    one = pages_of(records_at(tmp_path / "measure"), tmp_path / "measure", sized(0, 1))
    caches = [records_at(tmp_path, one * PAGE) for _ in range(2)]
    barrier = threading.Barrier(4)

    def put(worker: int) -> None:
        for number in range(20):
            barrier.wait()
            key = "list", f"{worker} {number}"
            caches[worker % 2].put(key, sized(worker, 1))

    with ThreadPoolExecutor(4) as pool:
        puts = [pool.submit(put, worker) for worker in range(4)]
    assert [done.exception() for done in puts] == [None] * 4
    assert disk_bytes(tmp_path) == one * PAGE


# Trouble


def test_a_full_disk_is_one_warning_and_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        place = tmp_path / "disk"
        place.mkdir()
        options = f"size={32 * PAGE},uid={os.getuid()},mode=700"
        as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place))
        stack.callback(as_root, "umount", "-l", str(place))
        records = records_at(place / "store")
        records.put(KEY, KEPT)
        ballast = place / "ballast"
        free = os.statvfs(place)
        ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize))
        for number in (1, 2):
            records.put(("dataset", str(number)), sized(number, 4))
            assert records.get(("dataset", str(number))) is None
        assert records.get(KEY) == KEPT
        assert len(warnings_in(caplog)) == 1
        assert list((place / "store/incoming").iterdir()) == []
        ballast.unlink()
        records.put(("dataset", "1"), sized(1, 4))
        assert records.get(("dataset", "1")) == sized(1, 4)
        assert len(warnings_in(caplog)) == 1


def test_a_read_only_store_is_read_and_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    records = records_at(store)
    records.put(KEY, KEPT)
    with read_only(store):
        assert records.get(KEY) == KEPT
        assert warnings_in(caplog) == []
        for number in (1, 2, 3):
            records.put(("dataset", str(number)), KEPT)
            records.remove(KEY)
            assert records.get(("dataset", str(number))) is None
        with pytest.raises(OSError, match="Read-only"):
            records.clear()
        assert records.get(KEY) == KEPT
        assert len(warnings_in(caplog)) == 1
    records.put(("dataset", "1"), KEPT)
    assert records.get(("dataset", "1")) == KEPT
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("place", ["store", "store/records", "store/records/test"])
def test_a_file_in_the_place_of_a_directory_costs_one_warning(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody's")
    records = records_at(tmp_path / "store")
    for _ in range(3):
        records.put(KEY, KEPT)
        assert records.get(KEY) is None
        assert records.get(KEY) is None
        assert records.names("dataset") == []
    with contextlib.suppress(OSError):
        records.clear()
    assert path.read_text() == "somebody's"
    assert len(warnings_in(caplog)) == 1
    path.unlink()
    records.put(KEY, KEPT)
    assert records.get(KEY) == KEPT


def test_a_directory_that_cannot_be_looked_into_has_no_answer(tmp_path: Path) -> None:
    """A name too long for the disk: `stat` says so, and so does every user's EACCES."""
    records = records_at(tmp_path, service="x" * 300)
    records.put(KEY, KEPT)
    assert records.get(KEY) is None
    assert records.names("dataset") == []
    records.remove(KEY)
    assert records.get(KEY) is None


# Several at once


def test_processes_share_a_store(tmp_path: Path) -> None:
    capacity = 16 * 64 * PAGE
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                str(PROGRAM),
                str(tmp_path),
                str(capacity),
                str(seed),
                "150",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in range(3)
    ]
    for process in processes:
        said, _ = process.communicate(timeout=100)
        assert said == "done\n"
        assert process.returncode == 0
    records = records_at(tmp_path)
    there = [(key, records.get(key)) for key in KEYS]
    assert any(kept is not None for _, kept in there)
    for key, kept in there:
        if kept is not None:
            assert kept.answer == answer_of(key, len(kept.answer) - 1)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_threads_read_whole_answers_while_they_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    records = records_at(tmp_path)
    answers = [Kept(answer_of(KEY, size), size) for size in (0, 50, 300)]
    records.put(KEY, answers[0])
    ended = threading.Event()

    def read() -> int:
        looks = 0
        while not ended.is_set():
            assert records.get(KEY) in answers
            looks += 1
        return looks

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(300):
                records.put(KEY, answers[number % 3])
        finally:
            ended.set()
        assert all(reader.result() > 0 for reader in readers)
    assert warnings_in(caplog) == []


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _of_somebody_else(path: Path) -> None:
    path.write_bytes(gzip.compress(b"{}"))
    os.chown(path, 65534, 65534)


def _bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(b"[" + b" " * 2**27))


@pytest.mark.parametrize("stranger", [_pipe, _link, _of_somebody_else, _bomb])
def test_a_stranger_in_an_answers_place_is_replaced(
    tmp_path: Path, stranger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    records = records_at(tmp_path)
    records.put(KEY, KEPT)
    (path,) = files(tmp_path)
    path.unlink()
    stranger(path)
    assert records.get(KEY) is None
    assert len(warnings_in(caplog)) == 1
    records.put(KEY, KEPT)
    assert records.get(KEY) == KEPT
    assert records.verify() == (1, 0, 0)
