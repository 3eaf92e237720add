"""Chunks whose tiles are not what they must be: an errno, and never other pixels."""

from __future__ import annotations

import errno
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from command import allenfs
from hostile_service import JPEG, HostileService, head, one_page, whole
from mounted import Mounted, errno_of, errno_of_open, until
from PIL import Image
from pyramid import padded, pixels, regions

pytestmark = pytest.mark.one_libfuse

RECORD = {"id": 7, "width": 1500, "height": 1200, "x": 40, "y": 30, "tier_count": 3}
ZARR = "section/7/image.zarr"
CHUNK = f"{ZARR}/0/0/1/1"  # 476 x 176 pixels of it


def jpeg(size_px, mode="RGB"):
    """Return a JPEG of one colour, which it keeps whatever the quality."""
    colour = 77 if mode == "L" else (200, 100, 50)
    out = io.BytesIO()
    Image.new(mode, size_px, colour).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def heal(service):
    def tile(target):
        ((*_, width_px, height_px),) = regions([target])
        return [whole(jpeg((width_px, height_px)))]

    service.image = tile
    service.query = one_page(json.dumps([RECORD]))


@pytest.fixture
def service():
    """A service of one section, which answers each region with as many pixels."""
    with HostileService() as running:
        heal(running)
        yield running


@pytest.fixture
def mounted(request, tmp_path, service):
    mark = request.node.get_closest_marker("mounted")
    with Mounted(tmp_path, service.url, **(mark.kwargs if mark else {})) as mounted:
        yield mounted


def tiles(service):
    return regions([one for one in service.requests if "query.json" not in one])


def test_each_channel_is_a_plane(mounted, service):
    chunk = pixels(mounted / CHUNK)
    tile = np.array([200, 100, 50])[:, None, None] + np.zeros((3, 176, 476))
    assert np.abs(chunk.astype(int) - padded(tile, 255)).max() <= 2
    assert (chunk[:, 176:] == 255).all()
    assert (chunk[:, :, 476:] == 255).all()
    assert tiles(service) == [(0, 40 + 1024, 30 + 1024, 476, 176)]


def test_a_grey_tile_has_three_equal_planes(mounted, service):
    service.image = lambda _: [whole(jpeg((476, 176), "L"))]
    assert (pixels(mounted / CHUNK) == padded(np.full((3, 176, 476), 77), 255)).all()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (jpeg((475, 176)), "it has 475 x 176 pixels, not 476 x 176"),
        (jpeg((476, 177)), "it has 476 x 177 pixels, not 476 x 176"),
        (jpeg((176, 476)), "it has 176 x 476 pixels"),
        (JPEG, "it has 65535 x 65535 pixels"),
        (JPEG.replace(b"\xff" * 4, b"\0\xb0\1\xdc"), "cannot be decoded"),
    ],
    ids=["narrow", "high", "turned", "huge", "undecodable"],
)
@pytest.mark.mounted(warnings=["that is not the tile"])
def test_a_wrong_tile_is_eio_and_then_the_pixels(mounted, service, answer, why):
    service.image = lambda _: [whole(answer)]
    assert errno_of_open(mounted / CHUNK) == errno.EIO
    words = os.getxattr(mounted / CHUNK, "user.allenfs.error").decode()
    assert words.startswith("the service answers with something that is not the tile")
    assert why in words
    assert why in mounted.log
    assert mounted.stored == []
    array = zarr.open_array(str(mounted / ZARR / "0"), mode="r")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        array[:, 1100, 1100]
    heal(service)
    assert abs(int(array[0, 1100, 1100]) - 200) <= 2
    assert errno_of(os.getxattr, mounted / CHUNK, "user.allenfs.error") == errno.ENODATA


@pytest.mark.mounted(failure_memory_s=60, warnings=["that is not the tile"])
def test_a_wrong_tile_is_remembered_and_asked_for_once(mounted, service):
    service.image = lambda _: [whole(jpeg((5, 5)))]
    for _ in range(5):
        assert errno_of_open(mounted / CHUNK) == errno.EIO
    assert len(tiles(service)) == 1


