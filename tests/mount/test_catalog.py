"""The catalog through a mount: complete, with few requests, one image stored once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from command import run
from mounted import Mounted, errno_of

from allenfs.sample.database import Database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService

WAYS_TO_A_DATA_SET = [
    "dataset/100141599",
    "dataset/100141599/ds4",
    "dataset/100141599/ds4/equalized",
    "dataset/100141599/expression",
    "section/102146167/dataset/",
    "section/102146167/dataset/ds2/equalized",
]


@pytest.mark.parametrize("way", WAYS_TO_A_DATA_SET)
def test_data_set_costs_three_requests_at_most(
    mounted: Mounted, service: SampleService, way: str
) -> None:
    for path in (way, way, *WAYS_TO_A_DATA_SET[:4], way):
        run("ls", "-l", mounted / path)
    assert service.query_requests <= 3
    assert service.image_requests == 0
    mounted.stop()
    mounted.start()
    assert os.listdir(mounted / way)
    assert service.query_requests <= 3


def test_bound_of_an_unknown_size_is_the_records(
    mounted: Mounted, service: SampleService
) -> None:
    file = mounted / "dataset/69782969/ds4/0078_69750516.jpg"
    # 14065 x 7297 after 4 halvings
    assert file.stat().st_size == 879 * 456 * 3 + 64 * 1024
    assert file.stat().st_blocks == 0
    data = file.read_bytes()
    assert file.stat().st_size == len(data)
    assert (mounted / "section/69750516/ds4/image.jpg").stat().st_size == len(data)
    assert service.image_requests == 1


def test_one_image_is_one_entry_whichever_path_opened_it(
    mounted: Mounted, service: SampleService
) -> None:
    sagittal = "browse/product/Mouse/gene/Adora2a/sagittal"
    datas = {
        (mounted / path).read_bytes()
        for path in (
            "section/70679088/ds4/image.jpg",
            "dataset/70813257/ds4/0061_70679088.jpg",
            f"{sagittal}/70813257/ds4/0061_70679088.jpg",
            "section/70679080/dataset/ds4/0061_70679088.jpg",
        )
    }
    assert len(datas) == 1
    assert service.image_requests == 1
    assert len(mounted.stored) == 1


def test_the_same_region_of_sections_on_one_slide_differs_per_section(
    mounted: Mounted, tmp_path: Path, service: SampleService
) -> None:
    sections = ["0045_101082286.jpg", "0053_101082287.jpg", "0061_101082288.jpg"]
    place = "at600x400+4000+3000"
    directory = mounted / f"dataset/100055044/{place}"
    whole = sorted(os.listdir(directory))
    assert set(sections) < set(whole)
    assert len(whole) == 10
    copy = tmp_path / "copy"
    run("cp", "-r", directory, copy)
    assert service.image_requests == 10
    datas = [(copy / name).read_bytes() for name in sections]
    assert len(set(datas)) == 3
    # every other spelling of it is the same stored image
    for path in (
        f"section/101082286/{place}/image.jpg",
        "section/101082286/roi600x400+7248+23688/image.jpg",
        "dataset/100055044/roi600x400+7248+23688/0045_101082286.jpg",
    ):
        assert (mounted / path).read_bytes() == datas[0]
        url = os.getxattr(mounted / path, "user.allenfs.url").decode()
        assert url.endswith(
            "/image_download/101082286?left=7248&top=23688&width=600&height=400"
        )
    plate = mounted / "atlas/100883869/at600x400+7000+3000/annotated/atlas2.jpg"
    same = mounted / "browse/atlas/2/annotated/at600x400+7000+3000"
    assert plate.read_bytes() == (same / "0020_100883869.jpg").read_bytes()
    assert service.image_requests == 11


@pytest.mark.mounted(warnings=["HTTP 403"])
def test_a_region_from_the_corner_of_an_unknown_image_fails_as_its_record_does(
    mounted: Mounted, service: SampleService
) -> None:
    assert errno_of(os.stat, mounted / "section/4/at9x9+0+0/image.jpg") == errno.ENOENT
    service.fail_queries(Fault.STATUS_403, times=None)
    for path in ("section/101082286/at9x9+0+0", "dataset/100055044/at9x9+0+0"):
        assert errno_of(os.listdir, mounted / path) == errno.EIO
    service.heal()
    mounted.stop()
    mounted.start()
    file = mounted / "section/101082286/at9x9+0+0/image.jpg"
    assert file.read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "genes",
    [
        pytest.param(500, marks=pytest.mark.service(page_rows=50, joined_pages=True)),
        pytest.param(20_000, marks=pytest.mark.service(joined_pages=True)),
    ],
)
def test_long_lists_are_complete_whatever_the_page(
    database: Database, service: SampleService, mounted: Mounted, genes: int
) -> None:
    add_genes(database, (f"Gene{number}" for number in range(genes)))
    add_data_set(database, 4711, range(5_000_000_000, 5_000_002_600))
    images = sorted(os.listdir(mounted / "dataset/4711/ds4"))
    assert len(images) == len(set(images)) == 2600
    assert images[0] == "0010_5000000000.jpg"
    names = os.listdir(mounted / "browse/product/Mouse/gene")
    assert len(names) == len(set(names)) == genes + 7
    asked = service.query_requests
    run("ls", "-l", mounted / "browse/product/Mouse/gene")
    assert service.query_requests == asked


def test_odd_names_break_neither_a_path_nor_a_query(
    database: Database, mounted: Mounted
) -> None:
    """A star at the end of an acronym has been recorded."""
    names = {
        "a/b": "a%2Fb",
        "Ünï": "Ünï",
        "50%": "50%25",
        "..": "%2E.",
        ".hidden": "%2Ehidden",
        "a b&c+d#e": "a b&c+d#e",
        "0610005G16Rik*": "0610005G16Rik*",
    }
    ids = add_genes(database, [*names, "new\nline", "x" * 300, "it's"])
    for number, gene in enumerate(ids, 9000):
        add_data_set(database, number, genes=[gene])
    genes = mounted / "browse/product/Mouse/gene"
    listed = set(os.listdir(genes))
    assert listed >= {*names.values()}
    assert len(listed) == 7 + len(names)
    for number, name in enumerate(names.values(), 9000):
        link = genes / name / "sagittal" / str(number)
        assert os.listdir(link.parent) == [link.name]
        assert os.path.realpath(link) == str(mounted / "dataset" / link.name)
    absent = ["it's", "a", "..hidden", ".hidden", "50%", os.fsdecode(b"\xff")]
    for name in [*absent, "0610005G16Rik"]:
        assert errno_of(os.stat, genes / name) == errno.ENOENT


@pytest.mark.service(page_rows=10_000)
@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_open_document_is_one_record_to_its_end(
    database: Database, mounted: Mounted
) -> None:
    add_data_set(database, 4711, range(5_000_000_000, 5_000_005_000))
    file = mounted / "dataset/4711/sections.csv"
    before = file.read_bytes()
    fd = os.open(file, os.O_RDONLY)
    try:
        assert os.pread(fd, 4096, 0) == before[:4096]
        for image_id in range(5_000_000_000, 5_000_005_000):
            database.change("SectionImage", image_id, width=12_345)
        # another one is shown the same as long as this one reads
        assert file.read_bytes() == before
        assert os.pread(fd, len(before), 0) == before
    finally:
        os.close(fd)
    run("cat", file)
    after = file.read_bytes()
    assert len(after) == len(before)
    assert after != before
    assert b",11409," not in after
