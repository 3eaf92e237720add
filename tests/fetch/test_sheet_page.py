"""What is drawn on a contact sheet, whatever the record and the pictures are."""

from __future__ import annotations

import gc
import io
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image
from service_doubles import Bytes
from test_sheets import data_set, made

from allenfs.config import ServiceSettings
from allenfs.errors import (
    BrokenImageError,
    BusyError,
    ImageNotFoundError,
    WrongAnswerError,
)
from allenfs.fetch import sheet_page
from allenfs.fetch.contact_sheet import SheetMaker
from allenfs.fetch.sheet_page import Page
from allenfs.model import jpeg

TEXTS = [
    "",
    "line\nand line",
    "\x1b[2J\x00\u202e\ud800",
    "\u4e2d\u6587 n\xe4her \u2026 \xb7",
    "W" * 100_000,
    "\ufdfa" * 200,
]
# a frame header and a scan, and no tables to read them by
UNDRAWABLE = (
    b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00"
    b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00\xff\xd9"
)
# 8192 x 8192, as the header says
VAST = UNDRAWABLE.replace(b"\x00\x10\x00\x10", b"\x20\x00\x20\x00")


def encoded(size, mode="RGB"):
    out = io.BytesIO()
    Image.new(mode, size).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_is_drawn_on_its_line_and_moves_nothing(text):
    request = made(data_set(3))
    page = Page(replace(request, heading=text[:500], facts=text[:500]))
    data = page.jpeg()
    assert jpeg.inspect(data) == jpeg.JpegShape(*request.grid.size_px)
    with Image.open(io.BytesIO(data)) as sheet:
        margin = sheet.convert("L").crop((0, 0, 18, sheet.height))
        assert min(margin.tobytes()) > 240


@pytest.mark.parametrize(
    ("size", "mode"),
    [((1, 1), "RGB"), ((2000, 3), "L"), ((900, 4000), "CMYK"), ((177, 124), "RGB")],
)
def test_a_picture_of_any_shape_fits_its_cell(size, mode):
    request = made(data_set(2))
    page = Page(request)
    picture = page.reduced(encoded(size, mode), "its path")
    assert picture.width <= request.grid.picture_px[0]
    assert picture.height <= request.grid.picture_px[1]
    if size == (177, 124):  # the recorded one
        assert picture.size == size
    page.lay(1, picture)


def test_what_cannot_be_drawn_is_an_error_that_says_which_picture():
    assert jpeg.inspect(UNDRAWABLE) == jpeg.JpegShape(16, 16)
    with pytest.raises(BrokenImageError, match="its path"):
        Page(made(data_set(2))).reduced(UNDRAWABLE, "its path")


def image_of(data, size_bytes=None):
    facts = SimpleNamespace(modified_ns=7, size_bytes=size_bytes or len(data))
    return SimpleNamespace(
        facts=facts, read=lambda offset, size: data[offset : offset + size]
    )


@pytest.mark.parametrize(
    "image",
    [image_of(UNDRAWABLE), image_of(VAST), image_of(encoded((9, 9)), 2**30)],
    ids=["undrawable", "vast", "long"],
)
def test_no_picture_takes_more_than_a_thumbnail_does(image):
    maker = SheetMaker(ServiceSettings("http://h"))
    request, sink = made(data_set(3)), Bytes()
    with pytest.raises(WrongAnswerError):
        maker.make(request, sink, lambda *_: image)
    assert sink.data == b""
    modified_ns = maker.make(request, sink, lambda *_: image_of(encoded((177, 124))))
    assert modified_ns == 7
    assert jpeg.inspect(sink.data) == jpeg.JpegShape(*request.grid.size_px)


@pytest.mark.parametrize("kind", [ImageNotFoundError, BusyError])
def test_a_sheet_that_failed_leaves_no_memory_to_the_garbage_collector(
    monkeypatch, kind
):
    def get(*_):
        raise kind("no")

    def page(request):
        pages.add(made_page := Page(request))
        return made_page

    pages: weakref.WeakSet[Page] = weakref.WeakSet()
    monkeypatch.setattr(sheet_page, "Page", page)
    gc.disable()
    try:
        with pytest.raises(kind):
            SheetMaker(ServiceSettings("http://h")).make(
                made(data_set(3)), Bytes(), get
            )
        assert not pages
    finally:
        gc.enable()


def test_a_bug_in_one_thread_is_raised_and_not_waited_for():
    def get(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        SheetMaker(ServiceSettings("http://h")).make(made(data_set(9)), Bytes(), get)
