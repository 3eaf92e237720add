"""Programs that read ``allen://``: what they see, what it costs, how it fails."""

from __future__ import annotations

from collections.abc import Callable

import dask.array
import dask.bag
import fsspec
import imageio.v3
import numpy as np
import pandas as pd
import pytest
import zarr
from mounted import image_bytes, port_of
from PIL import Image
from pyramid import TILE, decoded, regions
from upath import UPath

from allenfs.sample.server import Fault, SampleService

SECTION = 69750516  # 14065 x 7297
IMAGE = f"section/{SECTION}/ds6/image.jpg"
PYRAMID = f"section/{SECTION}/image.zarr"
LEVEL = f"{PYRAMID}/5"  # one tile
REGION = f"section/{SECTION}/ds5/roi439x228+0+0/image.jpg"  # its tile
TABLE = "dataset/69782969/sections.csv"
LISTING = "dataset/69782969/ds6"


@pytest.fixture
def quick(quick):
    """A failure is also forgotten at once."""
    return quick | {"failure_memory_s": 0, "not_found_memory_s": 0}


# What each program reads


def read_pandas(options):
    return pd.read_csv(f"allen://{TABLE}", storage_options=options)["section_number"]


def read_pillow(options):
    with fsspec.open(f"allen://{IMAGE}", **options) as file, Image.open(file) as image:
        return np.asarray(image)


def read_imageio(options):
    with fsspec.open(f"allen://{IMAGE}", **options) as file:
        return imageio.v3.imread(file)


def read_upath(options):
    image = UPath(f"allen://{IMAGE}", **options)
    assert image.exists()
    return imageio.v3.imread(image.read_bytes())


def read_upath_glob(options):
    files = UPath(f"allen://{LISTING}", **options).glob("*.jpg")
    return [int(file.name[:4]) for file in files if file.read_bytes()]


def read_zarr(options):
    return zarr.open(f"allen://{LEVEL}", mode="r", storage_options=options)[:]


def read_dask_array(options):
    return dask.array.from_zarr(f"allen://{LEVEL}", storage_options=options).compute()


def read_dask_bag(options):
    paths = fsspec.filesystem("allen", **options).glob(f"{LISTING}/*.jpg")
    numbers = dask.bag.from_sequence(paths).map(section_number, options)
    return numbers.compute(scheduler="threads")


def section_number(path, options):
    with fsspec.open(f"allen://{path}", **options) as file:
        assert Image.open(file).size
    return int(path.rpartition("/")[2][:4])


def image(service):
    return decoded(image_bytes(service.url, IMAGE)).transpose(1, 2, 0)


def level(service):
    return decoded(image_bytes(service.url, REGION))


def section_numbers(_):
    return [62, 70, 78, 86, 94]


# how, the truth, and how many images that needs
READERS: dict[str, tuple[Callable, Callable, int]] = {
    "pandas": (read_pandas, section_numbers, 0),
    "pillow": (read_pillow, image, 1),
    "imageio": (read_imageio, image, 1),
    "upath": (read_upath, image, 1),
    "upath_glob": (read_upath_glob, section_numbers, 5),
    "zarr": (read_zarr, level, 1),
    "dask_array": (read_dask_array, level, 1),
    "dask_bag": (read_dask_bag, section_numbers, 5),
}
readers = pytest.mark.parametrize(
    ("read", "truth", "images"), READERS.values(), ids=READERS
)


@readers
def test_program_reads_what_the_service_has_each_image_once(
    service, options, read, truth, images
):
    expected = truth(service)
    service.reset_counters()
    for _ in range(2):
        assert np.array_equal(read(options), expected)
        assert service.image_requests == images


@readers
def test_program_is_told_why_there_is_nothing_and_later_reads_it(
    service, options, read, truth, images
):
    expected = truth(service)
    service.close()
    with pytest.raises(OSError, match="refused"):
        read(options)
    with SampleService(port=port_of(service.url)):
        assert np.array_equal(read(options), expected)


@pytest.mark.parametrize(
    "fault", [Fault.STATUS_404, Fault.STATUS_403, Fault.CUT_CHUNKED, Fault.NOT_A_JPEG]
)
def test_failed_tile_is_an_error_and_not_a_value_of_the_array(service, options, fault):
    """Zarr readers treat a missing file as an empty chunk."""
    for array in (
        zarr.open(f"allen://{LEVEL}", mode="r", storage_options=options),
        dask.array.from_zarr(f"allen://{LEVEL}", storage_options=options),
    ):
        service.fail(fault)
        with pytest.raises(OSError, match="image_download/69750516"):
            np.asarray(array)
        service.heal()
    assert np.array_equal(np.asarray(array), level(service))


def test_one_pixel_is_one_tile(service, options):
    pyramid = zarr.open(f"allen://{PYRAMID}", mode="r", storage_options=options)
    assert pyramid["0"][:, 3000, 9000].shape == (3,)
    assert regions(service.requested) == [(0, 8 * TILE, 2 * TILE, TILE, TILE)]


def test_path_of_upath_knows_what_is_there_before_it_is_read(service, options):
    directory = UPath("allen://dataset/69782969", **options)
    names = [path.name for path in directory.iterdir()]
    assert {"sections.csv", "ds4"} <= set(names)
    image = directory / "ds6" / "0078_69750516.jpg"
    assert image.exists()
    assert not image.with_name("0079_69750516.jpg").exists()
    assert directory.is_dir()
    assert image.is_file()
    assert service.image_requests == 0
    assert image.stat().st_size == 0  # not known
    data = image.read_bytes()
    assert image.stat().st_size == len(data)
    assert service.image_requests == 1
