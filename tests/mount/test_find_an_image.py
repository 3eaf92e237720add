"""The tasks of the institute's page that begin with a query, done with ls and cp."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted, errno_of, image_bytes

from allenfs.sample.server import SampleService

SAGITTAL = ["70813257", "71670687"]
FAILED_SAGITTAL = 70634395
NISSL_PLATES = ["100883771", "100883804", "100883837", "100883869", "100883900"]
PARVALBUMIN_PLATES = ["100884210", "100884214"]


def shell(command: str, cwd: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def missing(path: Path) -> bool:
    return errno_of(os.stat, path) == errno.ENOENT


def ids_of(names: list[str]) -> list[str]:
    return [name.removesuffix(".jpg").partition("_")[2] for name in names]


def test_section_in_the_range_of_its_data_set(
    mounted: Mounted, service: SampleService
) -> None:
    ranged = "section/102146167/ds4/range0,923,0,987,0,4095/image.jpg"
    expected = image_bytes(service.url, ranged)
    service.reset_counters()
    for path in (
        "section/102146167/ds4/equalized/image.jpg",
        "section/102146167/equalized/ds4/image.jpg",
        "dataset/100141599/ds4/equalized/0061_102146167.jpg",
        "dataset/100141599/equalized/ds4/0061_102146167.jpg",
        ranged,
    ):
        assert (mounted / path).read_bytes() == expected
    assert service.image_requests == 1
    assert len(mounted.stored) == 1


def test_no_equalization_no_name(mounted: Mounted) -> None:
    for path in (
        "section/69750516/equalized",
        "section/69750516/ds4/equalized/image.jpg",
        "dataset/69782969/equalized",
        "dataset/69782969/ds4/equalized/0078_69750516.jpg",
    ):
        assert missing(mounted / path)
    assert "equalized" not in os.listdir(mounted / "dataset/69782969")
    assert "equalized" in os.listdir(mounted / "dataset/100141599")
    assert "equalized" in os.listdir(mounted / "section/102146167")


def test_closest_nissl_section_is_a_link(
    mounted: Mounted, service: SampleService
) -> None:
    assert os.readlink(mounted / "section/71592261/nissl") == "../71592412"
    expected = image_bytes(service.url, "section/71592412/ds3/image.jpg")
    assert (mounted / "section/71592261/nissl/ds3/image.jpg").read_bytes() == expected
    assert not os.path.lexists(mounted / "section/69750516/nissl")
    assert not os.path.lexists(mounted / "section/999999999/nissl")
    assert "nissl" in os.listdir(mounted / "section/71592261")
    assert "nissl" not in os.listdir(mounted / "section/69750516")


def test_all_sagittal_images_of_a_gene(
    mounted: Mounted, service: SampleService, tmp_path: Path
) -> None:
    gene = mounted / "browse/product/Mouse/gene/Adora2a"
    assert sorted(os.listdir(gene)) == ["coronal", "sagittal"]
    assert sorted(os.listdir(gene / "sagittal")) == SAGITTAL
    (tmp_path / "out").mkdir()
    shell(f"cp -rL {gene}/sagittal/*/ds4 out/", tmp_path)
    copies = sorted(os.listdir(tmp_path / "out/ds4"))
    assert len(copies) == 5 + 12
    assert "0061_70679088.jpg" in copies
    for name in copies:
        (image_id,) = ids_of([name])
        expected = image_bytes(service.url, f"section/{image_id}/ds4/image.jpg")
        assert (tmp_path / "out/ds4" / name).read_bytes() == expected


def test_genes_are_case_sensitive_and_products_apart(mounted: Mounted) -> None:
    products = mounted / "browse/product"
    assert os.listdir(products / "DevMouse/gene/Adora2a/sagittal") == ["100076514"]
    assert os.listdir(products / "DevMouse/gene/Prox1/sagittal") == ["69289763"]
    assert os.listdir(products / "Mouse/gene/Prox1/sagittal") == ["69289763"]
    for absent in ("Mouse/gene/adora2a", "DevMouse/gene/Pdyn", "mouse"):
        assert missing(products / absent)


def test_failed_data_sets_are_left_out_but_have_their_directory(
    mounted: Mounted,
) -> None:
    sagittal = mounted / "browse/product/Mouse/gene/Adora2a/sagittal"
    assert not os.path.lexists(sagittal / str(FAILED_SAGITTAL))
    every = os.listdir(mounted / "browse/product/Mouse/dataset")
    assert str(FAILED_SAGITTAL) not in every
    assert set(SAGITTAL) <= set(every)
    info = json.loads((mounted / f"dataset/{FAILED_SAGITTAL}/info.json").read_text())
    assert info["failed"] is True


def test_product_without_genes_lists_its_data_sets(mounted: Mounted) -> None:
    product = mounted / "browse/product/MouseConn"
    assert sorted(os.listdir(product)) == ["dataset", "plane"]
    data_sets = ["100141599", "126862385", "297225422"]
    assert sorted(os.listdir(product / "dataset")) == data_sets
    assert not os.path.lexists(product / "gene")


def test_all_coronal_data_sets_of_a_product_without_a_query_for_each_gene(
    mounted: Mounted, service: SampleService, tmp_path: Path
) -> None:
    planes = mounted / "browse/product/Mouse/plane"
    assert sorted(os.listdir(planes)) == ["coronal", "sagittal"]
    coronal = sorted(os.listdir(planes / "coronal"))
    assert coronal == ["479", "71587929", "72109410"]
    shell(f"ls -lR {planes}; find {planes} -ls; cp -r {planes} copy", tmp_path)
    assert sorted(os.listdir(tmp_path / "copy/coronal")) == coronal
    # for the products and for the data sets of one: a page, and an empty one after it
    assert service.query_requests == 4
    for name in coronal:
        link = planes / "coronal" / name
        assert os.path.realpath(link) == str(mounted / "dataset" / name)
    assert "0227_101349756.jpg" in os.listdir(planes / "coronal/479/ds4")


def test_plates_with_the_drawings_of_their_atlas(
    mounted: Mounted, service: SampleService
) -> None:
    for atlas in (2, 181276165):
        drawn = mounted / f"browse/atlas/{atlas}/annotated/ds4"
        assert ids_of(sorted(os.listdir(drawn))) == NISSL_PLATES[:4]
        path = f"atlas/100883869/ds4/annotated/atlas{atlas}.jpg"
        expected = image_bytes(service.url, path)
        assert (drawn / "0020_100883869.jpg").read_bytes() == expected
        assert (mounted / path).read_bytes() == expected
    drawings = ["atlas181276165.jpg", "atlas2.jpg", "image.jpg"]
    assert sorted(os.listdir(mounted / "atlas/100883869/annotated")) == drawings
    assert os.listdir(mounted / "atlas/100883900/annotated") == ["image.jpg"]


def test_atlas_by_id_and_by_readable_name(mounted: Mounted) -> None:
    atlases = mounted / "browse/atlas"
    assert os.readlink(atlases / "Mouse_P56_Sagittal") == "2"
    assert {"1", "2", "181276165", "Mouse_P56_Sagittal"} <= set(os.listdir(atlases))
    named = os.listdir(atlases / "Mouse_P56_Sagittal/NISSL")
    assert ids_of(sorted(named)) == NISSL_PLATES
    names = set(os.listdir(atlases / "2"))
    assert "contact_sheet.jpg" in names
    names.remove("contact_sheet.jpg")
    listed = sorted(name for name in names if name.endswith(".jpg"))
    assert sorted(ids_of(listed)) == sorted(NISSL_PLATES + PARVALBUMIN_PLATES)
    assert ids_of(sorted(os.listdir(atlases / "2/Parvalbumin"))) == PARVALBUMIN_PLATES
    for absent in ("3", "Mouse", "2/SMI-32", "2/nissl", "2/NISSL/Parvalbumin"):
        assert not os.path.lexists(atlases / absent)


def test_data_set_lists_its_sections_in_order(mounted: Mounted) -> None:
    data_set = mounted / "dataset/71670687"
    rows = list(csv.DictReader((data_set / "sections.csv").read_text().splitlines()))
    listed = sorted(os.listdir(data_set / "ds4"))
    assert [row["file_name"] for row in rows] == listed
    numbers = [int(row["section_number"]) for row in rows]
    assert numbers == sorted(numbers)
    assert [row["image_id"] for row in rows if row["failed"] == "true"] == ["71663128"]
    by_id = {row["image_id"]: row for row in rows}
    first = json.loads((mounted / "section/71663104/info.json").read_text())
    row = by_id["71663104"]
    assert int(row["width_px"]) == first["width"]
    assert int(row["height_px"]) == first["height"]
    assert float(row["resolution_um_per_px"]) == first["resolution"]
    views = {"expression"}
    tiers = {f"ds{n}" for n in range(1, 9)}
    rest = set(os.listdir(data_set)) - set(listed)
    assert rest == views | tiers | {"info.json", "sections.csv", "contact_sheet.jpg"}
    for view in (*views, *tiers, "ds4/expression", "expression/q50"):
        assert sorted(os.listdir(data_set / view)) == listed


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("section/69750516", {"id": 69750516, "width": 14065, "plane": "sagittal"}),
        ("dataset/100141599", {"id": 100141599, "plane": "coronal"}),
        ("atlas/100883869", {"id": 100883869, "plane": "sagittal"}),
        ("browse/atlas/2", {"id": 2, "name": "Mouse, P56, Sagittal"}),
    ],
)
def test_info_says_what_the_service_said(
    mounted: Mounted, directory: str, expected: dict[str, object]
) -> None:
    path = mounted / directory / "info.json"
    size = path.stat().st_size
    text = path.read_bytes()
    assert len(text) == size
    info = json.loads(text)
    assert expected.items() <= info.items()
    assert {"treatments", "genes", "equalization"} <= info.keys()
    assert text.startswith(b"{\n  ")
    assert "info.json" in os.listdir(mounted / directory)


def test_links_are_relative_and_stay_in_the_mount(mounted: Mounted) -> None:
    (mounted / "section/71592261/ds7/image.jpg").read_bytes()  # is then listed
    found = shell("find . -type l -printf '%p %l\\n'", mounted.root).splitlines()
    assert len(found) > 20
    assert "./section/71592261/nissl ../71592412" in found
    for line in found:
        path, target = line.split(" ")
        assert not target.startswith("/")
        real = os.path.realpath(mounted / path)
        assert real.startswith(f"{mounted.root}/")
        assert os.path.isdir(real), line
