"""Pyramids of a mount, and what their pixels must be, decoded here."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

TILE = 1024
CHUNK_BYTES = 3 * TILE**2


def decoded(jpeg: bytes) -> np.ndarray:
    """Return a JPEG's pixels: channel, y, x."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def pixels(chunk: Path) -> np.ndarray:
    """Return the pixels of a chunk: channel, y, x."""
    data = chunk.read_bytes()
    assert len(data) == CHUNK_BYTES
    return np.frombuffer(data, np.uint8).reshape(3, TILE, TILE)


def padded(tile: np.ndarray, fill_value: int, left_px=0, top_px=0) -> np.ndarray:
    """Lay a tile into a chunk."""
    chunk = np.full((3, TILE, TILE), fill_value, np.uint8)
    _, height_px, width_px = tile.shape
    chunk[:, top_px : top_px + height_px, left_px : left_px + width_px] = tile
    return chunk


def regions(targets: list[str]) -> list[tuple[int, ...]]:
    """Return downsample, left, top, width and height of image requests."""
    words = ("downsample", "left", "top", "width", "height")
    return [
        tuple(int(found[1]) if (found := _word(one, word)) else 0 for word in words)
        for one in targets
    ]


def _word(target: str, word: str) -> re.Match[str] | None:
    return re.search(rf"{word}=([0-9]+)", target)
