"""The catalog through a mount: complete, with few requests, one image stored once."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from command import run
from mounted import image_bytes

from allenfs.sample.inventing import add_data_set

EQUALIZED = "dataset/100141599/ds4/equalized"  # of 0,923,0,987,0,4095
FAILED_DATA_SET = "70634395"
GENES = "browse/product/Mouse/gene"


@pytest.mark.parametrize("way", [EQUALIZED, "section/102146167/dataset/ds2/equalized"])
def test_data_set_costs_three_requests_at_most(mounted, service, way):
    data_set = Path(EQUALIZED).parents[1]
    for path in (way, way, data_set, data_set / "expression", EQUALIZED, way):
        run("ls", "-l", mounted / str(path))
    assert service.query_requests <= 3
    assert service.image_requests == 0
    mounted.stop()
    mounted.start()
    assert os.listdir(mounted / way)
    assert service.query_requests <= 3


def test_bound_of_an_unknown_size_is_the_records(mounted, service):
    file = mounted / "dataset/69782969/ds4/0078_69750516.jpg"
    # 14065 x 7297 after 4 halvings
    assert file.stat().st_size == 879 * 456 * 3 + 64 * 1024
    assert file.stat().st_blocks == 0
    data = file.read_bytes()
    assert file.stat().st_size == len(data)
    assert (mounted / "section/69750516/ds4/image.jpg").stat().st_size == len(data)
    assert service.image_requests == 1


@pytest.mark.parametrize(
    "paths",
    [
        [
            "section/70679088/ds4/image.jpg",
            f"{GENES}/Adora2a/sagittal/70813257/ds4/0061_70679088.jpg",
            "section/70679080/dataset/ds4/0061_70679088.jpg",
        ],
        [
            "section/102146167/ds4/range0,923,0,987,0,4095/image.jpg",
            "section/102146167/equalized/ds4/image.jpg",
            f"{EQUALIZED}/0061_102146167.jpg",
        ],
        [  # of a slide
            "section/101082286/roi600x400+7248+23688/image.jpg",
            "section/101082286/at600x400+4000+3000/image.jpg",
            "dataset/100055044/at600x400+4000+3000/0045_101082286.jpg",
        ],
        [
            "atlas/100883869/annotated/atlas2.jpg",
            "browse/atlas/2/annotated/0020_100883869.jpg",
        ],
    ],
)
def test_one_image_is_one_entry_whichever_path_opened_it(mounted, service, paths):
    expected = image_bytes(service.url, paths[0])
    service.reset_counters()
    for path in paths:
        assert (mounted / path).read_bytes() == expected
    assert service.image_requests == len(mounted.stored) == 1


def test_the_same_region_of_sections_on_one_slide_differs_per_section(
    mounted, tmp_path, service
):
    region = mounted / "dataset/100055044/at600x400+4000+3000"
    run("cp", "-r", region, tmp_path)
    assert service.image_requests == 10
    copies = (tmp_path / region.name).glob("*_10108228[678].jpg")
    assert len({copy.read_bytes() for copy in copies}) == 3


def test_closest_nissl_section_is_a_link(mounted):
    assert os.readlink(mounted / "section/71592261/nissl") == "../71592412"
    assert (mounted / "section/71592261/nissl/ds7/image.jpg").read_bytes()
    assert "nissl" in os.listdir(mounted / "section/71592261")
    assert "nissl" not in os.listdir(mounted / "section/69750516")
    for number in ("69750516", "999999999"):
        assert not os.path.lexists(mounted / "section" / number / "nissl")


def test_failed_data_sets_are_left_out_but_have_their_directory(mounted):
    assert os.listdir(mounted / GENES / "Adora2a/sagittal") == ["70813257", "71670687"]
    other_product = mounted / "browse/product/DevMouse/gene/Adora2a/sagittal"
    assert os.listdir(other_product) == ["100076514"]
    every = os.listdir(mounted / "browse/product/Mouse/dataset")
    assert FAILED_DATA_SET not in every
    assert "70813257" in every
    info = json.loads((mounted / f"dataset/{FAILED_DATA_SET}/info.json").read_text())
    assert info["failed"] is True


def test_data_set_lists_its_sections_in_order(mounted):
    data_set = mounted / "dataset/71670687"
    rows = list(csv.DictReader((data_set / "sections.csv").read_text().splitlines()))
    listed = sorted(os.listdir(data_set / "ds4"))
    assert [row["file_name"] for row in rows] == listed
    numbers = [int(row["section_number"]) for row in rows]
    assert numbers == sorted(numbers)
    assert [row["image_id"] for row in rows if row["failed"] == "true"] == ["71663128"]
    first = json.loads((mounted / "section/71663104/info.json").read_text())
    (row,) = (row for row in rows if row["image_id"] == "71663104")
    fields = ("width_px", "height_px", "resolution_um_per_px")
    shown = [float(row[field]) for field in fields]
    assert shown == [first[field.partition("_")[0]] for field in fields]


@pytest.mark.service(page_rows=10_000)
@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_open_document_is_one_record_to_its_end(database, mounted):
    add_data_set(database, 4711, range(5_000_000_000, 5_000_005_000))
    file = mounted / "dataset/4711/sections.csv"
    size_bytes = file.stat().st_size
    assert file.stat().st_mtime_ns > mounted.root.stat().st_mtime_ns  # of the mount
    before = file.read_bytes()
    assert len(before) == size_bytes
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
