"""A stored file that is not what was stored is noticed, removed, and got again."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import (
    FOOTER_BYTES,
    found,
    image_bytes,
    put,
    section,
    store_at,
    stored_file,
    verify_all,
)

from allenfs.errors import DamagedStoreError
from allenfs.store import image_files
from allenfs.store.stored_file import verify

DATA = image_bytes(1, 777)
LENGTH = len(DATA) + FOOTER_BYTES


@pytest.fixture(scope="module")
def directory():
    """One directory for all the examples of a property."""
    with tempfile.TemporaryDirectory(prefix="allenfs-damage-") as place:
        yield Path(place)


def assert_noticed_and_recovered(directory, path):
    """At the first look of a new store; then it is got again, and kept."""
    store = store_at(directory)
    assert found(store, 1) is None
    assert not path.exists()
    assert store.peek(section(1)) is None
    assert section(1).image_id not in store.used_ids(section(1).service)
    put(store, 1, DATA)
    assert found(store_at(directory), 1) == DATA


def flipped(whole, position, bit):
    return (
        whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :]
    )


PLACES = st.integers(0, LENGTH - 1)
DAMAGES = st.one_of(
    st.builds(
        lambda position, bit: lambda whole: flipped(whole, position, bit),
        PLACES,
        st.integers(0, 7),
    ),
    PLACES.map(lambda length: lambda whole: whole[:length]),
    st.builds(
        lambda position, junk: lambda whole: whole[:position] + junk + whole[position:],
        st.integers(0, LENGTH),
        st.binary(min_size=1, max_size=400),
    ),
    st.binary(max_size=700).map(lambda junk: lambda _: junk),
)


@settings(max_examples=400, deadline=None)
@given(damage=DAMAGES)
def test_a_flipped_bit_a_cut_an_insertion_or_any_other_file_is_noticed(
    directory, damage
):
    put(store_at(directory), 1, DATA)
    path = stored_file(directory, 1)
    path.write_bytes(damage(path.read_bytes()))
    assert_noticed_and_recovered(directory, path)


def test_every_bit_of_the_footer_counts(tmp_path):
    put(store_at(tmp_path), 1, DATA)
    path = stored_file(tmp_path, 1)
    whole, name = path.read_bytes(), str(path.relative_to(tmp_path / "images"))
    assert len(whole) == LENGTH
    with path.open("r+b") as file:
        fd = file.fileno()
        for position in range(len(DATA) - 2, LENGTH):
            for bit in range(8):
                os.pwrite(fd, bytes([whole[position] ^ 1 << bit]), position)
                with pytest.raises(DamagedStoreError):
                    verify(fd, name)
            os.pwrite(fd, whole[position : position + 1], position)
        assert verify(fd, name).size_bytes == len(DATA)


FIELDS = b'"sha256":"","modified_ns":0,"fetched_ns":0,"allenfs":1,"name":""}'
FOREIGN_FOOTERS = [
    *[b"[" * 254, b"[1]", b"null", b"{}", b"\xff\xfe"],
    *[b'{"size":' + size + b"," + FIELDS for size in (b"null", b"1e999", b"[]")],
    b'{"size":"' + b"9" * 240 + b'"}',
]


@pytest.mark.parametrize("facts", FOREIGN_FOOTERS, ids=lambda facts: repr(facts[:14]))
def test_a_footer_of_anything_else_is_noticed(tmp_path, facts):
    put(store_at(tmp_path), 1, DATA)
    path = stored_file(tmp_path, 1)
    path.write_bytes(DATA + b"\n" + facts.ljust(254) + b"\n" + b"0" * 64)
    assert_noticed_and_recovered(tmp_path, path)


def test_swapped_files_are_noticed(tmp_path):
    store = store_at(tmp_path)
    put(store, 1, DATA)
    put(store, 2, image_bytes(2, len(DATA)))
    one, two = stored_file(tmp_path, 1), stored_file(tmp_path, 2)
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    assert found(store_at(tmp_path), 2) is None
    assert not two.exists()
    assert_noticed_and_recovered(tmp_path, one)


def test_a_file_of_another_service_is_not_taken_for_this_ones(tmp_path):
    put(store_at(tmp_path, service="live"), 1, DATA)
    put(store_at(tmp_path, service="sample"), 1, image_bytes(9, 500))
    one = stored_file(tmp_path, 1, "live")
    shutil.copy(one, stored_file(tmp_path, 1, "sample"))
    assert found(store_at(tmp_path, service="sample"), 1) is None
    assert found(store_at(tmp_path, service="live"), 1) == DATA


def test_a_file_that_was_forgotten_is_verified_again(tmp_path, monkeypatch):
    """The last files are remembered; here damage that `stat` does not show."""
    monkeypatch.setattr(image_files, "MAX_VERIFIED", 10)
    store = store_at(tmp_path, 2**24)
    for number in range(30):
        put(store, number, image_bytes(number, 100))
    for number in (0, 29):
        path = stored_file(tmp_path, number)
        before = path.stat()
        with path.open("r+b") as file:
            file.write(b"\0")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found(store, 0) is None
    assert found(store, 29) is not None


def test_verify_reads_every_service_and_removes_only_what_is_damaged(tmp_path):
    for service in ("live", "sample"):
        store = store_at(tmp_path, service=service)
        for number in (1, 2, 3):
            put(store, number, image_bytes(number, 5000))
    assert verify_all(tmp_path) == (6, 0, 0)
    for service, number in (("live", 2), ("sample", 3)):
        with stored_file(tmp_path, number, service).open("r+b") as file:
            file.write(b"\0")
    assert verify_all(tmp_path) == (6, 2, 2)
    assert verify_all(tmp_path) == (4, 0, 0)
    assert found(store_at(tmp_path, service="live"), 2) is None
    assert found(store_at(tmp_path, service="live"), 3) == image_bytes(3, 5000)


def test_verify_removes_a_file_whose_service_has_no_valid_name(tmp_path):
    put(store_at(tmp_path, service="live"), 1, DATA)
    put(store_at(tmp_path, service="sample"), 1, DATA)
    images = tmp_path / "images"
    (images / "sample").rename(images / os.fsdecode(b"\xff"))
    assert verify_all(tmp_path) == (2, 1, 1)
    assert verify_all(tmp_path) == (1, 0, 0)
