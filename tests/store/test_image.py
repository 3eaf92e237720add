"""An open image: slices of immutable bytes, from the store and from memory."""

from __future__ import annotations

import gc
import os
import stat
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import (
    STARTED_NS,
    content,
    found,
    held_still,
    image_bytes,
    open_files,
    put,
    section,
    store_at,
    stored_file,
    stored_files,
    warnings_in,
)

from allenfs.errors import DamagedStoreError
from allenfs.model.images import ImageRequest, ImageService, Roi

DATA = image_bytes(1, 12_347)
DAY_NS = 86_400 * 10**9


@pytest.fixture(params=["added", "found", "not kept"])
def image(request, tmp_path):
    capacity_bytes = 4096 if request.param == "not kept" else 2**20
    store = store_at(tmp_path, capacity_bytes)
    added = put(store, 1, DATA)
    return store_at(tmp_path).find(section(1)) if request.param == "found" else added


BOUNDS = st.integers(0, 13_000) | st.sampled_from([len(DATA), 2**40, 2**62])


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(offset=BOUNDS, size=BOUNDS)
def test_a_read_is_a_slice_of_the_bytes_and_never_the_footer(image, offset, size):
    assert image.read(offset, size) == DATA[offset : offset + size]


def test_an_open_image_outlives_its_file(tmp_path):
    store = store_at(tmp_path)
    image = put(store, 1, DATA)
    again = store.find(section(1))
    assert store.clear() == 1
    assert content(image) == content(again) == DATA


def test_a_file_cut_while_open_is_an_error_not_a_short_read(tmp_path):
    image = put(store_at(tmp_path), 1, DATA)
    os.truncate(stored_file(tmp_path, 1), 5000)
    assert image.read(0, 5000) == DATA[:5000]
    for offset, size in ((0, 5001), (4999, 2), (5000, 1), (6000, 100)):
        with pytest.raises(DamagedStoreError):
            image.read(offset, size)
    assert image.read(len(DATA), 100) == b""


def test_unreferenced_images_and_stores_have_no_files_open(tmp_path):
    put(store_at(tmp_path), 1, DATA)
    gc.collect()
    before = open_files()
    images = [store_at(tmp_path).find(section(1)) for _ in range(20)]
    assert open_files() == before + 20
    for _ in range(20):
        put(store_at(tmp_path), 1, DATA)
    del images
    gc.collect()
    assert open_files() == before


def test_an_image_that_is_being_closed_is_not_returned(tmp_path, monkeypatch):
    """A lookup while its file is being closed must open it again."""
    image = put(store_at(tmp_path), 1, DATA)
    gc.collect()
    live, given, close = weakref.WeakValueDictionary({1: image}), [], os.close

    def look_and_close(fd):
        given.append(live.get(1))
        close(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", look_and_close)
        del image
        gc.collect()
    assert given == [None]


def test_size_and_times_are_the_same_before_and_after_a_restart(tmp_path):
    given = [None, 0, STARTED_NS - DAY_NS, 10**9 * 2**32]
    for number, modified_ns in enumerate(given, 1):
        store = store_at(tmp_path, clock_ns=lambda: STARTED_NS + 123_456_789)
        assert store.peek(section(number)) is None
        facts = put(store, number, DATA, modified_ns).facts
        # whole seconds: every file system keeps them
        expected = STARTED_NS if modified_ns is None else modified_ns
        assert facts.modified_ns == expected
        for look in (store, store_at(tmp_path)):
            assert look.find(section(number)).facts == facts
            known = look.peek(section(number))
            assert (known.size_bytes, known.modified_ns) == (len(DATA), expected)


def test_an_empty_directory_becomes_0700_and_a_foreign_one_keeps_its_mode(tmp_path):
    empty, foreign = tmp_path / "empty", tmp_path / "foreign"
    for directory in (empty, foreign):
        directory.mkdir()
        directory.chmod(0o755)
    (foreign / "letter.txt").write_text("not yours")
    for directory in (empty, foreign):
        put(store_at(directory), 1, DATA)
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o755
    assert stat.S_IMODE((foreign / "images").stat().st_mode) == 0o700
    store_at(foreign).clear()
    assert (foreign / "letter.txt").read_text() == "not yours"


def test_requests_that_differ_have_different_files(tmp_path):
    atlas, one = ImageService.ATLAS, ImageService.SECTION
    longest = ImageRequest(
        ImageService.PROJECTION,
        10**18 - 1,
        downsample=10,
        quality=100,
        roi=Roi(*[10**9 - 1] * 4),
        range=(65_535,) * 6,
        rgb=("0.123456",) * 3,
        contrast=("0.123456",) * 2,
        colormap=("99999.123456",) * 5,
        view="tumor_feature_annotation",
    )
    requests = [
        longest,
        ImageRequest(one, 1),
        ImageRequest(one, 11),
        ImageRequest(one, 1, roi=Roi(1, 1)),
        ImageRequest(one, 1, roi=Roi(1, 1, 0, 0)),
        ImageRequest(atlas, 1),
        ImageRequest(atlas, 1, annotated=True),
        ImageRequest(atlas, 1, annotated=True, atlas_id=1),
    ]
    store = store_at(tmp_path)
    for number, request in enumerate(requests):
        put(store, request, image_bytes(number, 100))
    for number, request in enumerate(requests):
        assert content(store.find(request)) == image_bytes(number, 100)


# Evicted by name


def test_an_evicted_image_is_gone_and_counted_by_every_store(tmp_path):
    ours, theirs = store_at(tmp_path), store_at(tmp_path)
    for number in (1, 2):
        put(ours, number, image_bytes(number, 5000))
    theirs.load()
    image = theirs.find(section(1))
    assert ours.evict(section(1)) == 5000
    assert found(ours, 1) is found(theirs, 1) is None
    assert ours.peek(section(1)) is theirs.peek(section(1)) is None
    assert content(image) == image_bytes(1, 5000)  # readers that have it open go on
    put(theirs, 3, image_bytes(3, 5000))
    assert theirs.used_bytes == 2 * 8192
    put(ours, 4, image_bytes(4, 5000))
    assert ours.used_bytes == 3 * 8192
    assert len(stored_files(tmp_path)) == 3


def test_a_damaged_image_can_be_evicted_and_a_link_is_let_be(tmp_path):
    store = store_at(tmp_path / "store")
    assert store.evict(section(1)) is None
    assert not (tmp_path / "store").exists()
    put(store, 1, DATA)
    path = stored_file(tmp_path / "store", 1)
    os.truncate(path, 10)
    assert store.evict(section(1)) == 0
    assert not path.exists()
    put(store, 1, DATA)
    path.unlink()
    path.symlink_to(tmp_path)
    assert store.evict(section(1)) is None
    assert path.is_symlink()


def test_a_locked_store_is_reported_and_then_evicts(tmp_path, caplog):
    store = store_at(tmp_path)
    put(store, 1, DATA)
    with held_still(tmp_path), pytest.raises(OSError, match="cannot be removed"):
        store.evict(section(1))
    assert len(warnings_in(caplog)) == 1
    assert found(store, 1) is not None
    assert store.evict(section(1)) == len(DATA)
