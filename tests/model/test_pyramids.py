"""Pyramids: the grid of tiles, where they may stand, and what describes them."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.errors import IsADirError, PathNotFoundError, UrlInRecordError
from allenfs.model import nodes, tree
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.pyramids import Chunk, Plane, Pyramid, level_count
from allenfs.model.records import SectionImage
from allenfs.model.volumes import Section, volume

TILE = 1024
many = settings(max_examples=150, deadline=None)
words = str.split

sides = st.integers(1, 40_000)
corners = st.integers(0, 100_000)
tier_counts = st.none() | st.integers(1, 20)
REQUEST = ImageRequest(ImageService.SECTION, 1)


def pyramid_of(full_px, tier_count, corner_px, fill_value=255):
    levels = level_count(full_px, tier_count)
    planes = {0: Plane(REQUEST, full_px, corner_px)}
    return Pyramid(full_px, levels, 1.049, fill_value, planes)


def array_of(pyramid, level):
    source = tree.parse("section/1/image.jpg")
    return json.loads(pyramid.metadata(nodes.ZarrNode(source, (level,), ".zarray")))


def attributes_of(pyramid):
    source = tree.parse("section/1/image.jpg")
    return json.loads(pyramid.metadata(nodes.ZarrNode(source, (), ".zattrs")))


def numbers_in(pyramid, *numbers):
    return [int(name) for name in pyramid.names(numbers) if not name.startswith(".")]


def chunks_in(pyramid, *above):
    """Yield the indices of all chunks that are listed below a directory."""
    depth = 5 if pyramid.spacing else 4
    for number in numbers_in(pyramid, *above):
        if len(above) + 1 == depth:
            yield (*above, number)
        else:
            yield from chunks_in(pyramid, *above, number)


def cuts(chunk: Chunk) -> tuple[range, range]:
    """Return what a chunk's tile covers of the chunk, across and down."""
    width_px, height_px = chunk.size_px
    return (
        range(chunk.left_px, chunk.left_px + width_px),
        range(chunk.top_px, chunk.top_px + height_px),
    )


def joined(ranges):
    """Return the one range that ranges make, which must follow each other."""
    for one, other in itertools.pairwise(ranges):
        assert one.stop == other.start
    return range(ranges[0].start, ranges[-1].stop)


# The grid


@many
@given(sides, sides, corners, corners, tier_counts)
def test_tiles_partition_every_level_inside_the_image(
    width_px, height_px, left_px, top_px, tier_count
):
    pyramid = pyramid_of((width_px, height_px), tier_count, (left_px, top_px))
    assert 1 <= pyramid.level_count <= 11
    assert numbers_in(pyramid) == list(range(pyramid.level_count))
    for level in range(pyramid.level_count):
        _, level_height_px, level_width_px = array_of(pyramid, level)["shape"]
        assert (level_width_px, level_height_px) == (
            width_px >> level,
            height_px >> level,
        )
        assert level_width_px >= 1
        assert level_height_px >= 1
        rows = []
        for row in numbers_in(pyramid, level, 0):
            columns = []
            for column in numbers_in(pyramid, level, 0, row):
                chunk = pyramid.chunk((level, 0, row, column))
                roi = chunk.request.roi
                assert chunk.request.downsample == level
                across, down = cuts(chunk)
                assert (across.start, down.start) == (0, 0)
                assert max(across.stop, down.stop) <= TILE
                # the region is where the chunk is, and ends inside the image
                assert roi.left_px_full == left_px + (column * TILE << level)
                assert roi.top_px_full == top_px + (row * TILE << level)
                right_px = roi.left_px_full + (roi.width_px << level)
                assert right_px <= left_px + width_px
                bottom_px = roi.top_px_full + (roi.height_px << level)
                assert bottom_px <= top_px + height_px
                columns.append(range(column * TILE, column * TILE + len(across)))
            assert joined(columns) == range(level_width_px)
            rows.append(range(row * TILE, row * TILE + len(down)))
        assert joined(rows) == range(level_height_px)


