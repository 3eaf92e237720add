"""Image pyramids as OME-Zarr: levels, the grid of chunks, and the tile of each chunk.

Level D has the pixels of ``dsD``. The service rounds sizes down, and so do the levels:
each chunk asks for a region that is inside its tier, whatever the size of the image.
Chunks are raw pixels, so that the size of every file is known beforehand.

Sources: OME-NGFF 0.4, https://ngff.openmicroscopy.org/0.4; Zarr version 2,
https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from allenfs.model.parameters import MAX_DOWNSAMPLE, Roi

if TYPE_CHECKING:
    from allenfs.model.images import ImageRequest
    from allenfs.model.nodes import ZarrNode

TILE_PX = 1024
CHANNELS = ("red", "green", "blue")
CHUNK_BYTES = len(CHANNELS) * TILE_PX**2
# The background of stained sections is nearly white; that of fluorescent ones, which
# have an Equalization, is black.
WHITE, BLACK = 255, 0
# The deepest tier fits into a square of this side: the rule fits every recorded image.
_DEEPEST_TIER_PX = 256

_COLOURS = ("FF0000", "00FF00", "0000FF")
_UNIT = "micrometer"
GROUP_FILE, ATTRIBUTES_FILE, ARRAY_FILE = ".zgroup", ".zattrs", ".zarray"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A tile of an image, and its place in a chunk of 3 x 1024 x 1024 pixels.

    `left_px` and `top_px` are in the chunk; what the tile does not cover has the
    `fill_value`.
    """

    request: ImageRequest
    left_px: int
    top_px: int
    fill_value: int

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height that the tile must have."""
        roi = self.request.roi
        assert roi is not None
        assert roi.width_px is not None
        assert roi.height_px is not None
        return roi.width_px, roi.height_px

    @property
    def is_whole(self) -> bool:
        """Whether the tile covers the chunk."""
        return self.size_px == (TILE_PX, TILE_PX)


class Plane(NamedTuple):
    """An image in a pyramid, in full-resolution pixels: width and height, left and top.

    `request` is that of the whole image at full resolution; `corner_px` is on its
    slide, `shift_px` in the pyramid, a multiple of the scale of the deepest level.
    """

    request: ImageRequest
    full_px: tuple[int, int]
    corner_px: tuple[int, int]
    shift_px: tuple[int, int] = (0, 0)

    def spans(self, level: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return start and stop across, and down, in pixels of a level."""
        left_px, top_px = (start_px >> level for start_px in self.shift_px)
        width_px, height_px = (side_px >> level for side_px in self.full_px)
        return (left_px, left_px + width_px), (top_px, top_px + height_px)

    def tile(self, level: int, row: int, column: int, fill_value: int) -> Chunk:
        """Return the part of the image that is in a chunk, which it must have."""
        across, down = self.spans(level)
        left_px, right_px = _common(across, column)
        top_px, bottom_px = _common(down, row)
        roi = Roi(
            right_px - left_px,
            bottom_px - top_px,
            self.corner_px[0] + (left_px - across[0] << level),
            self.corner_px[1] + (top_px - down[0] << level),
        )
        return Chunk(
            replace(self.request, downsample=level, roi=roi),
            left_px - column * TILE_PX,
            top_px - row * TILE_PX,
            fill_value,
        )


