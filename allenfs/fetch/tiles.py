"""Decodes a tile, and lays it out as the raw pixels of a chunk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from PIL import Image

from allenfs.errors import BrokenTileError
from allenfs.model.pyramids import CHANNELS, TILE_PX

if TYPE_CHECKING:
    from allenfs.model.pyramids import Chunk

Image.preinit()  # not at its first use: a process may be forked meanwhile


def planes(data: bytes, chunk: Chunk) -> Iterator[bytes]:
    """Yield the planes of a chunk, 1024 x 1024 bytes each: red, green, blue.

    `data` is a JPEG of the size of the chunk's tile; the planes of a grey one are
    equal. Raises BrokenTileError, before the first plane, if it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
            tile = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        path = chunk.request.path
        raise BrokenTileError(f"cannot be decoded: {error}", url=path) from error
    for channel in range(len(CHANNELS)):
        plane = tile.getchannel(channel)
        if not chunk.is_whole:
            padded = Image.new("L", (TILE_PX, TILE_PX), chunk.fill_value)
            padded.paste(plane, (chunk.left_px, chunk.top_px))
            plane = padded
        yield plane.tobytes()