def test_no_directory_or_chunk_is_outside_the_grid():
    pyramid = pyramid_of((14065, 7297), 7, (0, 0))
    for outside in [(7,), (0, 1), (0, 0, 8), (0, 0, 0, 14), (6, 0, 0, 1)]:
        assert pyramid.has(outside[:-1])
        assert not pyramid.has(outside)
    assert pyramid.has((0, 0, 7, 13))
    assert sum(1 for _ in chunks_in(pyramid, 0)) == 8 * 14


@pytest.mark.parametrize(
    ("full_px", "tier_count", "levels"),
    [
        # recorded
        *[((8992, 4936), None, 7), ((14065, 7297), None, 7), ((4232, 3864), None, 6)],
        *[((11400, 8000), None, 7), ((38272, 100), None, 7), ((256, 256), None, 1)],
        # of the slide
        ((4232, 3864), 9, 9),
        # a side must have a pixel, and the service a tier
        *[((40_000, 3), 9, 2), ((1, 1), 20, 1), ((10**7, 10**7), 20, 11)],
    ],
)
def test_levels_are_those_of_the_record(full_px, tier_count, levels):
    assert level_count(full_px, tier_count) == levels


# What describes them


def test_metadata_of_an_image_are_those_of_ome_zarr():
    pyramid = pyramid_of((14065, 7297), 7, (0, 0), fill_value=0)
    (image,) = attributes_of(pyramid)["multiscales"]
    assert image["version"] == "0.4"
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert [axis.get("unit") for axis in image["axes"]] == [None, *["micrometer"] * 2]
    scales = [one["coordinateTransformations"] for one in image["datasets"]]
    assert scales[3] == [{"type": "scale", "scale": [1.0, 8 * 1.049, 8 * 1.049]}]
    omero = attributes_of(pyramid)["omero"]
    assert [one["color"] for one in omero["channels"]] == words("FF0000 00FF00 0000FF")
    assert array_of(pyramid, 3) == {
        "zarr_format": 2,
        "shape": [3, 912, 1758],
        "chunks": [3, 1024, 1024],
        "dtype": "|u1",
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "order": "C",
        "dimension_separator": "/",
    }


def test_without_a_resolution_there_is_no_unit():
    planes = {0: Plane(REQUEST, (4000, 3000), (0, 0))}
    attributes = attributes_of(Pyramid((4000, 3000), 3, None, 255, planes))
    (image,) = attributes["multiscales"]
    assert all("unit" not in axis for axis in image["axes"])
    (scale,) = image["datasets"][2]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 4.0, 4.0]


# Volumes


def section(image_id, number, width_px=3000, height_px=2000, **fields):
    fields = {"resolution_um": 1.049, "x_px": 0, "y_px": 0, "tier_count": 5} | fields
    image = SectionImage(image_id, number, width_px, height_px, **fields)
    return Section(image, ImageRequest(ImageService.SECTION, image_id))


@st.composite
def data_sets(draw):
    count = draw(st.integers(1, 6))
    px = st.integers(1, 9000)
    return [
        section(
            *(n + 1, draw(st.integers(0, 40)), draw(px), draw(px)),
            tier_count=draw(tier_counts),
            x_px=draw(corners),
            y_px=draw(corners),
        )
        for n in range(count)
    ]


@many
@given(data_sets())
def test_each_section_is_whole_in_every_level_of_a_volume(sections):
    found = volume(sections, 25.0, 255)
    by_id = {one.image.image_id: one.image for one in sections}
    for level in range(found.level_count):
        shape = array_of(found, level)["shape"]
        assert shape == [
            *(3, found.spacing.planes),
            *(side_px >> level for side_px in reversed(found.full_px)),
        ]
        for z in numbers_in(found, level, 0):
            image = by_id[found.planes[z].request.image_id]
            rows = []
            for row in numbers_in(found, level, 0, z):
                columns = []
                for column in numbers_in(found, level, 0, z, row):
                    chunk = found.chunk((level, 0, z, row, column))
                    across, down = cuts(chunk)
                    roi = chunk.request.roi
                    # the same place of the section, whatever the level
                    shift_px = found.planes[z].shift_px
                    left_px = column * TILE + across.start << level
                    assert roi.left_px_full == image.x_px + left_px - shift_px[0]
                    top_px = row * TILE + down.start << level
                    assert roi.top_px_full == image.y_px + top_px - shift_px[1]
                    columns.append(
                        range(column * TILE + across.start, column * TILE + across.stop)
                    )
                width = joined(columns)
                assert len(width) == image.width_px >> level
                assert 0 <= width.start <= width.stop <= shape[3]
                rows.append(range(row * TILE + down.start, row * TILE + down.stop))
            height = joined(rows)
            assert len(height) == image.height_px >> level
            assert 0 <= height.start <= height.stop <= shape[2]