class Spacing(NamedTuple):
    """Along z: the number of planes, and how far apart they are.

    `step_um` is None if the record does not say; `numbers` is how many section numbers
    are from one plane to the next.
    """

    planes: int
    numbers: int
    step_um: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """The levels of one image, or of all images of a data set.

    Attributes
    ----------
    full_px : tuple of two int
        Width and height at full resolution.
    level_count : int
        Each level has half the width and height of the one before, rounded down.
    resolution_um : float or None
        Micrometres per pixel at full resolution.
    fill_value : int
        Where there is no image.
    planes : mapping of int to Plane
        By index along z; planes without an image are missing. That of one image is 0.
    spacing : Spacing or None
        None for one image, which has no z.
    added : mapping
        Further attributes.
    """

    full_px: tuple[int, int]
    level_count: int
    resolution_um: float | None
    fill_value: int
    planes: Mapping[int, Plane]
    spacing: Spacing | None = None
    added: Mapping[str, Any] | None = None

    def names(self, numbers: tuple[int, ...]) -> list[str]:
        """Return the names in a directory: that of the pyramid, a level, or below.

        `numbers` are the level, and indices of chunks: channel, z (in a volume), row.
        The directory must exist.
        """
        files = {0: [GROUP_FILE, ATTRIBUTES_FILE], 1: [ARRAY_FILE]}
        return [*files.get(len(numbers), []), *map(str, self._children(numbers))]

    def has(self, numbers: tuple[int, ...]) -> bool:
        """Whether the pyramid has a directory or a chunk."""
        return all(
            number in self._children(numbers[:depth])
            for depth, number in enumerate(numbers)
        )

    def chunk(self, numbers: tuple[int, ...]) -> Chunk:
        """Return a chunk, which must exist."""
        level, _, *z, row, column = numbers
        plane = self.planes[z[0] if z else 0]
        return plane.tile(level, row, column, self.fill_value)

    def listing(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Return the directory in which a chunk is often read in order.

        That is its row, or the planes of a volume, if they are of one chunk each.
        """
        level, channel, *z, _, _ = numbers
        is_one = bool(z) and self._is_one_chunk(level, z[0])
        return (level, channel) if is_one else numbers[:-1]

    def tiles(self, listing: tuple[int, ...]) -> tuple[ImageRequest, ...]:
        """Return the requests of the chunks in such a directory, in order."""
        level, *indices = listing
        if self.spacing is not None and len(indices) == 1:
            planes = (z for z in self.planes if self._is_one_chunk(level, z))
            chunks = [
                (*listing, z, *(span[0] // TILE_PX for span in reversed(spans)))
                for z in planes
                for spans in [self.planes[z].spans(level)]
            ]
        else:
            chunks = [(*listing, column) for column in self._children(listing)]
        return tuple(self.chunk(numbers).request for numbers in chunks)

    def _is_one_chunk(self, level: int, z: int) -> bool:
        return all(len(_chunks(span)) == 1 for span in self.planes[z].spans(level))

    def metadata(self, node: ZarrNode) -> str:
        """Return the text of one of the files that describe the pyramid."""
        if node.file == GROUP_FILE:
            content: object = {"zarr_format": 2}
        elif node.file == ATTRIBUTES_FILE:
            content = self._attributes() | dict(self.added or {})
        else:
            content = self._array(node.numbers[0])
        return json.dumps(content, indent=1) + "\n"

    def _children(self, numbers: tuple[int, ...]) -> Iterable[int]:
        """Return the numbers of what is in a directory that exists: `in` is fast."""
        if not numbers:
            return range(self.level_count)
        level, *indices = numbers
        if not indices:
            return range(1)  # all channels are in one chunk
        if self.spacing is None:
            indices.insert(1, 0)
        elif len(indices) == 1:
            return self.planes.keys()
        across, down = self.planes[indices[1]].spans(level)
        return _chunks(down) if len(indices) == 2 else _chunks(across)

    def _array(self, level: int) -> object:
        width_px, height_px = (side_px >> level for side_px in self.full_px)
        z_shape = [] if self.spacing is None else [self.spacing.planes]
        z_chunks = [] if self.spacing is None else [1]
        return {
            "zarr_format": 2,
            "shape": [len(CHANNELS), *z_shape, height_px, width_px],
            "chunks": [len(CHANNELS), *z_chunks, TILE_PX, TILE_PX],
            "dtype": "|u1",
            "compressor": None,
            "filters": None,
            "fill_value": self.fill_value,
            "order": "C",
            "dimension_separator": "/",
        }

    def _attributes(self) -> dict[str, Any]:
        axes = [{"name": "c", "type": "channel"}]  # must come before those of space
        z_scale: list[float] = []
        if self.spacing is not None:
            axes.append(_space("z", self.spacing.step_um))
            z_scale.append(self.spacing.step_um or float(self.spacing.numbers))
        axes += [_space(name, self.resolution_um) for name in "yx"]
        datasets = []
        for level in range(self.level_count):
            pixel = (self.resolution_um or 1.0) * (1 << level)
            scale = [1.0, *z_scale, pixel, pixel]
            datasets.append(
                {
                    "path": str(level),
                    "coordinateTransformations": [{"type": "scale", "scale": scale}],
                }
            )
        window = {"min": 0, "max": 255, "start": 0, "end": 255}
        return {
            "multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}],
            # viewers show three channels as colours only if they are told so
            "omero": {
                "version": "0.4",
                "channels": [
                    {"label": label, "color": colour, "active": True, "window": window}
                    for label, colour in zip(CHANNELS, _COLOURS, strict=True)
                ],
                "rdefs": {"model": "color"},
            },
        }


def level_count(full_px: tuple[int, int], tier_count: int | None) -> int:
    """Return the levels of an image that have a tier, and at least one pixel a side.

    `tier_count` is that of its record: of the slide, if it is a part of one.
    """
    if tier_count is None:
        halvings = math.ceil(math.log2(max(max(full_px) / _DEEPEST_TIER_PX, 1)))
        tier_count = halvings + 1
    return min(tier_count, MAX_DOWNSAMPLE + 1, min(full_px).bit_length())


def _space(name: str, size_um: float | None) -> dict[str, str]:
    axis = {"name": name, "type": "space"}
    return axis if size_um is None else axis | {"unit": _UNIT}


def _chunks(span: tuple[int, int]) -> range:
    """Return the chunks along one axis that have a part of a span of pixels."""
    return range(span[0] // TILE_PX, -(-span[1] // TILE_PX))


def _common(span: tuple[int, int], chunk: int) -> tuple[int, int]:
    """Return start and stop of what is in both, a span and a chunk."""
    return max(span[0], chunk * TILE_PX), min(span[1], (chunk + 1) * TILE_PX)
