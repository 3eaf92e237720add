"""Pages of a stack: one size for all, known from the record, and bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allenfs.errors import PathNotFoundError
from allenfs.model import stack, tree
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.nodes import CollectionFile
from allenfs.model.records import Collection, SectionImage

ISH = [(14_081, 7425), (14_065, 7297), (13_857, 7499)]


def data_set(*sizes_px: tuple[int, int]) -> Collection:
    images = (
        SectionImage(100 + place, place, *size_px)
        for place, size_px in enumerate(sizes_px)
    )
    return Collection({}, {image.image_id: image for image in images})


@pytest.mark.parametrize("downsample", range(1, 11))
def test_pages_are_as_wide_and_as_high_as_the_largest(downsample):
    # of two images: the widest is not the highest
    expected = 14_081 >> downsample, 7499 >> downsample
    assert stack.page_px(data_set(*ISH), downsample) == expected


def test_an_image_without_a_size_does_not_count():
    assert stack.page_px(data_set(*ISH, (0, 10_000_000), (10_000_000, 0)), 3) == (
        1760,
        937,
    )
    with pytest.raises(PathNotFoundError, match="has a size in its record"):
        stack.page_px(data_set((0, 0), (0, 7)), 3)
    with pytest.raises(PathNotFoundError, match="has a size in its record"):
        stack.page_px(data_set(), 3)


def test_the_largest_size_is_computed_once_for_all_pages():
    """A listing of 2600 pages took 3 s when each page looked at all images."""
    collection = data_set(*ISH)
    assert stack.page_px(collection, 2) == (3520, 1874)
    collection.images.clear()
    assert stack.page_px(collection, 1) == (7040, 3749)


@pytest.mark.parametrize(
    ("size_px", "downsample", "advice"),
    [
        ((14_081, 7425), 0, "14081 x 7425 pixels are too large: use ds1 or"),
        ((29_696, 20_480), 1, "14848 x 10240 pixels are too large: use ds3 or"),
        ((65_501, 400), 0, "65501 x 400 pixels are too large: use ds1 or"),
        ((10**7, 10**7), 10, "9765 x 9765 pixels are too large: use stack.zarr"),
    ],
)
def test_pages_that_take_too_much_memory_are_none_and_say_what_to_use(
    size_px, downsample, advice
):
    with pytest.raises(PathNotFoundError, match=advice):
        stack.page_px(data_set(size_px), downsample)


def test_largest_page_is_of_32_megapixels():
    assert stack.page_px(data_set((8000, 4000)), 0) == (8000, 4000)
    with pytest.raises(PathNotFoundError):
        stack.page_px(data_set((8000, 4001)), 0)
    assert stack.page_px(data_set((3, 5)), 10) == (1, 1)


def test_a_page_is_stored_by_all_that_is_drawn_on_it():
    file = tree.parse("dataset/7/stack/ds4/0001_101.jpg")
    assert isinstance(file, CollectionFile)
    source = ImageRequest(ImageService.SECTION, 101, 4)
    page = stack.page(file, data_set(*ISH), source)
    assert page.path == "dataset/7/stack/ds4/0001_101.jpg"
    assert page.size_px == (880, 468)
    assert page.size_bound_bytes() == 880 * 468 * 3 + 64 * 1024
    same = stack.page(file, data_set(*reversed(ISH)), source)
    assert (same, hash(same), same.key) == (page, hash(page), page.key)
    others = [
        stack.page(file, data_set((14_081, 7521)), source),
        stack.page(file, data_set((14_099, 7499)), source),
        stack.page(file, data_set(*ISH), replace(source, downsample=3)),
        stack.page(file, data_set(*ISH), replace(source, view="expression")),
        stack.page(file, data_set(*ISH), replace(source, range=(0, 1, 2, 3, 4, 5))),
        stack.page(file, data_set(*ISH), replace(source, image_id=102)),
    ]
    assert len({page, *others}) == len({one.key for one in (page, *others)}) == 7
    assert others[3].path == "dataset/7/expression/stack/ds4/0001_101.jpg"
    assert others[4].path == "dataset/7/range0,1,2,3,4,5/stack/ds4/0001_101.jpg"
