"""The size and the JPEG quality of an image, from its bytes."""

from __future__ import annotations

from allenfs.model import jpeg

# ITU-T T.81, table K.1, in zigzag order: quality 50 of the usual encoders
_LUMINANCE = (
    *(16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40),
    *(26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51),
    *(56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87),
    *(95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99),
)
_DQT, _SOS = 0xDB, 0xDA
_HALF = 50


def pixels(data: bytes) -> tuple[int, int] | None:
    """Return width and height; None where it is no whole JPEG."""
    try:
        shape = jpeg.inspect(data)
    except (jpeg.CutJpegError, jpeg.NotAJpegError):
        return None
    return shape.width_px, shape.height_px


def quality(data: bytes) -> str:
    """Return ``85``, or ``about 85`` where the table is no usual one's."""
    table = _luminance_table(data)
    if table is None:
        return ""
    away = {
        number: sum(abs(a - b) for a, b in zip(_scaled(number), table, strict=True))
        for number in range(1, 101)
    }
    best = min(away, key=lambda number: away[number])
    return f"{best}" if away[best] == 0 else f"about {best}"


def _scaled(number: int) -> list[int]:
    scale = 5000 // number if number < _HALF else 200 - 2 * number
    return [min(255, max(1, (value * scale + 50) // 100)) for value in _LUMINANCE]


def _luminance_table(data: bytes) -> bytes | None:
    position = 2
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1]
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        while marker == _DQT and segment:
            is_wide, number = divmod(segment[0], 16)
            if is_wide:
                return None
            if number == 0 and len(segment) > len(_LUMINANCE):
                return segment[1 : 1 + len(_LUMINANCE)]
            segment = segment[1 + len(_LUMINANCE) :]
        if marker == _SOS or length == 0:
            break
        position += 2 + length
    return None
