"""What `stat` says of chunks, and what it remembers."""

from __future__ import annotations

from allenfs.catalog.entries import Picture
from allenfs.filesystem import kernel_view
from allenfs.filesystem.filesystem import Filesystem
from allenfs.model import nodes
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.parameters import Roi
from allenfs.model.pyramids import CHUNK_BYTES, Chunk
from allenfs.store.stored_file import Known

IMAGE = ImageRequest(ImageService.SECTION, 1)
TILE = ImageRequest(ImageService.SECTION, 1, roi=Roi(9, 9, 0, 0))


class Records:
    """Every chunk is the same tile."""

    def resolve(self, node, _):
        if isinstance(node, nodes.ZarrNode):
            return Picture(TILE, chunk=Chunk(TILE, 0, 0, 255))
        return Picture(IMAGE)


class Stored:
    """What is stored, as a fetcher sees it."""

    def __init__(self):
        self.known = {}

    def peek(self, request):
        return self.known.get(request)


def test_stats_of_chunks_do_not_displace_the_sizes_of_images(monkeypatch):
    monkeypatch.setattr(kernel_view, "REMEMBERED_PATHS", 2)
    stored = Stored()
    filesystem = Filesystem(stored, Records(), max_image_bytes=2**30)
    stored.known[IMAGE] = Known(5000, 7)
    assert filesystem.stat("section/1/image.jpg").size_bytes == 5000
    del stored.known[IMAGE]
    for row in range(5):
        attributes = filesystem.stat(f"section/1/image.zarr/0/0/{row}/0")
        assert (attributes.size_bytes, attributes.blocks) == (CHUNK_BYTES, 0)
    assert filesystem.stat("section/1/image.jpg").size_bytes == 5000


def test_a_chunk_keeps_its_time_when_its_tile_is_evicted():
    stored = Stored()
    filesystem = Filesystem(stored, Records(), max_image_bytes=2**30)
    path = "section/1/image.zarr/0/0/0/0"
    assert filesystem.stat(path).modified_ns > 7
    stored.known[TILE] = Known(5000, 7)
    assert filesystem.stat(path)[:3] == (CHUNK_BYTES, CHUNK_BYTES // 512, 7)
    del stored.known[TILE]
    assert filesystem.stat(path)[:3] == (CHUNK_BYTES, 0, 7)
