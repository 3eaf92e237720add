"""Answers on disk: right or not there, within their share, and never a failure."""

from __future__ import annotations

import gzip
import json
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from store_helpers import downloads, warnings_in

from allenfs.config import StoreSettings
from allenfs.store.record_files import RecordFiles, StoredRecord

KEY = ("dataset", "70813257")
STORED = StoredRecord(
    {"record": {"id": 70813257, "name": "µ"}, "images": [None]}, 1700 * 10**9
)


def records_at(directory, service="test"):
    return RecordFiles(StoreSettings(Path(directory), 2**24, service))


def files(directory):
    every = Path(directory, "records").rglob("*")
    return sorted(path for path in every if path.is_file())


json_answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    max_leaves=10,
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
keys = st.tuples(st.sampled_from(["dataset", "gene", "has-genes", "list"]), names)
kept_answers = st.builds(StoredRecord, json_answers, st.integers(0, 2**62))
ODD_NAMES = ["Mouse/a", "Mouse%2Fa", "Mouse", "Mouse/a/", "..", ".", "", "\0", "+"]
LONG_NAMES = ["a" * n for n in (199, 200, 201, 250, 300, 3000)]
LONG_NAMES += ["é" * n for n in (33, 34, 66, 100)]


@settings(max_examples=100, deadline=None)
@given(kept=st.dictionaries(keys, kept_answers, min_size=1, max_size=6))
@example(kept={("gene", text): StoredRecord(text, 1) for text in ODD_NAMES})
@example(kept={("gene", text): StoredRecord(text, 1) for text in LONG_NAMES})
def test_what_was_put_is_got_by_any_process_under_its_own_key_only(kept):
    with tempfile.TemporaryDirectory() as name:
        records = records_at(name)
        for key, one in kept.items():
            records.put(key, one)
        for other in (records, records_at(name)):
            assert {key: other.get(key) for key in kept} == kept
            assert other.get(("section", "5")) is None
        for path in files(name):
            assert path.parent.parent == Path(name, "records/test")
            assert len(path.name.encode()) <= 255


@settings(max_examples=50, deadline=None)
@given(texts=st.sets(names.filter(lambda text: 0 < len(text.encode()) < 60)))
def test_names_are_those_that_were_put(texts):
    with tempfile.TemporaryDirectory() as name:
        records = records_at(name)
        assert records.names("dataset") == []
        for text in texts:
            records.put(("dataset", text), STORED)
        records.put(("gene", "another"), STORED)
        assert sorted(records.names("dataset")) == sorted(texts)
        assert sorted(records_at(name).names("dataset")) == sorted(texts)


def test_an_answer_takes_the_place_of_the_one_there_was(tmp_path):
    records = records_at(tmp_path)
    records.put(KEY, STORED)
    records.put(KEY, StoredRecord([1], 5))
    assert records.get(KEY) == StoredRecord([1], 5)
    assert len(files(tmp_path)) == 1
    for _ in range(2):
        records.remove(KEY)
        assert records.get(KEY) is None
    assert files(tmp_path) == downloads(tmp_path) == []


# Damage


def damages(data):
    yield from (data[:length] for length in range(len(data)))
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            yield bytes(flipped)
    yield b"\0" * len(data)
    yield data + b"x"


def test_a_damaged_file_is_the_right_answer_or_none(tmp_path):
    records = records_at(tmp_path)
    records.put(KEY, STORED)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    dropped = 0
    for damaged in damages(whole):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damaged)
        kept = records.get(KEY)
        assert kept in (None, STORED)
        if kept is None:
            dropped += 1
            # it does not stand in the way a second time
            assert not path.exists()
            assert records.get(KEY) is None
    # all but what gzip's head says of itself: its time and its system
    assert dropped > 8 * len(whole)
    records.put(KEY, STORED)
    assert records.get(KEY) == STORED


FIELDS = {"allenfs": 1, "key": list(KEY), "answer": 1, "fetched_ns": 1}
CONTENTS = [
    *([], 5, None, {"allenfs": 1}),
    {name: FIELDS[name] for name in ("allenfs", "key", "answer")},
    *(FIELDS | {"fetched_ns": wrong} for wrong in (None, "x")),
    FIELDS | {"key": ["dataset", "5"]},
    *(FIELDS | {"allenfs": number} for number in (5, 6)),
]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"x", b"\x1f\x8b", gzip.compress(b"{"), gzip.compress(b"[" * 100_000)),
        *(gzip.compress(json.dumps(content).encode()) for content in CONTENTS),
    ],
    ids=len,
)
def test_a_file_with_other_content_is_damaged(tmp_path, data, caplog):
    records = records_at(tmp_path)
    records.put(KEY, STORED)
    files(tmp_path)[0].write_bytes(data)
    assert records.get(KEY) is None
    assert files(tmp_path) == []
    (line,) = warnings_in(caplog)
    assert KEY[1] in line
    assert "\n" not in line


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_answer_in_an_older_format_is_suspect(tmp_path, number):
    """Format 4 added the tiers of an image."""
    records = records_at(tmp_path)
    records.put(KEY, STORED)
    assert records.get(KEY) == STORED
    (path,) = files(tmp_path)
    content = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps(content | {"allenfs": number}).encode()))
    assert records.get(KEY) == STORED._replace(is_suspect=True)


def test_a_directory_that_cannot_be_looked_into_has_no_answer(tmp_path):
    """A name too long for the disk: `stat` fails, as it does without permission."""
    records = records_at(tmp_path, service="x" * 300)
    records.put(KEY, STORED)
    assert records.get(KEY) is None
    assert records.names("dataset") == []
    records.remove(KEY)


def test_threads_read_whole_answers_while_they_are_replaced(tmp_path, caplog):
    records = records_at(tmp_path)
    answers = [StoredRecord(["a line"] * size, size) for size in (0, 50, 300)]
    records.put(KEY, answers[0])
    ended = threading.Event()

    def read():
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