def test_prefetch_of_a_wrong_tile_fails_and_keeps_nothing(mounted, service):
    service.image = lambda _: [whole(jpeg((5, 5)))]
    done = allenfs("prefetch", mounted / CHUNK)
    assert done.returncode == 1
    assert "it has 5 x 5 pixels, not 476 x 176" in done.stderr
    assert mounted.stored == []


@pytest.mark.mounted(failure_memory_s=60, warnings=["that is not the tile"])
def test_a_wrong_tile_for_many_readers_is_one_line_of_the_log(mounted, service):
    service.image = lambda _: [whole(jpeg((5, 5)))]
    with ThreadPoolExecutor(16) as readers:
        failed = list(readers.map(errno_of_open, [mounted / CHUNK] * 16))
    assert failed == [errno.EIO] * 16
    assert len(tiles(service)) == 1
    assert mounted.log.count("that is not the tile") == 1


@pytest.mark.mounted(warnings=["that is not the tile"])
def test_a_region_may_have_another_size_than_its_name(mounted, service):
    """The service cuts regions at the edges; only a pyramid knows better."""
    service.image = lambda _: [whole(jpeg((5, 5)))]
    image = mounted / "section/7/roi476x176+1064+1054/image.jpg"
    assert image.read_bytes() == jpeg((5, 5))
    assert errno_of_open(mounted / CHUNK) == errno.EIO
    assert image.read_bytes() == jpeg((5, 5))


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_a_tier_that_the_service_has_lost_is_eio_and_the_others_are_read(
    mounted, service
):
    answer = service.image

    def lost(target):
        if "downsample" in target:
            return answer(target)
        return [head("404 Not Found", "Content-Length: 0")]

    service.image = lost
    group = zarr.open_group(str(mounted / ZARR), mode="r")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        group["0"][:, :9, :9]
    assert errno_of_open(mounted / CHUNK) == errno.EIO
    assert "404" in os.getxattr(mounted / CHUNK, "user.allenfs.error").decode()
    # the region is an image that does not exist
    image = mounted / "section/7/roi476x176+1064+1054/image.jpg"
    assert errno_of_open(image) == errno.ENOENT
    assert group["1"][:].shape == (3, 600, 750)
    assert group["2"][:].shape == (3, 300, 375)
    service.image = answer
    assert group["0"][:].shape == (3, 1200, 1500)


@pytest.mark.parametrize(
    ("missing", "what"),
    [("width", "width and height"), ("height", "width and height"), ("x", "x and y")],
)
def test_without_a_size_or_a_corner_there_is_no_pyramid(
    mounted, service, missing, what
):
    service.query = one_page(json.dumps([RECORD | {missing: None}]))
    assert errno_of(os.stat, mounted / ZARR) == errno.ENOENT
    words = os.getxattr(mounted / "section/7", "user.allenfs.error").decode()
    assert words == f"image.zarr: the catalog has no {what} of image 7"
    assert tiles(service) == []


@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_a_changed_record_is_another_pyramid(mounted, service):
    def shape():
        return json.loads((mounted / ZARR / "0/.zarray").read_bytes())["shape"]

    assert shape() == [3, 1200, 1500]
    service.query = one_page(json.dumps([RECORD | {"width": 900}]))
    until(lambda: shape() == [3, 1200, 900])
    assert errno_of_open(mounted / CHUNK) == errno.ENOENT
    assert os.listdir(mounted / ZARR / "0/0/1") == ["0"]


def test_new_pixels_are_not_mixed_with_the_kernels_old_ones(mounted, service):
    chunk = mounted / CHUNK
    service.image = lambda _: [whole(jpeg((476, 176), "L"))]
    assert pixels(chunk)[0, 0, 0] == 77
    for stored in mounted.stored:
        stored.unlink()
    heal(service)
    assert abs(int(pixels(chunk)[0, 0, 0]) - 200) <= 2
