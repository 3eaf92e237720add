"""Makes the files of chunks from stored tiles, a few at a time."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from allenfs.errors import BrokenTileError, DamagedStoreError
from allenfs.model import jpeg
from allenfs.store.stored_file import Facts, Image

if TYPE_CHECKING:
    from allenfs.model.pyramids import Chunk
    from allenfs.store.image_files import ImageFiles

# Chunks decoded at a time, of about 10 MB each; others wait.
DECODED_AT_A_TIME = 4
# Four times the largest JPEG of a tile: 1024 x 1024 pixels of noise, quality 100.
MAX_TILE_BYTES = 2**24
# Chunks that were decoded once, 1 kB each. Forgetting one costs 15 ms at its next open.
REMEMBERED_CHUNKS = 4096

# A chunk, and the checksum and time of its tile, which is the time of the chunk.
_Key: TypeAlias = "tuple[Chunk, str, int]"


class ChunkFile:
    """The pixels of a chunk, read like an image.

    They are in a temporary file without a name, not in memory, which is gone when the
    last reader closes the chunk: a viewer may have hundreds of them open.
    """

    def __init__(self, facts: Facts, decode: Callable[[], Image]) -> None:
        self.facts = facts
        self._decode = decode
        self._lock = threading.Lock()
        self._pixels: Image | None = None

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size); shorter only at the end.

        Raises as `Image.read` does.
        """
        with self._lock:
            pixels = self._pixels = self._pixels or self._decode()
        return pixels.read(offset, size)


class ChunkMaker:
    """Makes the file of a chunk from its tile. Thread-safe.

    A chunk is decoded when it is first opened, so that a failure is one of the open.
    When it is opened again, it is decoded only if the kernel reads it: usually it has
    the pages.
    """

    def __init__(self, store: ImageFiles) -> None:
        self._store = store
        self._decoding = threading.Semaphore(DECODED_AT_A_TIME)
        # The facts of those that were decoded before. A dictionary without a lock: each
        # step is atomic.
        self._facts: dict[_Key, Facts] = {}
        self._live: weakref.WeakValueDictionary[_Key, ChunkFile] = (
            weakref.WeakValueDictionary()
        )

    def make(self, chunk: Chunk, tile: Image) -> ChunkFile:
        """Return the file of a chunk: red, green and blue, 1024 x 1024 bytes each.

        Its times are those of the tile. Raises BrokenTileError if the tile has another
        size than it must have, or cannot be decoded.
        """
        key = chunk, tile.facts.sha256, tile.facts.modified_ns
        if (live := self._live.get(key)) is not None:
            return live
        facts = self._facts.get(key)
        if facts is None:
            pixels = self._decoded(chunk, tile)
            facts = self._facts[key] = pixels.facts
            if len(self._facts) > REMEMBERED_CHUNKS:
                with contextlib.suppress(KeyError, RuntimeError):  # another thread did
                    del self._facts[next(iter(self._facts))]
            made = ChunkFile(facts, lambda: pixels)
        else:
            made = ChunkFile(facts, lambda: self._decoded(chunk, tile))
        return self._live.setdefault(key, made)

    def _decoded(self, chunk: Chunk, tile: Image) -> Image:
        # imported only when needed: 4 MB and 30 ms
        from allenfs.fetch import tiles  # noqa: PLC0415

        with self._decoding, contextlib.closing(self._store.temp_file()) as temp_file:
            data = _checked(chunk, tile)
            for plane in tiles.planes(data, chunk):
                temp_file.write(plane)
            facts = Facts(
                temp_file.size_bytes,
                temp_file.sha256.hexdigest(),
                tile.facts.modified_ns,
                tile.facts.fetched_ns,
            )
            return Image(temp_file.file, facts)


def _checked(chunk: Chunk, tile: Image) -> bytes:
    """Return the bytes of a tile, whose width and height are those of the chunk."""
    path, size_bytes = chunk.request.path, tile.facts.size_bytes
    if size_bytes > MAX_TILE_BYTES:
        raise BrokenTileError(f"it has {size_bytes} bytes", url=path)
    data = tile.read(0, size_bytes)
    # it was checked when it was opened, which may be long ago
    if hashlib.sha256(data).hexdigest() != tile.facts.sha256:
        raise DamagedStoreError("is not what was stored")
    try:
        shape = jpeg.inspect(data)
    except (jpeg.CutJpegError, jpeg.NotAJpegError) as error:
        raise DamagedStoreError(f"is not what was stored: {error}") from error
    size_px = shape.width_px, shape.height_px
    if size_px != chunk.size_px:
        raise BrokenTileError(
            "it has {} x {} pixels, not {} x {}".format(*size_px, *chunk.size_px),
            url=path,
        )
    return data
