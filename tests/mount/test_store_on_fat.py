"""A store on a disk of other systems: no modes, coarse times, names of one case."""

from __future__ import annotations

import os

import pytest
from command import allenfs
from disks import on_fat
from mounted import Mounted, image_bytes

from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set, add_genes

pytestmark = pytest.mark.one_libfuse

# changed in an odd second, or without Last-Modified
ODD, UNTIMED = "section/102146163/ds6/image.jpg", "section/69750516/ds6/image.jpg"


@pytest.fixture
def mounted(tmp_path, service):
    disk, behind = tmp_path / "disk", tmp_path / "behind"
    disk.mkdir()
    behind.mkdir()
    with (
        on_fat(behind, disk),
        Mounted(tmp_path, service.url, cache_dir=disk / "store") as mounted,
    ):
        yield mounted


def times(mounted):
    return [(mounted / path).stat().st_mtime_ns for path in (ODD, UNTIMED)]


def test_a_store_on_fat_keeps_images_and_their_times(mounted, service):
    (mounted / ODD).read_bytes()
    service.fail(Fault.WITH_CONTENT_LENGTH)
    (mounted / UNTIMED).read_bytes()
    first = times(mounted)
    assert len(mounted.stored) == 2
    mounted.stop()
    mounted.start()
    assert times(mounted) == first
    for path in (ODD, UNTIMED):
        with (mounted / path).open("rb") as file:
            assert file.read() == image_bytes(service.url, path)
            assert os.fstat(file.fileno()).st_mtime_ns in first
    assert times(mounted) == first
    mounted.stop()
    done = allenfs("cache", "verify", "--cache-dir", mounted.cache_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 images checked, 0 damaged" in done.stdout


def test_genes_that_differ_in_case_are_both_kept_on_fat(database, mounted, service):
    for number, gene in enumerate(add_genes(database, ["Abc", "aBC"]), 5):
        add_data_set(database, number, genes=[gene])
    genes = "browse/product/Mouse/gene"
    for _ in range(2):
        assert os.listdir(mounted / genes / "Abc/sagittal") == ["5"]
        assert os.listdir(mounted / genes / "aBC/sagittal") == ["6"]
        mounted.stop()
        service.close()
        mounted.start()
