"""A whole JPEG is accepted, a cut or foreign one never."""

from __future__ import annotations

import io
import mmap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from allenfs.model.jpeg import CutJpegError, JpegShape, NotAJpegError, inspect

WIDTH, HEIGHT = 41, 23


def drawn(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    noise = Image.effect_noise(size, 90)
    return noise.convert(mode) if mode != "CMYK" else noise.convert("RGB").convert(mode)


def saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    thumbnail = saved(drawn(size=(8, 8)))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail
    data = saved(drawn(), exif=exif)
    assert data.count(b"\xff\xd9") == 2  # the thumbnail's end, and its own
    return data


def with_restart_markers() -> bytes:
    data = saved(drawn(), restart_marker_blocks=1)
    assert all(bytes([0xFF, 0xD0 + n]) in data for n in range(5))
    return data


JPEGS = {
    "baseline": saved(drawn()),
    "best": saved(drawn(), quality=100, subsampling=0),
    "worst": saved(drawn(), quality=1),
    "progressive": saved(drawn(), progressive=True),
    "grey": saved(drawn("L")),
    "cmyk": saved(drawn("CMYK")),
    "thumbnail": with_thumbnail(),
    "restarts": with_restart_markers(),
    "comment": saved(drawn(), comment=b"\xff\xd9 is no end here"),
    "progressive with restarts": saved(
        drawn(), progressive=True, restart_marker_blocks=2
    ),
}
each_jpeg = pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS.keys())
BASELINE = JPEGS["baseline"]
ONE_PIXEL = (
    b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00"  # without a scan
)
FRAME_AT = BASELINE.index(b"\xff\xc0")


@each_jpeg
def test_a_whole_jpeg_has_the_shape_of_its_picture(data):
    assert inspect(data) == JpegShape(WIDTH, HEIGHT)


@each_jpeg
def test_no_proper_prefix_is_accepted(data):
    for length in range(len(data)):
        with pytest.raises(CutJpegError):
            inspect(data[:length])


@each_jpeg
def test_bytes_after_the_end_are_allowed(data):
    for tail in (b"\0", b"\n" * 500, b"\xff", b"\xff\xd8", data):
        assert inspect(data + tail) == JpegShape(WIDTH, HEIGHT)


def test_a_mapped_file_is_accepted(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(BASELINE)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data,
    ):
        assert inspect(data) == JpegShape(WIDTH, HEIGHT)


def test_the_largest_picture_that_jpeg_has_is_accepted():
    data = bytearray(BASELINE)
    data[FRAME_AT + 5 : FRAME_AT + 9] = b"\xff\xff\xff\xff"
    assert inspect(bytes(data)) == JpegShape(65_535, 65_535)


@pytest.mark.parametrize("first", [5, 7], ids=["height", "width"])
def test_a_frame_without_pixels_is_no_jpeg(first):
    data = bytearray(BASELINE)
    data[FRAME_AT + first : FRAME_AT + first + 2] = b"\0\0"
    with pytest.raises(NotAJpegError):
        inspect(bytes(data))


def test_an_end_without_a_frame_header_is_no_jpeg():
    with pytest.raises(NotAJpegError):
        inspect(b"\xff\xd8\xff\xd9")
    with pytest.raises(NotAJpegError):
        inspect(b"\xff\xd8\xff\xfe\0\4hi\xff\xd9")


def test_fill_bytes_before_a_marker_are_skipped():
    filled = BASELINE[:FRAME_AT] + b"\xff\xff\xff" + BASELINE[FRAME_AT:]
    assert inspect(filled) == JpegShape(WIDTH, HEIGHT)


def test_bytes_between_segments_are_no_jpeg():
    with pytest.raises(NotAJpegError):
        inspect(BASELINE[:FRAME_AT] + b"\0" + BASELINE[FRAME_AT:])


@pytest.mark.parametrize("length", [b"\0\0", b"\0\1"])
def test_a_segment_shorter_than_its_own_length_is_no_jpeg(length):
    with pytest.raises(NotAJpegError):
        inspect(b"\xff\xd8\xff\xe0" + length + BASELINE)


