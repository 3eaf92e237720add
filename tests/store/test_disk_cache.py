"""What images and records have in common: one disk cache keeps both."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from store_helpers import (
    PAGE,
    content,
    downloads,
    fill,
    free_pages,
    image_bytes,
    put,
    read_only,
    section,
    warnings_in,
)

from allenfs.config import StoreSettings
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import RecordFiles, StoredRecord


@dataclass
class Entries:
    """A cache of one kind whose entries are numbers; each takes one page, or more."""

    kind: str
    directory: Path
    pages: int = 100
    service: str = "test"

    def __post_init__(self):
        settings = StoreSettings(self.directory, 2**24, self.service)
        kinds = {"images": ImageFiles, "records": RecordFiles}
        self.cache = kinds[self.kind](settings)
        self.cache.capacity_bytes = self.pages * PAGE

    def put(self, *numbers, pages=1):
        for number in numbers:
            data = image_bytes(number, (pages - 1) * PAGE + 2000)
            if self.kind == "images":
                put(self.cache, number, data)
            else:
                answer = base64.b64encode(data).decode()
                self.cache.put(("list", str(number)), StoredRecord(answer, number))

    def has(self, number, pages=1):
        """Whether an entry is there, which has to be the right one."""
        data = image_bytes(number, (pages - 1) * PAGE + 2000)
        if self.kind == "images":
            found = content(self.cache.find(section(number)))
        else:
            kept = self.cache.get(("list", str(number)))
            found = kept and base64.b64decode(kept.answer)
        assert found in (None, data)
        return found is not None

    def file(self, number):
        images = self.kind == "images"
        name = f"section/{number}/image.jpg" if images else f"list/{number}.json.gz"
        return self.directory / self.kind / self.service / name

    def files(self):
        every = (self.directory / self.kind).rglob("*")
        return sorted(path for path in every if path.is_file())

    def numbers(self):
        """The entries on disk."""
        return {number for number in range(100) if self.file(number).exists()}

    def pages_on_disk(self):
        return sum(-(-path.stat().st_size // PAGE) for path in self.files())


@pytest.fixture(params=["images", "records"])
def at(request):
    """Makes a cache of each kind: directory, pages, service."""
    return lambda *where, **options: Entries(request.param, *where, **options)


@pytest.fixture
def entries(at, tmp_path):
    return at(tmp_path / "store")


# What is kept


@pytest.mark.parametrize(("reader", "writer"), [(1, 0), (0, 1)])
def test_the_longest_unused_goes_first_whichever_process_used_it(
    at, tmp_path, reader, writer
):
    caches = [at(tmp_path, pages=4) for _ in range(2)]
    caches[0].put(1, 2, 3, 4)
    assert caches[reader].has(1)
    caches[writer].put(5)
    assert caches[0].numbers() == {1, 3, 4, 5}
    caches[writer].put(6)
    assert caches[0].numbers() == {1, 4, 5, 6}


def test_a_smaller_limit_holds_from_the_start_of_the_next_mount(at, tmp_path):
    at(tmp_path).put(*range(1, 9))
    at(tmp_path, pages=3).cache.load()
    assert at(tmp_path).numbers() == {6, 7, 8}


def test_the_limit_holds_when_several_services_make_room_at_once(at, tmp_path):
    """Each has to notice what the other ones kept since its own last count."""
    caches = [at(tmp_path, pages=5, service=service) for service in "aab"]
    barrier = threading.Barrier(6, timeout=60)

    def work(worker):
        cache = caches[worker % 3]
        for number in range(20):
            barrier.wait()
            cache.put(number + 7 * worker)
            cache.has(number + 7 * worker + 7)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for one in caches:
        one.cache.catch_up()
        assert one.cache.used_bytes == one.pages_on_disk() * PAGE == 5 * PAGE


def test_what_is_larger_than_the_limit_drives_nothing_out(at, tmp_path, caplog):
    entries = at(tmp_path, pages=3)
    entries.put(1)
    entries.put(2, pages=8)
    assert entries.numbers() == {1}
    assert entries.has(1)
    assert downloads(tmp_path) == []
    assert warnings_in(caplog) == []
    entries.put(3)
    assert entries.has(3)


def test_services_are_kept_apart_and_cleared_together(at, tmp_path):
    caches = {name: at(tmp_path, service=name) for name in ("a", "b", "h:80")}
    for number, cache in enumerate(caches.values(), 1):
        cache.put(number)
    for number, name in enumerate(caches, 1):
        again = at(tmp_path, service=name)
        assert [one for one in (1, 2, 3) if again.has(one)] == [number]
    assert caches["a"].cache.sizes() == dict.fromkeys(caches, (1, PAGE))
    assert caches["a"].cache.clear() == 3
    assert not any(cache.has(number) for cache in caches.values() for number in (1, 2))
    assert caches["a"].files() == []


def test_images_and_records_of_other_processes_are_counted_apart(tmp_path):
    caches = [Entries(kind, tmp_path) for kind in ("images", "records")]
    for one in caches:
        one.cache.load()
    for one in caches:
        Entries(one.kind, tmp_path).put(1)
    for one in caches:
        one.cache.catch_up()
        assert (one.cache.count, one.cache.used_bytes) == (1, PAGE)


def test_clear_under_a_loaded_cache_leaves_it_working(at, tmp_path):
    entries = at(tmp_path, pages=4)
    entries.put(1, 2, 3)
    assert at(tmp_path).cache.clear() == 3
    assert not any(entries.has(number) for number in (1, 2, 3))
    for number in range(1, 20):
        entries.put(number)
        assert entries.pages_on_disk() <= 4
    assert entries.has(19)
    assert entries.cache.used_bytes == 4 * PAGE


def test_a_file_or_the_whole_directory_may_go_and_come_back(entries, tmp_path, caplog):
    entries.put(1)
    entries.file(1).unlink()
    assert not entries.has(1)
    entries.put(1)
    assert entries.has(1)
    entries.directory.rename(tmp_path / "aside")
    assert not entries.has(1)
    entries.put(2)
    assert entries.has(2)
    assert entries.cache.used_bytes == PAGE
    assert warnings_in(caplog) == []


# Damage


def test_damage_is_a_warning_of_one_line_and_its_room_is_free_again(entries, caplog):
    entries.put(1, 2, 3)
    os.truncate(entries.file(2), 5)
    assert not entries.has(2)
    assert not entries.has(2)
    (line,) = warnings_in(caplog)
    assert str(entries.file(2)).endswith(line.split(":")[1].strip())
    assert "\n" not in line
    assert entries.cache.used_bytes == 2 * PAGE
    entries.put(2)
    assert entries.has(2)


def link_to_zeros(path):
    path.symlink_to("/dev/zero")


def file_of_another_user(path):
    path.write_bytes(b"x")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, link_to_zeros, file_of_another_user]
)
def test_a_foreign_file_in_place_of_an_entry_is_replaced(entries, make, caplog):
    entries.put(1)
    entries.file(1).unlink()
    make(entries.file(1))
    assert not entries.has(1)
    assert len(warnings_in(caplog)) == 1
    entries.put(1)
    assert entries.has(1)
    assert entries.cache.verify() == (1, 0, 0)


FOREIGN = {
    "images": [
        "section/77.jpg",
        "section/07/a.jpg",
        "other/1/a.jpg",
        "section/1/a.png",
    ],
    "records": ["list/77", "list/78.json", "79.json.gz", "Not.Ours/80.json.gz"],
}


def test_what_is_no_entry_is_neither_counted_nor_removed(at, tmp_path):
    entries = at(tmp_path, pages=1)
    entries.put(1)
    own = entries.directory / entries.kind / "test"
    foreign = [own / name for name in FOREIGN[entries.kind]]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10 * PAGE)
    again = at(tmp_path, pages=1)
    again.put(2)
    assert again.cache.sizes() == {"test": (1, PAGE)}
    assert again.has(2)
    assert again.cache.clear() == 1
    assert again.files() == sorted(foreign)


# Failures


@pytest.mark.parametrize(("is_used", "left_pages"), [(True, 3), (False, 0)])
def test_a_full_disk_is_one_warning_and_recovers(
    at, small_disk, caplog, is_used, left_pages
):
    place = small_disk(64)
    entries = at(place / "store")
    if is_used:
        entries.put(1)
    ballast = fill(place, leave_pages=left_pages)
    for number in (2, 3):
        entries.put(number, pages=8)
        assert not entries.has(number)
    assert entries.has(1) == is_used
    assert free_pages(place) == left_pages
    ballast.unlink()
    entries.put(2, pages=8)
    assert at(place / "store").has(2, pages=8)
    assert downloads(place / "store") == []
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_read_only_store_is_read_and_costs_one_warning(
    at, tmp_path, caplog, is_loaded
):
    at(tmp_path).put(1)
    entries = at(tmp_path)
    if is_loaded:
        entries.cache.load()
    with read_only(tmp_path):
        assert entries.has(1)
        assert warnings_in(caplog) == []
        entries.cache.load()
        for number in (2, 3):
            entries.put(number)
            assert not entries.has(number)
        with pytest.raises(OSError, match="Read-only"):
            entries.cache.clear()
        assert entries.has(1)
        assert entries.cache.used_bytes == PAGE
    entries.put(2)
    assert entries.has(2)
    assert at(tmp_path).has(1)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    "name", ["", "incoming", "KIND", "KIND/test", "journal", "lock"]
)
def test_a_foreign_thing_in_place_of_the_stores_own_is_one_warning(
    entries, caplog, name
):
    path = entries.directory / name.replace("KIND", entries.kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    is_file = path.name not in ("journal", "lock")
    path.write_text("somebody's") if is_file else path.mkdir()
    for number in (1, 2):
        entries.put(number)
        assert not entries.has(number)
    with contextlib.suppress(OSError):
        entries.cache.clear()
    assert path.read_text() == "somebody's" if is_file else path.is_dir()
    (line,) = warnings_in(caplog)
    assert str(entries.directory) in line
    assert entries.cache.used_bytes == 0
    path.unlink() if is_file else path.rmdir()
    entries.put(1)
    assert entries.has(1)
