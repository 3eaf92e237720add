"""The drawn pictures: size, determinism, difference, likeness, cost."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from allenfs.sample import drawing
from allenfs.sample.caption import caption, words_of
from allenfs.sample.drawing import Picture, draw
from allenfs.sample.picture import OutsideImageError
from allenfs.sample.records import RECORDS

PDYN, NISSL, PLATE, AXONS = 69750516, 71592412, 100883869, 102146167

DOCUMENTED = (
    (69750516, Picture(downsample=4)),
    (69750516, Picture(downsample=4, view="expression")),
    (69750516, Picture(left_px=6174, top_px=2282, width_px=1000, height_px=1000)),
    (71592261, Picture(downsample=3, quality=50)),
    (126862583, Picture(downsample=4, view="projection", service="projection")),
    (102146167, Picture(downsample=4, range=(0, 923, 0, 987, 0, 4095))),
    (311175878, Picture(downsample=4, view="tumor_feature_annotation")),
    (311174547, Picture(downsample=4, view="tumor_feature_boundary")),
    (71592412, Picture(downsample=4)),
    (70679088, Picture(downsample=4)),
    (100883869, Picture(downsample=4, annotation=True, service="atlas")),
    (100883869, Picture(downsample=4, annotation=True, atlas_id=2, service="atlas")),
    (100883869, Picture(downsample=4, annotation=True, atlas_id=181276165)),
    (100883771, Picture(downsample=4, service="atlas")),
)


def opened(image_id: int, picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(draw(RECORDS[image_id], picture)))
    image.load()
    return image


def pixels(image_id: int, picture: Picture) -> np.ndarray:
    return np.asarray(opened(image_id, picture), np.float32)


@pytest.mark.parametrize(("image_id", "picture"), DOCUMENTED)
def test_every_documented_picture_is_drawn_with_sizes_rounded_down(image_id, picture):
    record = RECORDS[image_id]
    width_px = picture.width_px or record.width_px >> picture.downsample
    height_px = picture.height_px or record.height_px >> picture.downsample
    assert opened(image_id, picture).size == (width_px, height_px)


def test_recorded_facts_are_kept():
    pdyn, plate = RECORDS[PDYN], RECORDS[PLATE]
    assert (pdyn.width_px, pdyn.height_px) == (14065, 7297)
    assert (pdyn.data_set_id, pdyn.section_number) == (69782969, 78)
    assert (plate.width_px, plate.height_px) == (15504, 7824)
    assert (plate.left_px, plate.top_px) == (3008, 30592)
    assert (plate.width_px >> 4, plate.height_px >> 4) == (969, 489)
    assert RECORDS[AXONS].data_set_id == 100141599
    assert RECORDS[70679088].data_set_id == 70813257
    assert RECORDS[NISSL].style == "nissl"
    assert RECORDS[71592261].style == "ish"


def test_sizes_of_invented_ish_images_are_multiples_of_16_plus_1():
    recorded_otherwise = {123, 479, 100048577, 100055044}
    sizes = {
        (record.width_px % 16, record.height_px % 16)
        for record in RECORDS.values()
        if record.style == "ish" and record.data_set_id not in recorded_otherwise
    }
    assert sizes == {(1, 1)}


def test_same_request_gives_the_same_bytes():
    first = [draw(RECORDS[i], replace(p, downsample=6)) for i, p in DOCUMENTED[3:6]]
    drawing.stack_of.cache_clear()
    drawing.cell_tile.cache_clear()
    second = [draw(RECORDS[i], replace(p, downsample=6)) for i, p in DOCUMENTED[3:6]]
    assert first == second


VARIANTS = (
    {},
    {"downsample": 4},
    {"quality": 85},
    {"quality": 0},
    {"quality": 1},
    {"quality": 100},
    {"left_px": 160},
    {"top_px": 160},
    {"width_px": 300},
    {"height_px": 150},
    {"view": "expression"},
    {"view": "projection"},
    {"view": "tumor_feature_annotation"},
    {"view": "tumor_feature_boundary"},
    {"range": (0, 923, 0, 987, 0, 4095)},
    {"range": (0, 255, 0, 255, 0, 255)},
    {"rgb": (1.0, 0.5, 0.5)},
    {"rgb": (1.0, 1.0, 1.0)},
    {"contrast": (0.5, 0.5)},
    {"contrast": (0.5, 0.6)},
    {"colormap": "0.5,0,0,256,4"},
    {"colormap": "0.5,0,0,256,2"},
    {"annotation": True},
    {"annotation": True, "atlas_id": 1},
    {"annotation": True, "atlas_id": 2},
    {"annotation": True, "atlas_id": 181276165},
    {"atlas_id": 2},
    {"service": "projection"},
)


@pytest.mark.parametrize("image_id", [PDYN, PLATE])
def test_two_different_requests_give_two_different_pictures(image_id):
    record = RECORDS[image_id]
    usual = {"downsample": 5, "width_px": 330, "height_px": 200}
    asked = [Picture(**{**usual, **more}) for more in VARIANTS]
    for index, picture in enumerate(asked):
        if picture.left_px is not None:
            asked[index] = replace(picture, left_px=record.left_px + 160)
        if picture.top_px is not None:
            asked[index] = replace(picture, top_px=record.top_px + 160)
    decoded = {opened(image_id, picture).tobytes() for picture in asked}
    assert len(decoded) == len(VARIANTS)


def test_neighbouring_sections_are_different():
    series = [r for r in RECORDS.values() if r.data_set_id in (69782969, 100048575)]
    drawn = {draw(record, Picture(downsample=7)) for record in series}
    assert len(drawn) == len(series) == 10


@pytest.mark.parametrize(
    ("filtered", "least"),
    [
        ({"range": (0, 128, 0, 128, 0, 128)}, 5),
        ({"rgb": (1.0, 0.2, 0.2)}, 20),
        ({"contrast": (0.2, 0.2)}, 20),
        ({"colormap": "0.5,0,0,256,2"}, 20),
    ],
)
def test_filters_change_the_colours_visibly(filtered, least):
    plain = pixels(PDYN, Picture(downsample=5))
    changed = pixels(PDYN, Picture(downsample=5, **filtered))
    above_caption = slice(0, 180)
    assert np.abs(plain - changed)[above_caption].mean() > least


def test_equalization_makes_a_projection_image_brighter():
    dim = pixels(AXONS, Picture(downsample=6))
    equalized = pixels(AXONS, Picture(downsample=6, range=(0, 923, 0, 987, 0, 4095)))
    assert equalized.mean() > 1.5 * dim.mean()


def test_quality_is_the_jpeg_quality_and_85_without_it():
    sizes = [len(draw(RECORDS[NISSL], Picture(downsample=4, quality=q)))
             for q in (0, 30, 60, 85, 100)]  # fmt: skip
    assert sizes == sorted(sizes)
    tables = [opened(NISSL, Picture(downsample=5, quality=q)).quantization
              for q in (None, 85, 50)]  # fmt: skip
    assert tables[0] == tables[1] != tables[2]


def test_pictures_are_baseline_jpeg_with_colours_at_half_resolution():
    for picture in (Picture(downsample=5), Picture(width_px=4200, height_px=1100)):
        data = draw(RECORDS[PDYN], picture)
        frame = data.index(b"\xff\xc0")
        samplings = [data[frame + 11 + 3 * i] for i in range(3)]
        assert samplings == [0x22, 0x11, 0x11]
        assert data.startswith(b"\xff\xd8")
        assert data.endswith(b"\xff\xd9")
        assert data[6:13] == b"JFIF\x00\x01\x01"


def test_roi_shows_the_same_place_as_the_whole_image():
    d = 3
    whole = pixels(NISSL, Picture(downsample=d, quality=95))
    left, top, width, height = 400, 250, 480, 320
    part = pixels(
        NISSL,
        Picture(
            downsample=d,
            quality=95,
            left_px=left << d,
            top_px=top << d,
            width_px=width,
            height_px=height,
        ),
    )
    same = whole[top : top + height, left : left + width]
    rows = slice(0, height - 80)  # above the caption
    assert np.abs(part - same)[rows].mean() < 3
    moved = whole[top : top + height, left + 40 : left + 40 + width]
    assert np.abs(part - moved)[rows].mean() > 8


def test_tiers_show_the_same_anatomy():
    fine = opened(PDYN, Picture(downsample=4)).reduce(4)
    coarse = opened(PDYN, Picture(downsample=6)).crop((0, 0, *fine.size))
    difference = np.abs(np.asarray(fine, np.float32) - np.asarray(coarse, np.float32))
    assert difference[:90].mean() < 4


def test_large_picture_in_strips_equals_the_same_picture_in_one_piece(monkeypatch):
    picture = Picture(left_px=6000, top_px=2000, width_px=700, height_px=517)
    whole = pixels(NISSL, picture)
    monkeypatch.setattr(drawing, "WHOLE_PX", 0)
    strips = pixels(NISSL, picture)
    assert strips.shape == whole.shape == (517, 700, 3)
    assert np.abs(strips - whole).mean() < 0.5
    assert np.abs(strips - whole).max() < 40


def test_cost_follows_the_pixels_asked_for(monkeypatch):
    painted = []
    real = drawing.Image.new

    def counting(mode, size, *color):
        painted.append(size[0] * size[1])
        return real(mode, size, *color)

    drawing.cell_tile(RECORDS[PDYN].resolution_um, 0)
    monkeypatch.setattr(drawing.Image, "new", counting)
    draw(RECORDS[PDYN], Picture(left_px=7000, top_px=3000, width_px=64, height_px=64))
    assert sum(painted) <= 8 * 64 * 64


def test_large_picture_is_never_whole_in_memory(monkeypatch):
    largest = []
    real = drawing.Image.new

    def counting(mode, size, *color):
        largest.append(size[0] * size[1])
        return real(mode, size, *color)

    monkeypatch.setattr(drawing.Image, "new", counting)
    data = draw(RECORDS[PDYN], Picture(downsample=1))
    assert Image.open(io.BytesIO(data)).size == (7032, 3648)
    assert max(largest) <= 7032 * 128


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (Picture(left_px=-100, top_px=-50, width_px=300, height_px=200), (200, 150)),
        (Picture(left_px=14000, top_px=7200, width_px=500, height_px=500), (65, 97)),
        (Picture(left_px=14064, top_px=7296), (1, 1)),
        (Picture(downsample=3, left_px=13000, width_px=900, height_px=9), (133, 9)),
        (Picture(downsample=10), (13, 7)),
    ],
)
def test_roi_that_sticks_out_is_clamped_to_the_image(picture, size):
    assert opened(PDYN, picture).size == size


@pytest.mark.parametrize(
    "picture",
    [
        Picture(left_px=14065),
        Picture(top_px=7297, height_px=5),
        Picture(left_px=-10, width_px=10),
        Picture(width_px=0),
    ],
)
def test_roi_wholly_outside_is_refused(picture):
    with pytest.raises(OutsideImageError):
        draw(RECORDS[PDYN], picture)


def test_roi_of_a_plate_is_in_slide_coordinates():
    record = RECORDS[PLATE]
    with pytest.raises(OutsideImageError):
        draw(record, Picture(left_px=0, top_px=0, width_px=100, height_px=100))
    corner = Picture(
        left_px=record.left_px, top_px=record.top_px, width_px=99, height_px=80
    )
    assert opened(PLATE, corner).size == (99, 80)


def test_caption_names_every_parameter():
    picture = Picture(
        view="expression",
        downsample=3,
        quality=50,
        left_px=16,
        top_px=8,
        width_px=700,
        height_px=600,
        range=(0, 1, 2, 3, 4, 5),
        rgb=(0.5, 1.0, 0.25),
        contrast=(0.5, 0.75),
        colormap="0.5,0,0,256,4",
        atlas_id=2,
        annotation=True,
        service="projection",
    )
    text = " ".join(words_of(RECORDS[PDYN], picture))
    for part in (
        "69750516", "ds3", "700 x 600 from 16, 8", "expression", "quality 50",
        "range 0,1,2,3,4,5", "rgb 0.5,1,0.25", "contrast 0.5,0.75",
        "colormap 0.5,0,0,256,4", "atlas 2", "annotated", "projection service",
    ):  # fmt: skip
        assert part in text


def test_thumbnail_has_a_caption_and_a_stamp_has_none():
    record = RECORDS[PDYN]
    assert caption(record, Picture(downsample=6)) is not None
    assert caption(record, Picture(downsample=9)) is None


def test_a_region_shows_the_slide_with_the_tissue_beside_a_section():
    lower, upper = 101082286, 101082287
    # from the middle of the upper section to the top of the lower one
    spot = Picture(
        downsample=4, left_px=3744, top_px=14_000, width_px=500, height_px=600
    )
    seen = [pixels(image_id, spot)[:300] for image_id in (lower, upper)]
    assert np.abs(seen[0] - seen[1]).max() < 16  # above the captions; JPEG noise
    own = pixels(upper, Picture(downsample=4))
    there = own[(14_000 - RECORDS[upper].top_px) >> 4 :][:100, :500]
    assert there.std() > 5  # tissue, not bare glass
    assert np.abs(seen[0][:100] - there).mean() < 4
    outside = Picture(left_px=19_200, top_px=0, width_px=9, height_px=9)
    with pytest.raises(OutsideImageError):
        draw(RECORDS[lower], outside)
