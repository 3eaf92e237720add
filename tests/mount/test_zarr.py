"""Pyramids in a real mount: what their readers see, and what that costs."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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

SECTION = 69750516  # 14065 x 7297
ZARR = f"section/{SECTION}/image.zarr"
SIZES_PX = [(14065 >> level, 7297 >> level) for level in range(7)]


def chunk_files(directory: Path) -> list[Path]:
    return sorted(
        path for path in directory.rglob("*") if path.is_file() and "." not in path.name
    )


def roi(level: int, row: int, column: int, size_px: tuple[int, int], corner=(0, 0)):
    """Return the path of the region that a chunk shows."""
    width_px = min(TILE, size_px[0] - column * TILE)
    height_px = min(TILE, size_px[1] - row * TILE)
    left_px = corner[0] + (column * TILE << level)
    top_px = corner[1] + (row * TILE << level)
    return f"ds{level}/roi{width_px}x{height_px}+{left_px}+{top_px}"


# What is there


@pytest.mark.parametrize(
    ("listed", "canonical"),
    [
        ("dataset/69782969/0078_69750516.zarr", ZARR),
        (
            "dataset/100141599/equalized/0061_102146167.zarr",
            "section/102146167/equalized/image.zarr",
        ),
        (
            "browse/atlas/2/annotated/0020_100883869.zarr",
            "atlas/100883869/annotated/atlas2.zarr",
        ),
    ],
)
def test_pyramid_of_a_listed_image_is_that_of_the_image(
    mounted, service, listed, canonical
):
    for file in (".zattrs", "5/.zarray", "5/0/0/0"):
        expected = (mounted / canonical / file).read_bytes()
        assert (mounted / listed / file).read_bytes() == expected
    assert service.image_requests == len(mounted.stored) == 1
    assert not (mounted / listed.replace("_", "0_")).exists()


def test_a_view_of_a_few_tiles_costs_few_more(mounted, service):
    for row in range(3):
        for column in range(4, 8):
            assert (mounted / f"{ZARR}/0/0/{row}/{column}").stat()
            with (mounted / f"{ZARR}/0/0/{row}/{column}").open("rb") as chunk:
                chunk.read(1)
    # two for each row that read-ahead could not know of
    assert 12 <= service.image_requests <= 24


@pytest.mark.both_libfuses
def test_names_and_sizes_are_known_before_any_image(mounted, service):
    root = mounted / ZARR
    assert os.listdir(root) == [".zgroup", ".zattrs", *map(str, range(7))]
    files = chunk_files(root)
    assert len(files) == 8 * 14 + 4 * 7 + 2 * 4 + 2 + 1 + 1 + 1
    for file in files:
        assert (file.stat().st_size, file.stat().st_blocks) == (CHUNK_BYTES, 0)
    for level, (width_px, height_px) in enumerate(SIZES_PX):
        array = json.loads((root / f"{level}/.zarray").read_bytes())
        assert array["shape"] == [3, height_px, width_px]
        assert array["fill_value"] == 255
    run("ls", "-lR", root)
    run("find", root, "-type", "f", "-size", "+1M")
    run("du", "-s", root)
    assert service.image_requests == 0
    # its record, that of its data set, and whether there are more images
    assert service.query_requests == 3


def test_a_plate_costs_one_query(mounted, service):
    root = mounted / "atlas/100883869/annotated/atlas2.zarr"
    assert len(chunk_files(root)) > 100
    assert (service.query_requests, service.image_requests) == (1, 0)


def test_pyramids_are_not_listed_and_so_not_copied(mounted, tmp_path):
    for directory in (f"section/{SECTION}", "atlas/100883869", "dataset/71670687"):
        assert not [name for name in os.listdir(mounted / directory) if "zarr" in name]


def test_other_names_do_not_exist_and_cost_no_image(mounted, service):
    os.stat(mounted / ZARR)
    queries = service.query_requests
    for name in ("zarr.json", ".zmetadata", "0/.zattrs", "0/zarr.json", "x", "03"):
        assert errno_of(os.stat, mounted / ZARR / name) == errno.ENOENT
    for name in ("7", "0/1", "0/0/8", "0/0/0/14", "6/0/1/0"):
        assert errno_of(os.stat, mounted / ZARR / name) == errno.ENOENT
    assert (service.query_requests, service.image_requests) == (queries, 0)


# What readers see


def test_every_level_is_its_tiles(mounted, service):
    group = zarr.open_group(str(mounted / ZARR), mode="r")
    for level, size_px in list(enumerate(SIZES_PX))[3:]:
        array = group[str(level)]
        assert array.shape == (3, size_px[1], size_px[0])
        whole = np.asarray(array)
        for column in range(-(-size_px[0] // TILE)):
            region = roi(level, 0, column, size_px)
            jpeg = (mounted / f"section/{SECTION}/{region}/image.jpg").read_bytes()
            left_px = column * TILE
            part = whole[:, :, left_px : left_px + TILE]
            assert (part == decoded(jpeg)).all()
    # the chunks and the regions are the same stored images
    assert service.image_requests == 2 + 1 + 1 + 1 == len(mounted.stored)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (7, 0), (0, 13), (7, 13), (3, 5)])
def test_tiles_at_the_edges_have_what_is_left(mounted, service, row, column):
    chunk = mounted / f"{ZARR}/0/0/{row}/{column}"
    region = roi(0, row, column, SIZES_PX[0])
    shown = pixels(chunk)
    jpeg = (mounted / f"section/{SECTION}/{region}/image.jpg").read_bytes()
    assert (shown == padded(decoded(jpeg), 255)).all()
    assert service.image_requests == 1
    width_px, height_px = (14065 - column * TILE, 7297 - row * TILE)
    assert regions(service.requested) == [
        (0, column * TILE, row * TILE, min(width_px, TILE), min(height_px, TILE))
    ]
    url = os.getxattr(chunk, "user.allenfs.url").decode()
    assert url.endswith(service.requested[0])
    # the bytes are not those of the tile
    assert errno_of(os.getxattr, chunk, "user.allenfs.sha256") == errno.ENODATA


@pytest.mark.parametrize(
    ("image", "corner_px", "size_px"),
    [
        ("section/101082286/image", (3248, 20688), (10992, 7296)),
        ("section/101082286/q40/expression", (3248, 20688), (10992, 7296)),
        ("projection/102146167/projection", (0, 0), (29696, 20480)),
        ("atlas/100883869/annotated/atlas2", (3008, 30592), (15504, 7824)),
    ],
)
def test_a_part_of_a_slide_is_read_at_its_own_place(
    mounted, service, image, corner_px, size_px
):
    """Each view is its own, and a chunk is the region of that view."""
    directory, _, name = image.rpartition("/")
    width_px, height_px = (side_px >> 4 for side_px in size_px)
    array = zarr.open_array(str(mounted / f"{image}.zarr/4"), mode="r")
    assert array.shape == (3, height_px, width_px)
    region = roi(4, 0, 0, (width_px, height_px), corner_px)
    jpeg = (mounted / directory / region / f"{name}.jpg").read_bytes()
    expected = decoded(jpeg)
    assert (array[:, :TILE, :TILE] == expected).all()
    assert service.image_requests == 1


def test_where_there_is_an_equalization_the_outside_is_black(mounted):
    """In the range of its experiment, or not: it is the background that counts."""
    for view, path in (
        ("", "section/102146167/image.zarr"),
        ("range0,923,0,987,0,4095", "section/102146167/equalized/image.zarr"),
    ):
        array = zarr.open_array(str(mounted / path / "5"), mode="r")
        assert array.fill_value == 0
        assert array.shape == (3, 640, 928)
        chunk = pixels(mounted / path / "5/0/0/0")
        region = f"section/102146167/ds5/roi928x640+0+0/{view}/image.jpg"
        jpeg = Path(os.path.normpath(mounted / region)).read_bytes()
        assert (chunk == padded(decoded(jpeg), 0)).all()


def test_dask_and_ome_zarr_read_it(mounted, service):
    array = da.from_zarr(str(mounted / ZARR), component="5")
    with dask.config.set(scheduler="threads", num_workers=8):
        seen = array.compute()
        (node,) = Reader(parse_url(str(mounted / ZARR)))()
        assert [level.shape for level in node.data] == [
            (3, height_px, width_px) for width_px, height_px in SIZES_PX
        ]
        assert (node.data[5].compute() == seen).all()
    (scale,) = node.metadata["coordinateTransformations"][3]
    assert scale["scale"] == pytest.approx([1, 8.392, 8.392])
    assert node.metadata["channel_names"] == ["red", "green", "blue"]
    assert service.image_requests == 1


# What it costs


@pytest.mark.mounted(readahead=8)
def test_eight_threads_read_each_tile_once_four_at_a_time(mounted, service):
    array = da.from_zarr(str(mounted / ZARR), component="1")
    with dask.config.set(scheduler="threads", num_workers=8):
        array[:, ::50, ::50].compute()
    asked = regions(service.requested)
    assert len(asked) == len(set(asked)) == 4 * 7
    assert service.peak_all_requests <= 4
    # in the store, and decoded in no file that is left
    assert len(mounted.stored) == 4 * 7
    assert not list((mounted.cache_dir / "incoming").iterdir())


def test_one_value_costs_one_tile(mounted, service):
    array = zarr.open_array(str(mounted / ZARR / "0"), mode="r")
    assert array[:, 3000, 9000].shape == (3,)
    assert regions(service.requested) == [(0, 8 * TILE, 2 * TILE, TILE, TILE)]


@pytest.mark.parametrize("columns", [range(12), range(13, 1, -1)])
def test_panning_along_a_row_reads_ahead_in_that_row(mounted, service, columns):
    for column in columns:
        pixels(mounted / f"{ZARR}/0/0/2/{column}")
    asked = regions(service.requested)
    assert len(asked) == len(set(asked)) <= 14
    assert {top_px for _, _, top_px, *_ in asked} == {2 * TILE}
    assert service.peak_all_requests <= 4


def test_what_was_read_ahead_needs_no_service(mounted, service):
    for column in (0, 1):
        pixels(mounted / f"{ZARR}/0/0/2/{column}")
    until(lambda: len(mounted.stored) == 4)
    service.close()
    for column in (2, 3):
        pixels(mounted / f"{ZARR}/0/0/2/{column}")


def test_readers_of_one_chunk_share_its_tile(mounted, service):
    chunk = mounted / f"{ZARR}/3/0/0/1"
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(Path.read_bytes, [chunk] * 16))
    assert len(set(read)) == 1
    assert service.image_requests == 1


def peak_memory_mb(mounted: Mounted) -> float:
    status = Path(f"/proc/{mounted.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_eight_readers_of_a_pyramid_need_less_than_150_mb(mounted):
    array = da.from_zarr(str(mounted / ZARR), component="1")
    with dask.config.set(scheduler="threads", num_workers=8):
        array.mean().compute()
    # whoever keeps chunks open costs files, not memory
    held = [os.open(path, os.O_RDONLY) for path in chunk_files(mounted / ZARR / "1")]
    for fd in held:
        assert len(os.pread(fd, 100, CHUNK_BYTES - 100)) == 100
        os.close(fd)
    assert peak_memory_mb(mounted) < 150


# Failures


FAULTS = {
    # a missing chunk would be an empty one
    Fault.STATUS_404: errno.EIO,
    Fault.STATUS_400: errno.EINVAL,
    Fault.STATUS_403: errno.EACCES,
    Fault.STATUS_503: errno.EIO,
    Fault.CUT_CHUNKED: errno.EIO,
    Fault.NOT_A_JPEG: errno.EIO,
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_failed_tile_is_an_errno_and_then_the_pixels(tmp_path, service, fault):
    with Mounted(tmp_path, service.url, warnings=["roi439x228"]) as mounted:
        chunk = mounted / f"{ZARR}/5/0/0/0"
        array = zarr.open_array(str(mounted / ZARR / "5"), mode="r")
        service.fail(fault, image_id=SECTION)
        assert errno_of_open(chunk) == FAULTS[fault]
        with pytest.raises(OSError, match=os.strerror(FAULTS[fault])):
            array[:]
        assert os.getxattr(chunk, "user.allenfs.error")
        assert (chunk.stat().st_size, chunk.stat().st_blocks) == (CHUNK_BYTES, 0)
        assert mounted.stored == []
        service.heal()
        jpeg = mounted / f"section/{SECTION}/ds5/roi439x228+0+0/image.jpg"
        assert (array[:] == decoded(jpeg.read_bytes())).all()
        assert errno_of(os.getxattr, chunk, "user.allenfs.error") == errno.ENODATA


def test_a_tile_that_is_evicted_comes_again(mounted, service):
    chunk = mounted / f"{ZARR}/5/0/0/0"
    before = pixels(chunk)
    assert chunk.stat().st_blocks == CHUNK_BYTES // 512
    modified_ns = chunk.stat().st_mtime_ns
    with chunk.open("rb") as file:
        assert allenfs("prefetch", "--evict", chunk).returncode == 0
        assert len(file.read()) == CHUNK_BYTES  # what is open stays readable
    until(lambda: chunk.stat().st_blocks == 0)
    assert chunk.stat().st_mtime_ns == modified_ns
    assert (pixels(chunk) == before).all()
    assert service.image_requests == 2


def test_a_tile_is_kept_over_a_restart_without_the_service(mounted, service):
    before = pixels(mounted / f"{ZARR}/5/0/0/0")
    mounted.stop()
    service.close()
    mounted.start()
    chunk = mounted / f"{ZARR}/5/0/0/0"
    assert chunk.stat().st_blocks == CHUNK_BYTES // 512
    assert (pixels(chunk) == before).all()


def test_a_failed_query_is_an_errno_and_then_the_pyramid(tmp_path, service):
    with Mounted(tmp_path, service.url, warnings=["section", "dataset"]) as mounted:
        service.fail_queries(Fault.STATUS_404)
        assert errno_of(os.stat, mounted / ZARR) == errno.EIO
        assert errno_of(os.listdir, mounted / ZARR / "3") == errno.EIO
        service.heal()
        assert os.listdir(mounted / ZARR / "3") == [".zarray", "0"]


# Programs


def test_prefetch_knows_chunks_as_their_tiles(mounted, service):
    level = mounted / ZARR / "3"
    done = allenfs("prefetch", "--check", f"{level}/0/*/*")
    assert done.stdout.splitlines() == [f"{level}/0/0/0", f"{level}/0/0/1"]
    assert allenfs("prefetch", f"{level}/0/*/*").returncode == 0
    assert allenfs("prefetch", "-r", mounted / ZARR / "4").returncode == 0
    assert service.image_requests == 3 == len(mounted.stored)
    assert allenfs("prefetch", "--check", f"{level}/0/*/*").returncode == 0
    service.close()
    assert zarr.open_array(str(level), mode="r")[:].shape == (3, 912, 1758)
    assert allenfs("prefetch", "--evict", "-r", mounted / ZARR / "4").returncode == 0
    assert len(mounted.stored) == 2


def test_a_level_is_copied_byte_for_byte(mounted, tmp_path):
    run("cp", "-r", mounted / ZARR / "2", tmp_path / "2")
    copy = zarr.open_array(str(tmp_path / "2"), mode="r")
    assert (copy[:] == zarr.open_array(str(mounted / ZARR / "2"), mode="r")[:]).all()
    for path in chunk_files(tmp_path / "2"):
        original = mounted / ZARR / path.relative_to(tmp_path)
        assert path.read_bytes() == original.read_bytes()


def test_a_row_is_copied_in_its_order_and_so_reads_ahead(mounted, tmp_path, service):
    row = mounted / ZARR / "0/0/2"
    inodes = [path.stat().st_ino for path in sorted(row.iterdir(), key=numbered)]
    assert inodes == sorted(set(inodes))
    run("cp", "-r", row, tmp_path)
    asked = [left_px for _, left_px, *_ in regions(service.requested)]
    assert len(asked) == len(set(asked)) == 14
    # four at a time arrive a little out of order
    assert all(abs(asked.index(n * TILE) - n) <= 4 for n in range(14))


def numbered(path: Path) -> int:
    return int(path.name)


def test_url_of_a_chunk_is_that_of_its_tile(mounted, service):
    done = allenfs("url", mounted / f"{ZARR}/3/0/0/1")
    assert done.stdout.strip() == (
        f"{service.url}/api/v2/image_download/{SECTION}"
        "?downsample=3&left=8192&top=0&width=734&height=912"
    )
