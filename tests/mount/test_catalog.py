"""The catalog through a mount: complete, with few requests, one image stored once."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted

from allenfs.sample.content import sample_database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService

DATA_SET = "dataset/72109410"
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
        subprocess.run(
            ["ls", "-l", mounted / path], check=True, stdout=subprocess.DEVNULL
        )
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
    subprocess.run(["cp", "-r", directory, copy], check=True)
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


def test_a_region_from_the_corner_of_an_unknown_image_fails_as_its_record_does(
    tmp_path: Path, service: SampleService
) -> None:
    unknown = "section/4/at9x9+0+0/image.jpg"
    with Mounted(tmp_path, service.url, warnings=["HTTP 403"]) as mounted:
        with pytest.raises(FileNotFoundError):
            (mounted / unknown).read_bytes()
        service.fail_queries(Fault.STATUS_403, times=None)
        for path in ("section/101082286/at9x9+0+0", "dataset/100055044/at9x9+0+0"):
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                os.listdir(mounted / path)
    service.heal()
    with Mounted(tmp_path, service.url, warnings=["HTTP 403"]) as mounted:
        file = mounted / "section/101082286/at9x9+0+0/image.jpg"
        assert file.read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize(("page_rows", "genes"), [(50, 500), (2000, 20_000)])
def test_long_lists_are_complete_whatever_the_page(
    tmp_path: Path, page_rows: int, genes: int
) -> None:
    database = sample_database()
    add_genes(database, (f"Gene{number}" for number in range(genes)))
    add_data_set(database, 4711, range(5_000_000_000, 5_000_002_600))
    with (
        SampleService(
            database=database, page_rows=page_rows, joined_pages=True
        ) as service,
        Mounted(tmp_path, service.url) as mounted,
    ):
        images = sorted(os.listdir(mounted / "dataset/4711/ds4"))
        assert len(images) == len(set(images)) == 2600
        assert images[0] == "0010_5000000000.jpg"
        names = os.listdir(mounted / "browse/product/Mouse/gene")
        assert len(names) == len(set(names)) == genes + 7
        asked = service.query_requests
        subprocess.run(
            ["ls", "-l", mounted / "browse/product/Mouse/gene"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        assert service.query_requests == asked


def test_odd_names_break_neither_a_path_nor_a_query(tmp_path: Path) -> None:
    database = sample_database()
    odd = ["a/b", "Ünï", "50%", "..", ".hidden", "a b&c+d#e", "new\nline", "x" * 300]
    ids = add_genes(database, [*odd, "it's"])
    for place, gene in enumerate(ids):
        add_data_set(database, 9000 + place, genes=[gene])
    with (
        SampleService(database=database) as service,
        Mounted(tmp_path, service.url) as mounted,
    ):
        genes = mounted / "browse/product/Mouse/gene"
        names = {
            "a%2Fb": "9000",
            "Ünï": "9001",
            "50%25": "9002",
            "%2E.": "9003",
            "%2Ehidden": "9004",
            "a b&c+d#e": "9005",
        }
        listed = set(os.listdir(genes))
        assert listed >= names.keys()
        assert len(listed) == 7 + len(names)
        for name, data_set in names.items():
            assert os.listdir(genes / name / "sagittal") == [data_set]
        for absent in ("it's", "a", "..hidden", ".hidden", "50%", os.fsdecode(b"\xff")):
            with pytest.raises(FileNotFoundError):
                os.stat(genes / absent)


def test_an_acronym_with_a_star_or_of_two_genes_is_a_directory(tmp_path: Path) -> None:
    """Both have been recorded in the Mouse Brain Atlas."""
    database = sample_database()
    genes = add_genes(database, ["0610005G16Rik*", "9130019P16Rik", "9130019P16Rik"])
    for data_set, gene in zip((74357755, 70474875, 9001), genes, strict=True):
        add_data_set(database, data_set, genes=[gene])
    with (
        SampleService(database=database) as service,
        Mounted(tmp_path, service.url) as mounted,
    ):
        folder = mounted / "browse/product/Mouse/gene"
        star = os.readlink(folder / "0610005G16Rik*/sagittal/74357755")
        assert star == "../../../../../../dataset/74357755"
        names = os.listdir(folder)
        assert names.count("0610005G16Rik*") == names.count("9130019P16Rik") == 1
        both = os.listdir(folder / "9130019P16Rik/sagittal")
        assert sorted(both) == ["70474875", "9001"]
        for name in both:
            path = folder / "9130019P16Rik/sagittal" / name / "info.json"
            assert f'"id": {name}' in path.read_text()
        with pytest.raises(FileNotFoundError):
            os.stat(folder / "0610005G16Rik")


def test_open_document_is_one_record_to_its_end(tmp_path: Path) -> None:
    database = sample_database()
    add_data_set(database, 4711, range(5_000_000_000, 5_000_005_000))
    with (
        SampleService(database=database, page_rows=10_000) as service,
        Mounted(tmp_path, service.url, catalog_ttl_s=0.001) as mounted,
    ):
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
        subprocess.run(["cat", file], check=True, stdout=subprocess.DEVNULL)
        after = file.read_bytes()
        assert len(after) == len(before)
        assert after != before
        assert b",11409," not in after


@pytest.mark.parametrize("connections", [1, 3])
def test_queries_count_among_the_connections(tmp_path: Path, connections: int) -> None:
    with (
        SampleService(latency_s=0.01, query_latency_s=0.01) as service,
        Mounted(tmp_path, service.url, connections=connections) as mounted,
    ):
        for product in os.listdir(mounted / "browse/product"):
            os.listdir(mounted / "browse/product" / product / "dataset")
        copies = [
            subprocess.Popen(
                ["cp", "-r", mounted / f"dataset/{data_set}/ds7", tmp_path / data_set]
            )
            for data_set in ("70813257", "71670687", "69782969", "100141599", "479")
        ]
        assert [copy.wait(120) for copy in copies] == [0] * len(copies)
        assert 1 <= service.peak_all_requests <= connections


@pytest.mark.mounted(not_found_memory_s=60)
def test_crawlers_of_the_catalog_end(mounted: Mounted, service: SampleService) -> None:
    for command in (["ls", "-lR"], ["find", "."], ["du", "-s"]):
        subprocess.run(command, cwd=mounted.root, check=True, stdout=subprocess.DEVNULL)
    asked = service.query_requests
    subprocess.run(
        ["find", "."], cwd=mounted.root, check=True, stdout=subprocess.DEVNULL
    )
    assert service.query_requests == asked
    assert service.image_requests == 0
