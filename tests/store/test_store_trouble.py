"""Trouble with the directory is a warning; the reader gets the image all the same."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA = image_bytes(1, 30_001)


def test_a_disk_that_fills_up_anywhere_in_an_image_costs_no_read(
    small_disk: Callable[[int], Path],
) -> None:
    """Within the image, its footer, the journal: each byte may be the last."""
    sizes = [
        *[3 * PAGE - FOOTER_BYTES + more for more in (-1, 0, 1)],
        *[3 * PAGE + more for more in (-1, 0, 1)],
        *[4 * PAGE - FOOTER_BYTES + more for more in (-1, 0, 1)],
        *[4 * PAGE + more for more in (-1, 0, 1)],
    ]
    for number, size in enumerate(sizes):
        for with_journal in (True, False):
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
            assert content(put(store, number, data)) == data
            assert found(store_at(directory), number) in (None, data)
            assert downloads(directory) == []
            ballast.unlink()
            put(store, number, data)
            assert found(store_at(directory), number) == data


def test_small_writes_do_not_clear_disk_full(
    small_disk: Callable[[int], Path],
) -> None:
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


def test_verify_says_what_it_could_not_remove(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        put(store_at(tmp_path), number, DATA)
    os.truncate(stored_files(tmp_path)[0], 10)
    with read_only(tmp_path):
        assert verify_all(tmp_path) == (2, 1, 0)
    assert warnings_in(caplog)[-1].endswith("section/1/image.jpg: not removed")
    assert verify_all(tmp_path) == (2, 1, 1)
    assert warnings_in(caplog)[-1].endswith("section/1/image.jpg: removed")


def test_a_directory_of_the_kernel_costs_a_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/proc")
    store = store_at(tmp_path / "link" / "allenfs")
    store.load()
    put(store, 1, DATA)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("name", ["images", "images/test", "journal", "lock"])
def test_nothing_is_written_where_a_link_leads_that_came_while_it_was_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    store = store_at(tmp_path / "store")
    put(store, 1, DATA)
    path, target = tmp_path / "store" / name, tmp_path / "target"
    if path.is_dir():
        path.rename(target)
    else:
        path.unlink()
        target.write_text("a text of the user's own")
    path.symlink_to(target)
    before = snapshot(target)
    for number in (1, 2):
        put(store, number, image_bytes(number, 5000))
    with contextlib.suppress(OSError):
        store.evict(section(1))
    assert snapshot(target) == before
    assert len(warnings_in(caplog)) == 1


def snapshot(place: Path) -> dict[Path, bytes]:
    """What is there: of a file its bytes, of a directory those below it."""
    return {
        path: path.read_bytes() for path in (place, *place.rglob("*")) if path.is_file()
    }


def test_an_image_that_just_fits_is_kept_and_one_byte_more_is_not(
    tmp_path: Path,
) -> None:
    store = store_at(tmp_path / "store", 64 * KIB)
    most = store.capacity_bytes - FOOTER_BYTES
    put(store, 1, image_bytes(1, most + 1))
    assert found(store, 1) is None
    put(store, 2, image_bytes(2, most))
    assert found(store, 2) == image_bytes(2, most)
    for capacity_bytes in (1, 4095, 4096, 8191):  # nothing fits
        store = store_at(tmp_path / str(capacity_bytes), capacity_bytes)
        put(store, 1, DATA)
        assert found(store, 1) is None


def test_a_discarded_temp_file_leaves_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    temp_file = store.temp_file()
    temp_file.write(b"x" * MIB)
    temp_file.discard()
    assert downloads(tmp_path) == []
    assert stored_files(tmp_path) == []


def test_a_download_begun_again_forgets_its_first_bytes(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    full = small_disk(8)
    fill(full, leave_pages=2)
    kept = [tmp_path / "store"]
    for place in (*kept, full / "store"):
        store = store_at(place)
        temp_file = store.temp_file()
        temp_file.write(b"wrong" * 5000)
        temp_file.restart()
        temp_file.write(b"right")
        assert temp_file.view()[:] == b"right"
        assert content(store.add(section(1), temp_file, None)) == b"right"
        # what is kept is what its checksum says
        assert found(store_at(place), 1) == (b"right" if place in kept else None)


AT_EXIT = """
import atexit, os, sys
from pathlib import Path

def look():  # registered first: it runs after all others
    os.write(temp_file.file.fd, b"still open")
    os.fstat(journal._file.fd)
    print("open")

atexit.register(look)
from allenfs.store.index import Journal
from allenfs.store.stored_file import TempFile
folder = Path(sys.argv[1])
temp_file = TempFile(Path(folder, "incoming"), print)
journal = Journal(folder, 2**20)
journal.append("name", 4096)
"""


def test_a_download_that_goes_on_while_the_process_ends_keeps_its_file(
    tmp_path: Path,
) -> None:
    """Its descriptor's number would be the next one's, and the bytes in its file."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, tmp_path],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "open\n", "")


def test_whoever_comes_after_one_that_waited_in_vain_for_the_lock_waits_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(directory.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(
        directory.time, "sleep", lambda seconds: now_s.append(now_s.pop() + seconds)
    )
    store = store_at(tmp_path)
    put(store, 20, DATA)
    with held_still(tmp_path):
        for number in range(1, 13):
            put(store, number, DATA)
        assert 2 < now_s[0] < 4  # 2 s and then 0.05 s each, twice an image
    assert len(warnings_in(caplog)) == 1
    put(store, 13, DATA)
    assert found(store, 13) == DATA
    before_s = now_s[0]
    with held_still(tmp_path):
        put(store, 14, DATA)
    assert now_s[0] - before_s > 2  # it was free meanwhile: it may be so again
