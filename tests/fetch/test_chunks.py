"""The pixels of chunks: decoded when they are needed, in files without a name."""

from __future__ import annotations

import gc
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from store_helpers import put, store_at

from allenfs.errors import BrokenTileError, DamagedStoreError
from allenfs.fetch import chunks, tiles
from allenfs.fetch.chunks import ChunkMaker
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.parameters import Roi
from allenfs.model.pyramids import CHUNK_BYTES, Chunk

TILE = 1024


def chunk_of(width_px, height_px, left_px=0, top_px=0, fill_value=255):
    roi = Roi(width_px, height_px, 0, 0)
    request = ImageRequest(ImageService.SECTION, 1, roi=roi)
    return Chunk(request, left_px, top_px, fill_value)


def jpeg(width_px, height_px, value=90):
    out = io.BytesIO()
    Image.new("L", (width_px, height_px), value).save(out, "JPEG", quality=95)
    return out.getvalue()


class Bench:
    """A maker of chunks over a store with one tile, which counts what is decoded."""

    def __init__(self, directory, monkeypatch):
        self.store = store_at(directory, 2**26)
        self.maker = ChunkMaker(self.store)
        self.decoded = 0

        def counted(data, chunk, plain=tiles.planes):
            self.decoded += 1
            return plain(data, chunk)

        monkeypatch.setattr(tiles, "planes", counted)

    def make(self, chunk, data):
        return self.maker.make(chunk, put(self.store, chunk.request, data, 10**9))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def values(file):
    """Return the bytes of the three planes."""
    data = file.read(0, CHUNK_BYTES + 1)
    assert len(data) == CHUNK_BYTES == file.facts.size_bytes
    return [data[start : start + TILE**2] for start in range(0, CHUNK_BYTES, TILE**2)]


@pytest.mark.parametrize(
    ("size_px", "corner_px"),
    [((TILE, TILE), (0, 0)), ((300, 200), (0, 0)), ((300, 200), (724, 824))],
)
@pytest.mark.parametrize("fill_value", [0, 255])
def test_a_tile_is_at_its_place_in_all_planes(bench, size_px, corner_px, fill_value):
    width_px, height_px = size_px
    left_px, top_px = corner_px
    chunk = chunk_of(*size_px, *corner_px, fill_value)
    expected = bytearray([fill_value]) * TILE**2
    for row in range(top_px, top_px + height_px):
        start = row * TILE + left_px
        expected[start : start + width_px] = bytes([90]) * width_px
    assert values(bench.make(chunk, jpeg(*size_px))) == [bytes(expected)] * 3


def test_reads_are_slices(bench):
    file = bench.make(chunk_of(20, 20), jpeg(20, 20))
    whole = file.read(0, CHUNK_BYTES)
    for offset, size in ((0, 1), (5, 5000), (CHUNK_BYTES - 3, 9), (CHUNK_BYTES, 1)):
        assert file.read(offset, size) == whole[offset : offset + size]


def test_two_readers_share_the_pixels(bench):
    chunk = chunk_of(20, 20)
    first = bench.make(chunk, jpeg(20, 20))
    assert bench.make(chunk, jpeg(20, 20)) is first
    assert bench.decoded == 1
    other = chunk_of(20, 20, fill_value=0)
    assert bench.make(other, jpeg(20, 20)).facts.sha256 != first.facts.sha256


def test_a_chunk_that_is_opened_again_is_decoded_only_if_it_is_read(bench):
    chunk = chunk_of(20, 20)
    first = bench.make(chunk, jpeg(20, 20))
    before, facts = values(first), first.facts
    del first
    again = bench.make(chunk, jpeg(20, 20))
    assert again.facts == facts
    assert bench.decoded == 1
    assert values(again) == before == values(again)
    assert bench.decoded == 2
    # other bytes are another tile
    del again
    assert bench.make(chunk, jpeg(20, 20, 91)).facts.sha256 != facts.sha256
    assert bench.decoded == 3


def test_a_tile_that_was_fetched_again_has_its_own_times(bench):
    chunk, data = chunk_of(20, 20), jpeg(20, 20)
    for modified_ns in (10**9, 2 * 10**9):
        tile = put(bench.store, chunk.request, data, modified_ns)
        made = bench.maker.make(chunk, tile)
        assert made.facts.modified_ns == tile.facts.modified_ns == modified_ns


def test_a_tile_that_was_damaged_while_open_is_an_error_and_not_other_pixels(
    bench, tmp_path
):
    """Other pixels would stay with the kernel, which takes them for the right ones."""
    chunk = chunk_of(20, 20)
    data, other = jpeg(20, 20), jpeg(20, 20, 200)
    assert len(data) == len(other)
    bench.make(chunk, data)
    tile = put(bench.store, chunk.request, data, 10**9)
    opened = bench.maker.make(chunk, tile)
    (stored,) = (tmp_path / "images").glob("*/*/*/*")
    with stored.open("r+b") as file:
        file.write(other)
    with pytest.raises(DamagedStoreError):
        opened.read(0, 1)
    with pytest.raises(DamagedStoreError):
        bench.maker.make(chunk_of(20, 20, fill_value=0), tile)


def test_a_tile_of_another_size_is_not_decoded(bench):
    for size_px in ((19, 20), (20, 21)):
        with pytest.raises(
            BrokenTileError, match=f"it has {size_px[0]} x {size_px[1]}"
        ):
            bench.make(chunk_of(20, 20), jpeg(*size_px))
    assert bench.decoded == 0


def test_a_tile_of_too_many_bytes_is_not_read(bench, monkeypatch):
    monkeypatch.setattr(chunks, "MAX_TILE_BYTES", 100)
    with pytest.raises(BrokenTileError, match="bytes"):
        bench.make(chunk_of(20, 20), jpeg(20, 20))


def test_chunks_are_decoded_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "DECODED_AT_A_TIME", 2)
    bench = Bench(tmp_path, monkeypatch)
    together, under_way = threading.Barrier(2, timeout=60), set()
    numbers = []

    def watched(data, chunk, plain=tiles.planes):
        under_way.add(chunk)
        numbers.append(len(under_way))
        together.wait()
        yield from plain(data, chunk)
        under_way.remove(chunk)

    monkeypatch.setattr(tiles, "planes", watched)
    stored = [
        (chunk, put(bench.store, chunk.request, jpeg(*chunk.size_px)))
        for chunk in (chunk_of(n, n) for n in range(1, 9))
    ]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(bench.maker.make, *zip(*stored, strict=True)))
    assert len(made) == len(numbers) == 8
    assert max(numbers) == 2


def test_closed_chunks_leave_no_file_and_no_descriptor(bench, tmp_path):
    put(bench.store, chunk_of(5, 5).request, jpeg(5, 5))
    gc.collect()
    before = os.listdir("/proc/self/fd")
    files = [bench.make(chunk_of(n, n), jpeg(n, n)) for n in range(1, 9)]
    assert list((tmp_path / "incoming").iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) > len(before)
    del files
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_only_so_many_are_remembered(bench, monkeypatch):
    monkeypatch.setattr(chunks, "REMEMBERED_CHUNKS", 2)
    for n in (1, 2, 3, 3, 1):
        bench.make(chunk_of(n, n), jpeg(n, n))
    assert bench.decoded == 4  # the first one was forgotten
