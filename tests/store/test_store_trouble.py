"""Failures of the directory are a warning; the reader gets the image anyway."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from store_helpers import (
    FOOTER_BYTES,
    KIB,
    MIB,
    PAGE,
    content,
    downloads,
    fill,
    found,
    held_still,
    image_bytes,
    put,
    read_only,
    section,
    store_at,
    stored_files,
    verify_all,
    warnings_in,
)

from allenfs.config import StoreSettings
from allenfs.store import directory
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles

DATA = image_bytes(1, 30_001)


@pytest.mark.parametrize("with_journal", [True, False])
def test_a_disk_that_fills_up_anywhere_in_an_image_costs_no_read(
    small_disk, with_journal
):
    """Within the image, its footer, the journal: each byte may be the last."""
    ends = [pages * PAGE - footer for pages in (3, 4) for footer in (FOOTER_BYTES, 0)]
    sizes = [end + more for end in ends for more in (-1, 0, 1)]
    for number, size in enumerate(sizes):
        place = small_disk(16)
        directory = place / "store"
        store = store_at(directory)
        store.load()
        if with_journal:
            put(store, 900, b"a page of journal")
            (path,) = stored_files(directory)
            path.unlink()
        ballast = fill(place, leave_pages=3)
        data = image_bytes(number, size)
        put(store, number, data)
        assert found(store_at(directory), number) in (None, data)
        assert downloads(directory) == []
        ballast.unlink()
        put(store, number, data)
        assert found(store_at(directory), number) == data


def test_small_writes_do_not_clear_disk_full(small_disk):
    directory = small_disk(8192) / "store"
    store_directory = StoreDirectory(directory)
    store = ImageFiles(StoreSettings(directory, 32 * MIB, "test"), store_directory)
    put(store, 1, b"before")
    assert store_directory.check() is None
    ballast = fill(directory.parent, leave_pages=40)
    put(store, 2, image_bytes(2, 50 * PAGE))
    assert store_directory.failure == "No space left on device"
    assert store_directory.check() == store_directory.failure
    assert store.used_bytes == PAGE
    ballast.unlink()
    assert store_directory.check() is None


def test_verify_says_what_it_could_not_remove(tmp_path, caplog):
    for number in (1, 2):
        put(store_at(tmp_path), number, DATA)
    os.truncate(stored_files(tmp_path)[0], 10)
    with read_only(tmp_path):
        assert verify_all(tmp_path) == (2, 1, 0)
    assert warnings_in(caplog)[-1].endswith("section/1/image.jpg: not removed")
    assert verify_all(tmp_path) == (2, 1, 1)
    assert warnings_in(caplog)[-1].endswith("section/1/image.jpg: removed")


def test_a_directory_of_the_kernel_costs_a_warning(caplog, tmp_path):
    (tmp_path / "link").symlink_to("/proc")
    store = store_at(tmp_path / "link" / "allenfs")
    store.load()
    put(store, 1, DATA)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("name", ["images", "images/test", "journal", "lock"])
def test_nothing_is_written_through_a_link(tmp_path, caplog, name):
    def snapshot():
        every = (target, *target.rglob("*"))
        return {path: path.read_bytes() for path in every if path.is_file()}

    store = store_at(tmp_path / "store")
    put(store, 1, DATA)
    path, target = tmp_path / "store" / name, tmp_path / "target"
    if path.is_dir():
        path.rename(target)
    else:
        path.unlink()
        target.write_text("a text of the user's own")
    path.symlink_to(target)
    before = snapshot()
    for number in (1, 2):
        put(store, number, image_bytes(number, 5000))
    with contextlib.suppress(OSError):
        store.evict(section(1))
    assert snapshot() == before
    assert len(warnings_in(caplog)) == 1


def test_an_image_that_just_fits_is_kept_and_one_byte_more_is_not(tmp_path):
    store = store_at(tmp_path / "store", 64 * KIB)
    most = store.capacity_bytes - FOOTER_BYTES
    put(store, 1, image_bytes(1, most + 1))
    assert found(store, 1) is None
    put(store, 2, image_bytes(2, most))
    assert found(store, 2) == image_bytes(2, most)
    nothing_fits = store_at(tmp_path / "small", 1)
    put(nothing_fits, 1, DATA)
    assert found(nothing_fits, 1) is None


def test_a_discarded_temp_file_leaves_nothing(tmp_path):
    temp_file = store_at(tmp_path).temp_file()
    temp_file.write(b"x" * MIB)
    temp_file.discard()
    assert downloads(tmp_path) == stored_files(tmp_path) == []


@pytest.mark.parametrize("is_full", [False, True])
def test_a_download_begun_again_forgets_its_first_bytes(small_disk, is_full):
    place = small_disk(64)
    if is_full:
        fill(place, leave_pages=2)
    store = store_at(place / "store")
    temp_file = store.temp_file()
    temp_file.write(b"wrong" * 5000)
    temp_file.restart()
    temp_file.write(b"right")
    assert temp_file.view()[:] == b"right"
    assert content(store.add(section(1), temp_file, None)) == b"right"
    # what is kept is what its checksum says
    assert found(store_at(place / "store"), 1) == (None if is_full else b"right")


AT_EXIT = """
import atexit, os, sys
from pathlib import Path

def look():  # registered first: it runs after all others
    os.write(temp_file.file.fd, b"still open")
    print(*sorted(open_files()))

def open_files():
    for fd in os.listdir("/proc/self/fd"):
        path = Path(f"/proc/self/fd/{fd}").resolve()
        if path.is_relative_to(folder):
            yield path.relative_to(folder)

atexit.register(look)
from allenfs.store.index import Journal
from allenfs.store.stored_file import TempFile
folder = Path(sys.argv[1])
temp_file = TempFile(folder / "incoming", print)
journal = Journal(folder, 2**20)
journal.append("name", 4096)
"""


def test_a_download_that_goes_on_while_the_process_ends_keeps_its_file(tmp_path):
    """Its descriptor's number would be the next one's, and the bytes in its file."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, tmp_path],
        check=False,
        capture_output=True,
        text=True,
    )
    out = (done.returncode, done.stdout, done.stderr)
    assert out == (0, "incoming journal\n", "")


def test_after_one_timeout_of_the_lock_others_wait_little(
    tmp_path, monkeypatch, caplog
):
    now_s = 0.0

    def sleep(seconds):
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(directory.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(directory.time, "sleep", sleep)
    store = store_at(tmp_path)
    put(store, 20, DATA)
    with held_still(tmp_path):
        for number in range(1, 13):
            put(store, number, DATA)
        assert 2 < now_s < 4  # 2 s and then 0.05 s each, twice an image
    assert len(warnings_in(caplog)) == 1
    put(store, 13, DATA)
    assert found(store, 13) == DATA
    before_s = now_s
    with held_still(tmp_path):
        put(store, 14, DATA)
    assert now_s - before_s > 2  # it was free meanwhile: it may be so again
