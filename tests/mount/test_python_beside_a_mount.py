"""``allen://`` and a mount on one store: what one has, the other has."""

from __future__ import annotations

import functools
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from mounted import image_bytes

from allenfs.adapters.fsspec import AllenFileSystem

pytestmark = pytest.mark.one_libfuse

IMAGE, OTHER = "section/69750516/ds6/image.jpg", "section/69750516/ds7/image.jpg"
LISTED = [
    *("section/69750516", "dataset/69782969", "dataset/69782969/quint/ds4"),
    *("browse/product/Mouse/gene/Adora2a/sagittal", "browse/atlas", "structure/DG"),
    *("dataset/69782969/structure/DG", "section/69750516/image.zarr/4"),
]


@pytest.fixture
def opened(service):
    """Returns a file system of Python on a store."""
    options = {"api_url": service.url, "skip_instance_cache": True}
    return functools.partial(AllenFileSystem, **options)


def test_an_image_of_a_shared_store_is_requested_once(mounted, service, opened):
    allen = opened(cache_dir=str(mounted.cache_dir))
    assert allen.cat(IMAGE) == (mounted / IMAGE).read_bytes()
    assert (mounted / OTHER).read_bytes() == allen.cat(OTHER)
    both = "section/69750516/ds5/image.jpg"
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(allen.cat, both), pool.submit((mounted / both).read_bytes)]
    assert {one.result() for one in reads} == {image_bytes(service.url, both)}
    assert service.image_requests == 3 + 1  # the last one is the test's


def test_details_are_those_of_the_mount(mounted, opened):
    allen = opened(cache_dir=str(mounted.cache_dir))
    for path in (IMAGE, "dataset/69782969/sections.csv"):
        (mounted / path).read_bytes()
        seen, details = os.stat(mounted / path), allen.info(path)
        assert (details["size"], details["mode"]) == (seen.st_size, seen.st_mode)
        assert details["mtime"] == pytest.approx(seen.st_mtime)
    assert allen.du("section/69750516/ds6") == len((mounted / IMAGE).read_bytes())


def test_a_listing_shows_the_same_for_no_more_queries(
    mounted, service, opened, tmp_path
):
    allen = opened(cache_dir=str(tmp_path / "other"))
    for path in LISTED:
        service.reset_counters()
        lines = list_of(mounted / path)
        queries = service.query_requests
        found = allen.ls(path)
        assert service.query_requests - queries <= queries
        assert service.image_requests == 0
        names = {line.partition(" -> ")[0].split()[-1] for line in lines}
        assert {one["name"].removeprefix(f"{path}/") for one in found} == names
        links = {line.split()[-3] for line in lines if " -> " in line}
        assert {
            os.path.basename(one["name"]) for one in found if one["islink"]
        } == links


def list_of(directory):
    """Return the lines of a long listing."""
    listed = ["ls", "-lA", "--time-style=+", f"{directory}/"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[1:]
