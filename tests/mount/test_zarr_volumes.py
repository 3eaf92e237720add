"""``stack.zarr`` in a real mount: a whole experiment as one volume."""

from __future__ import annotations

import csv
import errno
import os

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from command import allenfs, run
from mounted import Mounted, errno_of, errno_of_open, until
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from pyramid import CHUNK_BYTES, TILE, decoded, padded, pixels, regions

from allenfs.sample.server import Fault

pytestmark = pytest.mark.one_libfuse

SMALL = "dataset/71670687"  # 12 sections of different sizes
CONNECTIVITY = "dataset/100141599"
SLIDES = "dataset/100055044"


def attributes(path):
    return dict(zarr.open_group(str(path), mode="r").attrs)


def sections(path):
    return attributes(path)["allenfs"]["sections"]


def test_a_volume_has_each_section_at_its_place(mounted, service):
    root = mounted / SMALL / "stack.zarr"
    array = zarr.open_array(str(root / "5"), mode="r")
    assert array.shape == (3, 12, 7361 >> 5, 13745 >> 5)
    with dask.config.set(scheduler="threads", num_workers=8):
        seen = da.from_zarr(str(root), component="5").compute()
    assert service.peak_all_requests <= 4
    assert len(service.requested) == len({*service.requested}) == 12
    assert len(mounted.stored) == 12
    places = sections(root)
    assert [one["z"] for one in places] == list(range(12))
    for one in places:
        # the whole section at that tier, which is the region that was asked for
        (stored,) = (mounted.cache_dir / "images").glob(f"*/*/{one['image_id']}/*")
        tile = decoded(stored.read_bytes())
        expected = np.full(seen.shape[2:], 255)
        left_px, top_px = one["x_px"] >> 5, one["y_px"] >> 5
        _, height_px, width_px = tile.shape
        expected = np.stack([expected] * 3)
        expected[:, top_px : top_px + height_px, left_px : left_px + width_px] = tile
        assert (seen[:, one["z"]] == expected).all()
    assert len({one["x_px"] for one in places}) > 3


def test_a_volume_is_in_micrometres(mounted, service):
    (node,) = Reader(parse_url(str(mounted / SMALL / "stack.zarr")))()
    axes = {axis["name"]: axis.get("unit") for axis in node.metadata["axes"]}
    assert axes == {"c": None, **dict.fromkeys("zyx", "micrometer")}
    # every eighth section, of 25 um
    (scale,) = node.metadata["coordinateTransformations"][2]
    assert scale["scale"] == pytest.approx([1, 200, 4 * 1.049, 4 * 1.049])
    assert node.data[2].shape == (3, 12, 7361 >> 2, 13745 >> 2)
    assert service.image_requests == 0


@pytest.mark.parametrize(
    ("view", "query"),
    [
        ("", ""),
        ("expression/", "view=expression"),
        ("q40/", "quality=40"),
    ],
)
def test_a_view_has_its_own_volume(mounted, service, view, query):
    chunk = mounted / SMALL / f"{view}stack.zarr/6/0/3/0/0"
    assert pixels(chunk).shape == (3, TILE, TILE)
    (target,) = service.requested
    assert query in target
    ((downsample, *_),) = regions([target])
    assert downsample == 6


def test_the_background_of_an_equalized_volume_is_black(mounted, service):
    root = mounted / CONNECTIVITY / "equalized/stack.zarr"
    array = zarr.open_array(str(root / "6"), mode="r")
    assert (array.fill_value, array.shape) == (0, (3, 3, 320, 464))
    chunk = pixels(root / "6/0/1/0/0")
    assert "range=0,923,0,987,0,4095" in service.requested[0]
    (stored,) = mounted.stored
    assert (chunk == padded(decoded(stored.read_bytes()), 0)).all()


@pytest.mark.mounted(readahead=0)
def test_sections_on_slides_are_asked_for_at_their_own_places(mounted, service):
    root = mounted / SLIDES / "stack.zarr"
    levels = zarr.open_group(str(root), mode="r")
    assert levels["0"].shape == (3, 20, 8640, 15120)
    with (mounted / SLIDES / "sections.csv").open() as table:
        corners = {
            int(row["image_id"]): (int(row["x_px"]), int(row["y_px"]))
            for row in csv.DictReader(table)
        }
    for one in sections(root):
        (chunk,) = (root / f"6/0/{one['z']}").glob("*/*")
        pixels(chunk)
        assert f"/{one['image_id']}?" in service.requested[-1]
        ((_, left_px, top_px, *_),) = regions(service.requested[-1:])
        assert (left_px, top_px) == corners[one["image_id"]]


def test_a_missing_section_is_empty_and_costs_no_request(database, service, mounted):
    database.change("SectionImage", 71663124, section_number=None)
    root = mounted / SMALL / "stack.zarr"
    assert [one["z"] for one in sections(root)] == [0, *range(2, 12)]
    assert attributes(root)["allenfs"]["omitted_image_ids"] == [71663124]
    array = zarr.open_array(str(root / "6"), mode="r")
    assert array.shape[1] == 12
    queries = service.query_requests
    assert (array[:, 1] == 255).all()
    assert service.image_requests == 0
    assert errno_of(os.stat, root / "6/0/1") == errno.ENOENT
    assert errno_of_open(root / "6/0/1/0/0") == errno.ENOENT
    assert service.query_requests == queries
    assert not (array[:, 2] == 255).all()


def test_names_and_sizes_are_known_and_cost_two_queries(mounted, service):
    root = mounted / SMALL / "stack.zarr"
    assert os.listdir(root) == [".zgroup", ".zattrs", *map(str, range(7))]
    assert os.listdir(root / "2") == [".zarray", "0"]
    assert os.listdir(root / "2/0") == [str(z) for z in range(12)]
    run("ls", "-lR", root)
    found = run("find", root, "-size", f"{CHUNK_BYTES}c").splitlines()
    assert len(found) > 12 * 7
    assert "stack.zarr" not in os.listdir(mounted / SMALL)
    assert (service.query_requests, service.image_requests) == (2, 0)


def test_a_failed_tile_is_an_errno_and_then_the_pixels(tmp_path, service):
    with Mounted(tmp_path, service.url, warnings=["71663124"]) as mounted:
        root = mounted / SMALL / "stack.zarr"
        array = zarr.open_array(str(root / "6"), mode="r")
        service.fail(Fault.STATUS_404, image_id=71663124)
        assert array[:, 0].shape == array[:, 2].shape
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            array[:]
        service.heal()
        assert not (array[:, 1] == 255).all()


def test_planes_of_one_chunk_are_read_ahead(mounted, service):
    """Whoever scrolls through a volume sees the next sections at once."""
    places = sections(mounted / SMALL / "stack.zarr")
    planes = [mounted / SMALL / f"stack.zarr/6/0/{z}/0/0" for z in range(12)]
    for plane in planes[:2]:
        pixels(plane)
    until(lambda: len(mounted.stored) == 4)
    service.close()
    for plane in planes[2:4]:
        pixels(plane)
    first = [one["image_id"] for one in places[:4]]
    assert sorted(int(path.parts[-2]) for path in mounted.stored) == sorted(first)


def test_prefetch_takes_a_level_for_offline_use(mounted, service):
    level = mounted / SMALL / "stack.zarr/6"
    assert allenfs("prefetch", "-r", level).returncode == 0
    mounted.stop()
    service.close()
    mounted.start()
    assert zarr.open_array(str(level), mode="r")[:].shape == (3, 12, 115, 214)
