"""An open image: slices of immutable bytes, from the store and from memory."""

from __future__ import annotations

import gc
import os
import stat
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import (
    STARTED_NS,
    content,
    image_bytes,
    open_files,
    put,
    section,
    store_at,
    stored_file,
)

from allenfs.errors import DamagedStoreError
from allenfs.model.images import ImageRequest, ImageService, Roi

if TYPE_CHECKING:
    from pathlib import Path

    from allenfs.store.stored_file import Image

DATA = image_bytes(1, 12_347)
DAY_NS = 86_400 * 10**9


@pytest.fixture(params=["added", "found", "not kept"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Image:
    capacity_bytes = 4096 if request.param == "not kept" else 2**20
    store = store_at(tmp_path, capacity_bytes)
    added = put(store, 1, DATA)
    return store_at(tmp_path).find(section(1)) if request.param == "found" else added


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(offset=st.integers(0, 13_000), size=st.integers(0, 13_000))
def test_a_read_is_a_slice_of_the_bytes(image: Image, offset: int, size: int) -> None:
    assert image.read(offset, size) == DATA[offset : offset + size]


def test_a_read_behind_the_end_is_empty_and_never_the_footer(image: Image) -> None:
    assert image.read(0, 2**40) == DATA
    assert image.read(len(DATA), 100) == b""
    assert image.read(len(DATA) + 5, 100) == b""
    assert image.read(2**62, 2**62) == b""
    assert image.read(len(DATA) - 1, 100) == DATA[-1:]


def test_many_threads_read_one_image_at_once(image: Image) -> None:
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda at: image.read(at, 61), range(0, len(DATA), 61))
        assert b"".join(parts) == DATA


def test_an_open_image_outlives_its_file(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    image = put(store, 1, DATA)
    again = store.find(section(1))
    assert store.clear() == 1
    assert content(image) == content(again) == DATA


def test_a_file_cut_while_open_is_an_error_not_a_short_read(tmp_path: Path) -> None:
    image = put(store_at(tmp_path), 1, DATA)
    os.truncate(stored_file(tmp_path, 1), 5000)
    assert image.read(0, 5000) == DATA[:5000]
    for offset, size in ((0, 5001), (4999, 2), (5000, 1), (6000, 100)):
        with pytest.raises(DamagedStoreError):
            image.read(offset, size)
    assert image.read(len(DATA), 100) == b""


def test_images_and_stores_that_nobody_refers_to_have_no_files_open(
    tmp_path: Path,
) -> None:
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


def test_peek_tells_size_and_time_without_opening(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    assert store.peek(section(1)) is None
    put(store, 1, DATA, modified_ns=STARTED_NS - DAY_NS)
    for look in (store, store_at(tmp_path)):
        known = look.peek(section(1))
        assert (known.size_bytes, known.modified_ns) == (len(DATA), STARTED_NS - DAY_NS)
    assert store.peek(section(2)) is None


def test_times_are_the_same_before_and_after_a_restart(tmp_path: Path) -> None:
    for number, modified_ns in enumerate([None, 0, STARTED_NS, 10**9 * 2**32], 1):
        store = store_at(tmp_path, clock=lambda: STARTED_NS + 123_456_789)
        facts = put(store, number, DATA, modified_ns).facts
        # whole seconds: every file system keeps them
        expected = STARTED_NS if modified_ns is None else modified_ns
        assert facts.modified_ns == expected
        again = store_at(tmp_path)
        assert again.find(section(number)).facts == facts
        assert again.peek(section(number)).modified_ns == expected


def test_an_empty_directory_becomes_0700_and_a_foreign_one_keeps_its_mode(
    tmp_path: Path,
) -> None:
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


def test_the_longest_name_of_the_grammar_can_be_stored(tmp_path: Path) -> None:
    request = ImageRequest(
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
    put(store_at(tmp_path), request, DATA)
    assert content(store_at(tmp_path).find(request)) == DATA


def test_requests_that_differ_have_different_files(tmp_path: Path) -> None:
    atlas, one = ImageService.ATLAS, ImageService.SECTION
    requests = [
        ImageRequest(one, 1),
        ImageRequest(one, 1, view="expression"),
        ImageRequest(one, 1, downsample=1),
        ImageRequest(one, 11),
        ImageRequest(ImageService.PROJECTION, 1),
        ImageRequest(one, 1, quality=1),
        ImageRequest(one, 1, roi=Roi(1, 1)),
        ImageRequest(one, 1, roi=Roi(1, 1, 0, 0)),
        ImageRequest(one, 1, rgb=("1", "0.1", "0")),
        ImageRequest(one, 1, rgb=("1", "0.10"[:3], "0.1")),
        ImageRequest(one, 1, colormap=("1",)),
        ImageRequest(one, 1, colormap=("1", "1")),
        ImageRequest(atlas, 1),
        ImageRequest(atlas, 1, annotated=True),
        ImageRequest(atlas, 1, annotated=True, atlas_id=1),
    ]
    store = store_at(tmp_path)
    for number, request in enumerate(requests):
        put(store, request, image_bytes(number, 100))
    for number, request in enumerate(requests):
        assert content(store.find(request)) == image_bytes(number, 100)


def test_an_image_that_is_being_closed_is_given_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks it up while its file is closed must open it anew."""
    image = put(store_at(tmp_path), 1, DATA)
    gc.collect()
    live = weakref.WeakValueDictionary({1: image})
    given = []
    close = os.close

    def look_and_close(fd: int) -> None:
        given.append(live.get(1))
        close(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", look_and_close)
        del image
        gc.collect()
    assert given == [None]
