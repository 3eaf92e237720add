"""Cells: a seamless tile of them for every tier, laid over the small drawing."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy import fft  # not at its first use: a process may be forked meanwhile
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float32]

#: full-resolution edge of the tile; whole at every tier down to downsample 10
TILE_PX: Final = 1024

_SOMA_UM: Final = 4.6  # radius of a cell body


@functools.lru_cache(maxsize=4)
def _full_tile(radius_px: int) -> Image.Image:
    """Return soft round cells on black, seamless; about a third of it is cell."""
    random = np.random.default_rng(radius_px)
    count = round((TILE_PX / (2.7 * radius_px)) ** 2)
    impulses = np.zeros((TILE_PX, TILE_PX), np.float32)
    rows, columns = random.integers(0, TILE_PX, (2, count))
    np.add.at(impulses, (rows, columns), random.uniform(0.35, 1.0, count))
    grain = random.standard_normal((TILE_PX, TILE_PX)).astype(np.float32)
    # A product of spectra is a blur that goes round the edges: no seam.
    cells = _blurred(impulses, radius_px / 1.9)
    cells *= 2 * np.pi * (radius_px / 1.9) ** 2
    fibres = _blurred(grain, radius_px / 2.5)
    fibres /= np.abs(fibres).max()
    shade = np.clip(1.75 * cells - 0.28, 0, 1) * 0.9 + 0.10 + 0.16 * fibres
    return Image.fromarray((np.clip(shade, 0, 1) * 255).astype(np.uint8))


def _blurred(field: Field, sigma_px: float) -> Field:
    frequency = fft.fftfreq(TILE_PX)
    gauss = np.exp(-2 * (np.pi * sigma_px * frequency) ** 2).astype(np.float32)
    spectrum = fft.rfft2(field)
    spectrum *= gauss[:, None] * gauss[None, : TILE_PX // 2 + 1]
    blurred: Field = fft.irfft2(spectrum).astype(np.float32)
    return blurred


@functools.lru_cache(maxsize=32)
def cell_tile(resolution_um: float, downsample: int) -> Image.Image:
    """Return the tile of one tier: the full tile's pixels, averaged."""
    radius_px = max(3, round(_SOMA_UM / resolution_um))
    tile = _full_tile(radius_px)
    return tile.reduce(1 << downsample) if downsample else tile


def tiled(
    tile: Image.Image, left_px: int, top_px: int, size: tuple[int, int]
) -> Image.Image:
    """Return `size` pixels of endless tiles, from a corner in the tier's pixels."""
    wall = Image.new("L", size)
    for y in range(-(top_px % tile.height), size[1], tile.height):
        for x in range(-(left_px % tile.width), size[0], tile.width):
            wall.paste(tile, (x, y))
    return wall
