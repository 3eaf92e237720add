"""JPEG encoding in strips: memory stays small however large the picture is."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

#: rows of one strip: eight rows of 16-pixel blocks, one cycle of restart markers
STRIP_PX: Final = 128

_SOF0, _SOS, _EOI = b"\xff\xc0", b"\xff\xda", b"\xff\xd9"
_LAST_RESTART: Final = b"\xff\xd7"


def encode(image: Image.Image, quality: int) -> bytes:
    """Return one picture as a baseline JPEG, colours at half resolution (4:2:0)."""
    return _saved(image, quality, restart_rows=0)


def encode_strips(strips: Iterable[Image.Image], height_px: int, quality: int) -> bytes:
    """Return strips from top to bottom as one baseline JPEG, 4:2:0.

    Every strip but the last has `STRIP_PX` rows. Each is encoded by itself with a
    restart marker after every row of blocks; a decoder resets there, so the
    encoded data of all strips, joined by the next marker, is one scan.
    """
    head = b""
    scans: list[bytes] = []
    for strip in strips:
        data = _saved(strip, quality, restart_rows=1)
        start = data.index(_SOS) + 2
        start += int.from_bytes(data[start : start + 2], "big")
        if not head:
            head = _with_height(data[:start], height_px)
        scans.append(data[start : -len(_EOI)])
    return head + _LAST_RESTART.join(scans) + _EOI


def _saved(image: Image.Image, quality: int, *, restart_rows: int) -> bytes:
    out = io.BytesIO()
    image.save(
        out,
        "JPEG",
        quality=max(1, quality),  # 0 and 1 are the same to the encoder
        subsampling="4:2:0",
        restart_marker_rows=restart_rows,
    )
    return out.getvalue()


def _with_height(head: bytes, height_px: int) -> bytes:
    """Return the header with its frame's height replaced."""
    # marker 2, length 2, precision 1, then the height
    at = head.index(_SOF0) + 5
    return head[:at] + height_px.to_bytes(2, "big") + head[at + 2 :]