@pytest.mark.parametrize("length", [b"\0\0", b"\0\1"])
def test_a_scan_without_its_header_is_no_jpeg(length):
    scan_at = BASELINE.index(b"\xff\xda") + 2
    with pytest.raises(NotAJpegError):
        inspect(BASELINE[:scan_at] + length + BASELINE[scan_at + 2 :])


def test_an_empty_response_is_a_cut_jpeg():
    with pytest.raises(CutJpegError):
        inspect(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><title>504 Gateway Time-out</title>",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"GIF89a" + bytes(64),
        b"\x1f\x8b" + bytes(64),
        b"II*\0" + bytes(64),
        b"\xff",
        b"\xffx",
        b"\0" + BASELINE,
        b"\n" + BASELINE,
        BASELINE[1:],
    ],
    ids=lambda data: repr(data[:4]),
)
def test_data_that_does_not_begin_as_a_jpeg_is_rejected(data):
    error = CutJpegError if data == b"\xff" else NotAJpegError
    with pytest.raises(error):
        inspect(data)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), begin=st.sampled_from([b"", b"\xff\xd8"]))
def test_any_bytes_are_a_shape_or_one_of_two_errors(data, begin):
    try:
        shape = inspect(begin + data)
    except (CutJpegError, NotAJpegError):
        return
    assert shape.width_px > 0
    assert shape.height_px > 0


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(sorted(JPEGS.values())),
    position=st.integers(0, 10_000),
    value=st.binary(min_size=1, max_size=3),
    removed=st.integers(0, 5),
)
def test_a_damaged_jpeg_is_a_shape_or_one_of_two_errors(data, position, value, removed):
    position %= len(data)
    try:
        shape = inspect(data[:position] + value + data[position + removed :])
    except (CutJpegError, NotAJpegError):
        return
    assert shape.width_px > 0
    assert shape.height_px > 0


def test_a_run_of_ff_takes_linear_time():
    """Not measured: quadratic time for 4 MiB would exceed the time limit of the run."""
    for end in (b"\x00", b"\xd0", b""):
        with pytest.raises(CutJpegError):
            inspect(BASELINE[:-2] + b"\xff" * 2**22 + end)


@pytest.mark.parametrize("marker", [b"\xff\x01", b"\xff\xd0", b"\xff\xe0\0\2"])
def test_ten_thousand_markers_are_no_jpeg(marker):
    assert inspect(b"\xff\xd8" + marker * 9000 + BASELINE[2:]) == JpegShape(
        WIDTH, HEIGHT
    )
    with pytest.raises(NotAJpegError, match="more than 10000 markers"):
        inspect(b"\xff\xd8" + marker * 10_001 + BASELINE[2:])


class Counted(bytes):
    """Bytes that count how often, and how many of them, were read."""

    looks = 0
    seen_bytes = 0

    def __getitem__(self, where: slice) -> bytes:
        part = super().__getitem__(where)
        self.looks += 1
        self.seen_bytes += len(part)
        return part


def test_fill_bytes_are_skipped_in_large_steps():
    data = Counted(b"\xff\xd8" + b"\xff" * 2**22 + BASELINE[2:])
    assert inspect(data) == JpegShape(WIDTH, HEIGHT)
    assert data.looks < 100


def test_scans_of_one_byte_are_not_searched_by_the_mib():
    data = Counted(ONE_PIXEL + b"\xff\xda\0\2a" * 10**6)
    with pytest.raises(NotAJpegError, match="10000 markers"):
        inspect(data)
    assert data.seen_bytes < 2**30


def test_a_long_scan_is_searched_by_the_mib():
    data = Counted(ONE_PIXEL + b"\xff\xda\0\2" + bytes(16 * 2**20) + b"\xff\xd9")
    assert inspect(data) == JpegShape(1, 1)
    assert data.looks < 40
