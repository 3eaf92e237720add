"""A region shows the pixels of the whole picture: tiles join, captions included."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from allenfs.sample import drawing
from allenfs.sample.caption import TILE_PX, caption
from allenfs.sample.drawing import Picture, draw
from allenfs.sample.records import RECORDS

ISH, NISSL, AXONS, TUMOR = 69750516, 71592412, 102146167, 311174547
PLATE, ON_A_SLIDE = 100883869, 101082287

KINDS = (
    (ISH, Picture()),
    (ISH, Picture(view="expression")),
    (ISH, Picture(rgb=(1.0, 0.5, 0.5), contrast=(0.6, 0.5))),
    (NISSL, Picture(colormap="0.5,0,0,256,4")),
    (AXONS, Picture(range=(0, 923, 0, 987, 0, 4095))),
    (AXONS, Picture(view="projection", service="projection")),
    (TUMOR, Picture(view="tumor_feature_boundary")),
    (PLATE, Picture(annotation=True, atlas_id=2, service="atlas")),
    (ON_A_SLIDE, Picture()),
)


@pytest.fixture
def drawn(monkeypatch):
    """Return a function that draws a picture and returns its pixels, not encoded."""
    kept = []

    def keep(image, _quality):
        kept.append(np.asarray(image, np.int16))
        return b""

    def keep_strips(strips, _height_px, quality):
        parts = [(keep(strip, quality), kept.pop())[1] for strip in strips]
        kept.append(np.concatenate(parts))
        return b""

    monkeypatch.setattr(drawing, "encode", keep)
    monkeypatch.setattr(drawing, "encode_strips", keep_strips)

    def pixels(image_id, picture):
        draw(RECORDS[image_id], picture)
        return kept.pop()

    return pixels


def region(image_id, picture, corner_px, size_px):
    """Return a picture of a region; both are pixels of the tier, from the image."""
    record, d = RECORDS[image_id], picture.downsample
    return replace(
        picture,
        left_px=record.left_px + (corner_px[0] << d),
        top_px=record.top_px + (corner_px[1] << d),
        width_px=size_px[0],
        height_px=size_px[1],
    )


@pytest.mark.parametrize(("image_id", "picture"), KINDS)
@pytest.mark.parametrize("downsample", [3, 5, 8])
def test_any_region_has_the_pixels_of_that_place(
    drawn, monkeypatch, image_id, picture, downsample
):
    monkeypatch.setattr(drawing, "caption", lambda *_: None)
    picture = replace(picture, downsample=downsample)
    whole = drawn(image_id, picture)
    dice = random.Random(downsample)
    for _ in range(4):
        height, width = (dice.randint(1, min(700, side)) for side in whole.shape[:2])
        top = dice.randint(0, whole.shape[0] - height)
        left = dice.randint(0, whole.shape[1] - width)
        part = drawn(image_id, region(image_id, picture, (left, top), (width, height)))
        assert np.array_equal(part, whole[top : top + height, left : left + width])


@pytest.mark.parametrize(("image_id", "picture"), KINDS)
@pytest.mark.parametrize("downsample", [3, 6])
def test_the_tiles_of_a_tier_join_to_the_whole_with_its_caption(
    drawn, image_id, picture, downsample
):
    picture = replace(picture, downsample=downsample)
    whole = drawn(image_id, picture)
    assert caption(RECORDS[image_id], picture) is not None
    joined = np.full_like(whole, -1)
    for top in range(0, whole.shape[0], TILE_PX):
        for left in range(0, whole.shape[1], TILE_PX):
            place = joined[top : top + TILE_PX, left : left + TILE_PX]
            size_px = place.shape[1::-1]
            tile = region(image_id, picture, (left, top), size_px)
            place[:] = drawn(image_id, tile)
    assert np.array_equal(joined, whole)


def test_a_large_image_is_drawn_in_strips_like_its_tiles(drawn):
    picture = Picture(downsample=2)
    whole = drawn(ISH, picture)
    assert whole.size > 3 * drawing.WHOLE_PX
    tile = region(ISH, picture, (TILE_PX, 0), (TILE_PX, TILE_PX))
    assert np.array_equal(drawn(ISH, tile), whole[:TILE_PX, TILE_PX : 2 * TILE_PX])


def test_regions_of_a_slide_join_whichever_of_its_images_they_are_asked_of(drawn):
    d, left_px, top_px = 4, 3744, 14_000  # shows parts of both images
    spot = Picture(downsample=d, left_px=left_px, top_px=top_px, width_px=500)
    seen = drawn(ON_A_SLIDE, replace(spot, height_px=600))
    part = replace(spot, left_px=left_px + (90 << d), top_px=top_px + (40 << d))
    part = replace(part, width_px=300, height_px=200)
    rows = slice(0, 120)  # above the caption
    for image_id in (ON_A_SLIDE, ON_A_SLIDE - 1):
        again = drawn(image_id, part)[rows]
        assert np.array_equal(again, seen[40:160, 90:390])
        assert again.std() > 5  # not bare glass


def test_tiles_at_full_resolution_join(drawn):
    middle = region(
        NISSL, Picture(), (4 * TILE_PX + 800, 3 * TILE_PX + 900), (400, 300)
    )
    seen = drawn(NISSL, middle)
    right_below = drawn(
        NISSL,
        region(NISSL, Picture(), (5 * TILE_PX, 4 * TILE_PX), (TILE_PX, TILE_PX)),
    )
    assert np.array_equal(seen[124:200, 224:], right_below[:76, :176])  # no caption yet


def test_a_tile_differs_from_the_whole_by_its_jpeg_blocks_alone():
    picture = Picture(downsample=3, quality=100)
    first, rest = ((0, 0), (1024, 912)), ((1024, 0), (734, 912))
    whole = decoded(ISH, picture)
    for (left, top), (width, height) in (first, rest):
        tile = decoded(ISH, region(ISH, picture, (left, top), (width, height)))
        same = whole[top : top + height, left : left + width]
        assert np.abs(tile - same).max() < 16
        assert np.corrcoef(tile.ravel(), same.ravel())[0, 1] > 0.999


def decoded(image_id, picture):
    image = Image.open(io.BytesIO(draw(RECORDS[image_id], picture)))
    return np.asarray(image, np.float32)


@pytest.mark.parametrize(
    ("corner_px", "size_px"),
    [
        ((0, 0), (1024, 1024)),
        ((2048, 1024), (1024, 800)),  # the last row of a tier
        ((3072, 0), (444, 1024)),  # the last column
        ((0, 0), (1008, 1000)),  # a volume moves a section by 64 and 96 pixels
        ((1008, 1000), (1024, 824)),
    ],
)
def test_tiles_have_no_caption_of_their_own(corner_px, size_px):
    record, picture = RECORDS[ISH], Picture(downsample=2)
    found = caption(record, region(ISH, picture, corner_px, size_px))
    whole = caption(record, picture)
    assert found is not None
    assert whole is not None
    assert found.lines == whole.lines
    assert (found.left_px, found.top_px) == (
        -corner_px[0],
        whole.top_px - corner_px[1],
    )


@pytest.mark.parametrize(
    ("corner_px", "size_px"),
    [((0, 0), (500, 400)), ((700, 300), (1000, 1000)), ((1000, 0), (1024, 999))],
)
def test_any_other_region_has_a_caption_that_names_it(corner_px, size_px):
    found = caption(
        RECORDS[ISH], region(ISH, Picture(downsample=2), corner_px, size_px)
    )
    assert found is not None
    assert found.top_px + found.height_px == size_px[1]
    left_px, top_px = (4 * side_px for side_px in corner_px)
    text = f"{size_px[0]} x {size_px[1]} from {left_px}, {top_px}"
    assert text in " ".join(found.lines)