@many
@given(data_sets())
def test_sections_are_centred_to_a_pixel_of_the_deepest_level(sections):
    found = volume(sections, 25.0, 255)
    for plane in found.planes.values():
        for shift_px, side_px, most_px in zip(
            plane.shift_px, plane.full_px, found.full_px, strict=True
        ):
            assert shift_px % 2 ** (found.level_count - 1) == 0
            middle_px = (most_px - side_px) // 2
            assert 0 <= middle_px - shift_px < 2 ** (found.level_count - 1)


def test_planes_are_at_the_distances_of_the_section_numbers():
    found = volume([section(3, 46), section(1, 30), section(2, 38)], 25.0, 255)
    assert [plane.request.image_id for plane in found.planes.values()] == [1, 2, 3]
    assert found.spacing == (3, 8, 200.0)
    # with a gap, and with no common distance
    found = volume([section(1, 30), section(2, 38), section(3, 54)], 25.0, 255)
    assert list(found.planes) == [0, 1, 3]
    assert not found.has((0, 0, 2))
    found = volume([section(1, 30), section(2, 38), section(3, 45)], None, 255)
    assert list(found.planes) == [0, 8, 15]
    assert found.spacing == (16, 1, None)
    assert volume([section(1, 30)], 25.0, 255).spacing == (1, 1, 25.0)


def test_a_volume_has_what_all_its_sections_have():
    found = volume([section(1, 1, tier_count=4), section(2, 2, tier_count=6)], 1, 255)
    assert found.level_count == 4
    assert found.resolution_um == 1.049
    found = volume([section(1, 1), section(2, 2, resolution_um=1.63)], 1, 255)
    assert found.resolution_um is None
    # a record without a resolution does not contradict the others
    found = volume([section(1, 1), section(2, 2, resolution_um=None)], 1, 255)
    assert found.resolution_um == 1.049
    assert volume([section(1, 1, resolution_um=None)], 1, 255).resolution_um is None


def test_sections_without_a_place_are_omitted_and_named():
    sections = [
        *(section(5, 3), section(4, 3), section(6, None), section(7, 4, width_px=0)),
        *(section(8, 4, x_px=None), section(9, 5)),
    ]
    found = volume(sections, 25.0, 255)
    assert [plane.request.image_id for plane in found.planes.values()] == [4, 9]
    added = attributes_of(found)["allenfs"]
    assert added["omitted_image_ids"] == [5, 6, 7, 8]
    assert [(one["z"], one["section_number"]) for one in added["sections"]] == [
        (0, 3),
        (1, 5),
    ]
    assert volume(sections[2:5], 25.0, 255) is None


def test_chunks_are_listed_by_rows_or_by_planes_of_one_chunk():
    found = volume([section(n, n, tier_count=3) for n in (1, 2, 4)], 25.0, 255)
    # 1500 x 1000 pixels, and 750 x 500
    assert found.listing((1, 0, 3, 0, 1)) == (1, 0, 3, 0)
    assert [one.roi.left_px_full for one in found.tiles((1, 0, 3, 0))] == [0, 2048]
    assert found.listing((2, 0, 3, 0, 0)) == (2, 0)
    assert [one.image_id for one in found.tiles((2, 0))] == [1, 2, 4]
    for z, request in zip((0, 1, 3), found.tiles((2, 0)), strict=True):
        assert found.chunk((2, 0, z, 0, 0)).request == request
    pyramid = pyramid_of((3000, 2000), 3, (0, 0))
    assert pyramid.listing((2, 0, 0, 0)) == (2, 0, 0)
    assert pyramid.tiles((2, 0, 0)) == (pyramid.chunk((2, 0, 0, 0)).request,)


