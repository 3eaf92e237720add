"""Check that data is a complete JPEG, and return its dimensions.

Marker structure from ITU-T T.81 annex B. Entropy-coded data is searched, not
decoded: between two markers of a scan, ``FF 00`` is a data byte and ``FF D0``
to ``FF D7`` are restart markers; anything else that follows ``FF`` is a marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from allenfs.model.content import Content, CutContentError, Data, WrongContentError

_SOI = b"\xff\xd8"
_SOS, _EOI = 0xDA, 0xD9
# SOF0 to SOF15; C4, C8 and CC in that row are DHT, JPG and DAC
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
# With a lookahead: matching a whole run of FF first would take quadratic time.
_MARKER_IN_SCAN = re.compile(rb"\xff(?=[^\xff\x00\xd0-\xd7])", re.DOTALL)

# Markers of segments and scans, not those within a scan: a progressive JPEG with a
# large colour profile has about a hundred.
_MOST_MARKERS = 10_000
# A scan, which may take all of 1 GiB, is searched in pieces of this size. The first
# piece is smaller, because there may be 10 000 scans of one byte each.
_LOOK_BYTES = 2**20
_FIRST_LOOK_BYTES = 2**14
# Fill bytes before a marker are rare: usually only the first two bytes are read.
_FILL_LOOK_BYTES = 2**16


class NotAJpegError(WrongContentError):
    """The bytes do not begin as a JPEG, or break its structure."""


class CutJpegError(CutContentError):
    """The bytes begin as a JPEG, but are truncated."""


@dataclass(frozen=True, slots=True)
class JpegShape:
    """Width and height of the picture, in pixels, both above zero."""

    width_px: int
    height_px: int


def inspect(data: Data) -> JpegShape:
    """Walk the markers from SOI to EOI and return the frame's shape.

    Bytes after EOI are allowed: every decoder ignores them. CutJpegError if the data
    ends before EOI, NotAJpegError if SOI, a marker, the frame header or pixels are
    missing.
    """
    if data[:2] != _SOI[: len(data)]:
        raise NotAJpegError("not a JPEG: it does not begin with FF D8")
    shape: JpegShape | None = None
    position = 2
    for _ in range(_MOST_MARKERS):
        marker, position = _marker_at(data, position)
        if marker == _EOI:
            break
        if marker in _NO_LENGTH:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if len(data) < position + 2 or len(data) < position + length:
            raise CutJpegError(
                f"cut JPEG: it ends at byte {len(data)} inside a segment"
            )
        if length < 2:
            raise NotAJpegError(
                f"not a JPEG: a segment of length {length} at byte {position}"
            )
        if marker in _FRAME_HEADERS:
            shape = _shape(data[position : position + length])
        position += length
        if marker == _SOS:
            position = _end_of_scan(data, position)
    else:
        raise NotAJpegError(f"not a JPEG: more than {_MOST_MARKERS} markers")
    if shape is None:
        raise NotAJpegError("not a JPEG: it ends without a frame header")
    return shape


def _marker_at(data: Data, position: int) -> tuple[int, int]:
    """Return the marker code at `position` and the position after it."""
    start = position
    while True:  # fill bytes may precede it
        part = data[position : position + _FILL_LOOK_BYTES]
        code = part.lstrip(b"\xff")[:1]
        if code or not part:
            break
        position += len(part)
    if not code:
        raise CutJpegError(
            f"cut JPEG: it ends at byte {len(data)} without an end marker"
        )
    position += part.index(code)
    if position == start or code == b"\0":
        raise NotAJpegError(f"not a JPEG: no marker at byte {start}")
    return code[0], position + 1


def _end_of_scan(data: Data, position: int) -> int:
    look_bytes = _FIRST_LOOK_BYTES
    while position + 1 < len(data):
        part = data[position : position + look_bytes]
        look_bytes = _LOOK_BYTES
        found = _MARKER_IN_SCAN.search(part)
        if found is not None:
            return position + found.start()
        if len(part) < 2:  # the file was truncated in the meantime
            break
        position += len(part) - 1  # the last byte of a piece may begin a marker
    raise CutJpegError(f"cut JPEG: it ends at byte {len(data)} inside the picture")


def _shape(segment: bytes) -> JpegShape:
    """Read a frame header: length 2, precision 1, height 2, width 2 bytes."""
    height_px = int.from_bytes(segment[3:5], "big")
    width_px = int.from_bytes(segment[5:7], "big")
    if not (width_px and height_px):
        raise NotAJpegError(
            f"no pixels: the frame header says {width_px} x {height_px}"
        )
    return JpegShape(width_px, height_px)


JPEG = Content("an image", "image/", inspect)
