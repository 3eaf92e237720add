"""What is on a contact sheet, where, and how large it is: from the record alone."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.errors import PathNotFoundError
from allenfs.model import sheets, tree
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.nodes import CollectionDirectory, SheetFile
from allenfs.model.records import Collection, SectionImage, in_section_order

JPEG_LIMIT_PX = 65_535
MEGAPIXEL = 10**6


def data_set(count: int, width_px: int = 11_377, height_px: int = 7953) -> Collection:
    rows = [
        {
            "id": 72_000_000 + 4 * number,
            "section_number": 8 * number,
            "width": width_px,
            "height": height_px,
        }
        for number in range(count)
    ]
    record = {
        "id": 1,
        "genes": [{"acronym": "Pdyn", "name": "prodynorphin"}],
        "products": [{"name": "Mouse Brain"}],
        "plane_of_section": {"name": "sagittal"},
        "treatments": [{"name": "ISH"}],
    }
    return Collection(record, in_section_order(rows), treatments=("ISH",))


def directory(path: str) -> CollectionDirectory:
    node = tree.parse(path)
    assert isinstance(node, CollectionDirectory)
    return node


def sheet(
    collection: Collection, path: str = "dataset/1"
) -> sheets.SheetRequest | None:
    return sheets.sheet(directory(path), collection, directory(path).view.of(0))


def made(collection: Collection, path: str = "dataset/1") -> sheets.SheetRequest:
    found = sheet(collection, path)
    assert found is not None
    return found


LISTINGS = """
dataset/1 dataset/1/expression dataset/1/equalized/q50 dataset/1/ds0 browse/atlas/2
browse/atlas/2/NISSL browse/atlas/2/annotated
"""
NO_SHEETS = """
contact_sheet.jpg dataset/contact_sheet.jpg section/1/contact_sheet.jpg
dataset/1/ds4/contact_sheet.jpg dataset/1/ds6/contact_sheet.jpg
dataset/1/roi9x9/contact_sheet.jpg dataset/1/Contact_Sheet.jpg
dataset/1/contact_sheet.jpeg dataset/1/contact_sheet.jpg/ds4
browse/atlas/2/ds4/contact_sheet.jpg browse/atlas/contact_sheet.jpg
browse/contact_sheet.jpg
"""


@pytest.mark.parametrize("path", LISTINGS.split())
def test_a_listing_has_a_sheet(path):
    node = tree.parse(f"{path}/contact_sheet.jpg")
    assert node == SheetFile(directory(path))


@pytest.mark.parametrize("path", NO_SHEETS.split())
def test_nothing_else_has_a_sheet(path):
    with contextlib.suppress(PathNotFoundError):
        assert not isinstance(tree.parse(path), SheetFile)


def test_a_sheet_says_what_the_record_says():
    found = made(data_set(12), "dataset/1/expression")
    assert found.heading == "Data set 1 \u00b7 Pdyn"
    assert found.facts == (
        "prodynorphin \u00b7 Mouse Brain \u00b7 sagittal \u00b7 ISH \u00b7 expression"
    )
    assert found.count == "12 sections"
    assert found.path == "dataset/1/expression/contact_sheet.jpg"
    assert found.thumbnail(3) == ImageRequest(
        ImageService.SECTION, 72_000_012, downsample=6, view="expression"
    )
    numbers = [image.section_number for image in found.images]
    assert numbers == sorted(numbers)


def test_failed_sections_are_counted():
    collection = data_set(2)
    last = list(collection.images.values())[-1]
    collection.images[last.image_id] = last._replace(failed=True)
    assert made(collection).count == "2 sections, 1 failed"
    assert made(data_set(1)).count == "1 section"


def test_sheets_are_equal_if_their_records_are():
    first = made(data_set(5))
    assert made(data_set(5)) == first
    assert hash(made(data_set(5))) == hash(first)
    assert made(data_set(5)).key == first.key
    fewer, wider = made(data_set(4)), made(data_set(5, width_px=20_000))
    renamed = data_set(5)
    renamed.record["genes"] = [{"acronym": "Calb1"}]
    failed = data_set(5)
    one = next(iter(failed.images.values()))
    failed.images[one.image_id] = one._replace(failed=True)
    others = [fewer, wider, made(renamed), made(failed)]
    others.append(made(data_set(5), "dataset/1/expression"))
    assert len({first.key, *(other.key for other in others)}) == 6
    assert len({first, *others}) == 6


def test_a_data_set_and_an_atlas_of_one_id_are_two_sheets():
    atlas = made(data_set(5), "browse/atlas/1")
    assert atlas.path == "browse/atlas/1/contact_sheet.jpg"
    assert atlas.key.startswith("sheet/1/atlas_")
    assert made(data_set(5)).key.startswith("sheet/1/dataset_")


@pytest.mark.parametrize("count", [0, 5001, 20_000])
def test_no_sheet_of_no_images_or_too_many(count):
    assert sheet(data_set(count)) is None


sides = st.sampled_from([0, 1, 64, 640, 11_377, 130_000, 10**7])


@settings(deadline=None, max_examples=300)
@given(
    count=st.one_of(st.integers(1, 70), st.sampled_from([2600, 5000])),
    width_px=sides,
    height_px=sides,
    id_digits=st.integers(4, 18),
)
def test_every_sheet_is_bounded_and_its_cells_do_not_overlap(
    count, width_px, height_px, id_digits
):
    collection = data_set(1, width_px, height_px)
    images = tuple(
        SectionImage(10 ** (id_digits - 1) + place, place, width_px, height_px)
        for place in range(count)
    )
    grid = replace(made(collection), images=images).grid
    width, height = grid.size_px
    assert max(width, height) <= JPEG_LIMIT_PX
    assert width * height <= 24 * MEGAPIXEL
    assert 0 < grid.scale <= 1
    corners = [grid.corner_px(place) for place in range(count)]
    assert len(set(corners)) == count
    assert corners == sorted(corners, key=lambda corner: (corner[1], corner[0]))
    picture_width, picture_height = grid.picture_px
    for left, top in corners:
        assert sheets.MARGIN_PX <= left <= width - sheets.MARGIN_PX - picture_width
        assert top > sheets.TITLE_PX
        assert top + picture_height + grid.label_px <= height - sheets.MARGIN_PX
    assert grid.cell_px >= (picture_width, picture_height + grid.label_px)


def test_pictures_of_a_usual_data_set_are_not_reduced():
    assert made(data_set(60)).grid.scale == 1
    assert made(data_set(140, 14_065, 7297)).grid.scale == 1