def test_axes_of_a_volume_are_in_the_order_of_ome_zarr():
    found = volume([section(1, 30), section(2, 38)], 25.0, 255)
    (image,) = attributes_of(found)["multiscales"]
    # 0.4 requires the channels before the axes of space
    assert [axis["name"] for axis in image["axes"]] == ["c", "z", "y", "x"]
    (scale,) = image["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 200.0, 2 * 1.049, 2 * 1.049]
    assert array_of(found, 1)["chunks"] == [3, 1, 1024, 1024]


# The grammar


@pytest.mark.parametrize(
    "directory",
    [
        *words("section/1/image section/1/expression projection/1/projection"),
        *words("section/1/ds0/image atlas/1/image atlas/1/annotated/atlas2"),
        *words("section/1/q50/equalized/image section/1/range0,1,2,3,4,5/image"),
        *words("section/1/rgb1,0,1/contrast0.5,1/colormap1/image"),
        *words("dataset/1/stack dataset/1/equalized/stack dataset/1/expression/stack"),
    ],
)
def test_pyramids_stand_where_images_and_data_sets_have_no_tier(directory):
    root = tree.parse(f"{directory}.zarr")
    assert isinstance(root, nodes.ZarrNode)
    indices = "0/2/1/3" if "stack" in directory else "0/1/3"
    chunk = tree.parse(f"{directory}.zarr/4/{indices}")
    assert chunk == nodes.ZarrNode(root.source, (4, *map(int, indices.split("/"))))
    assert chunk.is_chunk
    with pytest.raises(UrlInRecordError):
        tree.request_of(chunk)
    for name in ("", "/4", "/.zgroup", "/.zattrs", "/4/.zarray", "/4/0"):
        node = tree.parse(f"{directory}.zarr{name}")
        assert not node.is_chunk
        with pytest.raises(IsADirError):
            tree.request_of(node)


@pytest.mark.parametrize(
    "path",
    [
        # with a tier or a region
        *words("section/1/ds4/image.zarr section/1/roi9x9+0+0/image.zarr"),
        *words("section/1/at9x9+0+0/image.zarr dataset/1/ds4/stack.zarr"),
        *words("dataset/1/at9x9+0+0/stack.zarr dataset/1/roi9x9+0+0/stack.zarr"),
        # no such image
        *words("section/1/atlas2.zarr atlas/1/atlas2.zarr atlas/1/expression.zarr"),
        *words("section/1/stack.zarr dataset/1/image.zarr section/1/drawing.zarr"),
        *words("section/1/.zarr section/1/image.zarr.jpg"),
        *words("dataset/1/ds4/0001_2.zarr dataset/1/contact_sheet.zarr"),
        *words("browse/atlas/1/foo.zarr browse/atlas/1/stack.zarr"),
        *words("dataset/1/0001_2.jpg/stack.zarr section/1/image.jpg/image.zarr"),
        # what readers look for
        *words("section/1/image.zarr/zarr.json section/1/image.zarr/.zmetadata"),
        *words("section/1/image.zarr/.zarray section/1/image.zarr/4/.zattrs"),
        *words("section/1/image.zarr/4/.zgroup section/1/image.zarr/4/zarr.json"),
        *words("section/1/image.zarr/4/0/.zarray section/1/image.zarr/OME"),
        # other numbers
        *words("section/1/image.zarr/04 section/1/image.zarr/4/0.1.3"),
        *words("section/1/image.zarr/-1 section/1/image.zarr/4/0/1/3/5"),
        *words("section/1/image.zarr/4/0/1/x section/1/image.zarr/4/0/1/3/.zarray"),
        *words("section/1/image.zarr/\u0664 dataset/1/stack.zarr/1/0/1/1/1/1"),
        *["section/1/image.zarr/", "section/1/image.zarr//0", "section/1/image.zarr/."],
        "section/1/image.zarr/" + "9" * 11,
    ],
)
def test_other_names_of_pyramids_do_not_exist(path):
    with pytest.raises(PathNotFoundError):
        tree.parse(path)
