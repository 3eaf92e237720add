"""What is drawn on a page of a stack, and what it takes."""

from __future__ import annotations

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from service_doubles import Bytes
from test_sheet_page import UNDRAWABLE, encoded, image_of

from allenfs.config import ServiceSettings
from allenfs.errors import BrokenImageError, ImageTooLargeError, WrongAnswerError
from allenfs.fetch import stack_page
from allenfs.fetch.contact_sheet import SheetMaker
from allenfs.model import jpeg
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.stack import PageRequest

SOURCE = ImageRequest(ImageService.SECTION, 101, 4)
MODES = ["RGB", "L", "CMYK"]


def request(*size_px: int) -> PageRequest:
    return PageRequest(SOURCE, size_px, "the page")


def decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
        opened.load()
    return opened


def section(size_px, background, blot=(90, 40, 120)) -> bytes:
    """A section: a blot on a background, with a scratch at the very border."""
    picture = Image.new("RGB", size_px, background)
    width_px, height_px = size_px
    picture.paste(blot, (width_px // 4, height_px // 4, width_px // 2, height_px // 2))
    picture.paste((0, 0, 0), (0, 0, width_px, 1))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def made(data: bytes, page_px: tuple[int, int]) -> bytes:
    sink = Bytes()
    maker = SheetMaker(ServiceSettings("http://h"))
    assert maker.make(request(*page_px), sink, lambda *_: image_of(data)) == 7
    return sink.data


@pytest.mark.parametrize("background", [(240, 238, 236), (1, 2, 3), (250, 20, 130)])
def test_a_section_is_centred_and_its_background_goes_on(background):
    source = section((301, 200), background)
    page = decoded(made(source, (420, 333)))
    assert (page.format, page.mode, page.size) == ("JPEG", "RGB", (420, 333))
    own = decoded(source)
    left_px, top_px = (420 - 301) // 2, (333 - 200) // 2
    assert stack_page.background(own) == stack_page.background(page)
    for corner in ((0, 0), (419, 0), (0, 332), (419, 332), (210, top_px - 5)):
        for seen, expected in zip(page.getpixel(corner), background, strict=True):
            assert abs(seen - expected) <= 2
    # no pixel of the section is scaled or shifted
    for x_px, y_px in ((100, 70), (120, 90), (200, 150)):
        there = page.getpixel((left_px + x_px, top_px + y_px))
        here = own.getpixel((x_px, y_px))
        assert max(abs(a - b) for a, b in zip(there, here, strict=True)) <= 3


def test_background_is_the_median_of_each_channel_at_the_border():
    dice = random.Random(7)
    picture = Image.new("RGB", (64, 48))
    border = [[], [], []]
    for x_px in range(64):
        for y_px in range(48):
            pixel = tuple(dice.randrange(256) for _ in range(3))
            picture.putpixel((x_px, y_px), pixel)
            # each corner lies in two strips
            times = (x_px < 8) + (x_px >= 56) + (y_px < 8) + (y_px >= 40)
            for values, value in zip(border, pixel, strict=True):
                values.extend([value] * times)
    medians = tuple(sorted(values)[(len(values) - 1) // 2] for values in border)
    assert stack_page.background(picture) == medians


@pytest.mark.parametrize("size_px", [(1, 1), (3, 90), (90, 3), (1, 600)])
def test_the_smallest_pictures_have_a_background_too(size_px):
    page = decoded(made(section(size_px, (200, 200, 200)), (100, 600)))
    assert page.size == (100, 600)


def test_a_section_of_the_size_is_its_image_unchanged():
    source = section((301, 200), (240, 240, 240))
    assert made(source, (301, 200)) == source


@pytest.mark.parametrize("mode", MODES)
def test_all_pages_are_of_one_kind(mode):
    for page_px in ((177, 124), (200, 124), (177, 125)):
        page = decoded(made(encoded((177, 124), mode), page_px))
        assert (page.mode, page.size) == ("RGB", page_px)


@pytest.mark.parametrize("size_px", [(201, 150), (200, 151), (201, 151), (199, 151)])
def test_a_tier_rounded_up_loses_one_pixel(size_px):
    assert decoded(made(section(size_px, (9, 9, 9)), (200, 150))).size == (200, 150)


@pytest.mark.parametrize("size_px", [(202, 150), (200, 152), (4000, 1)])
def test_a_section_that_does_not_fit_is_an_error_that_says_why(size_px):
    sink, maker = Bytes(), SheetMaker(ServiceSettings("http://h"))
    reason = f"{size_px[0]} x {size_px[1]} pixels, more than .*: 200 x 150"
    image = image_of(section(size_px, (9, 9, 9)))
    with pytest.raises(WrongAnswerError, match=reason):
        maker.make(request(200, 150), sink, lambda *_: image)
    assert sink.data == b""
    # another one is drawn
    image = image_of(section((200, 150), (9, 9, 9)))
    assert maker.make(request(200, 150), sink, lambda *_: image) == 7


def test_what_cannot_be_decoded_or_is_too_long_is_an_error():
    sink, maker = Bytes(), SheetMaker(ServiceSettings("http://h"))
    with pytest.raises(BrokenImageError, match="section/101/ds4"):
        maker.make(request(99, 99), sink, lambda *_: image_of(UNDRAWABLE))
    image = image_of(encoded((9, 9)), 2**30)
    with pytest.raises(WrongAnswerError, match="too large"):
        maker.make(request(99, 99), sink, lambda *_: image)
    small = SheetMaker(ServiceSettings("http://h", max_image_bytes=300))
    with pytest.raises(ImageTooLargeError):
        small.make(request(99, 99), sink, lambda *_: image_of(encoded((9, 9))))
    assert sink.data == b""


@pytest.mark.parametrize(
    ("page_px", "at_a_time"),
    [((4000, 2000), 2), ((4000, 2001), 1), ((2000, 2000), 4), ((8000, 4000), 1)],
)
def test_pages_drawn_at_a_time_have_16_megapixels_or_are_one(
    monkeypatch, page_px, at_a_time
):
    lock, together = threading.Lock(), threading.Barrier(at_a_time)
    drawn_px, peaks_px = [0], []

    def drawn(*_):
        with lock:
            drawn_px[0] += page_px[0] * page_px[1]
            peaks_px.append(drawn_px[0])
        together.wait(30)  # as many are drawn at once
        with lock:
            drawn_px[0] -= page_px[0] * page_px[1]
        return data

    data = encoded((9, 9))
    monkeypatch.setattr(stack_page, "drawn", drawn)
    maker = SheetMaker(ServiceSettings("http://h"))
    with ThreadPoolExecutor(8) as pool:
        sinks = [Bytes() for _ in range(8)]
        for made_ns in pool.map(
            lambda sink: maker.make(request(*page_px), sink, lambda *_: image_of(data)),
            sinks,
        ):
            assert made_ns == 7
    peak_px = at_a_time * page_px[0] * page_px[1]
    assert max(peaks_px) == peak_px
    assert at_a_time == 1 or peak_px <= 16_000_000
    assert all(jpeg.inspect(sink.data) for sink in sinks)


def test_a_failure_gives_its_pixels_back(monkeypatch):
    def drawn(*_):
        raise BrokenImageError("no")

    maker, data = SheetMaker(ServiceSettings("http://h")), encoded((9, 9))
    with monkeypatch.context() as patched:
        patched.setattr(stack_page, "drawn", drawn)
        for _ in range(3):
            with pytest.raises(BrokenImageError):
                maker.make(request(8000, 4000), Bytes(), lambda *_: image_of(data))
    monkeypatch.setattr(stack_page, "drawn", lambda *_: data)
    assert maker.make(request(8000, 4000), Bytes(), lambda *_: image_of(data)) == 7
