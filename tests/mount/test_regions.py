"""From a gene and a brain region to the picture, through a real mount."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import pytest
from command import allenfs, run
from mounted import image_bytes

from allenfs.sample.faults import Fault

PICTURE = "structure/DG/gene/{}/best/2mm/image.jpg"
IN_GENE = "browse/product/Mouse/gene/Prox1/structure/DG"
REASON = "user.allenfs.error"


def reason(directory: Path) -> str:
    return os.getxattr(directory, REASON).decode()


@pytest.mark.parametrize("gene", ["Prox1", "Adora2a", "Calb1"])
def test_first_picture_of_a_gene_and_region_costs_six_requests_at_most(
    mounted, tmp_path, service, gene
):
    run("cp", mounted / PICTURE.format(gene), tmp_path)
    assert service.query_requests + service.image_requests <= 6
    assert service.image_requests == 1
    service.reset_counters()
    for file in ("4mm/image.jpg", "2mm/expression.jpg", "closest/ds6/image.jpg"):
        run("cp", mounted / f"structure/DG/gene/{gene}/best/{file}", tmp_path)
    assert (service.query_requests, service.image_requests) == (0, 3)


def test_further_region_of_a_known_data_set_costs_its_image(mounted, service):
    data_set = mounted / "dataset/100141599/structure"
    assert (data_set / "DG/2mm/image.jpg").read_bytes()
    assert service.query_requests + service.image_requests <= 6
    service.reset_counters()
    structures = ("DG-po", "TH", "CM")
    for name in structures:
        assert (data_set / name / "1mm/image.jpg").read_bytes()
    assert service.query_requests == 0
    assert service.image_requests == len(structures)


def test_regions_are_links_to_one_stored_image(mounted, service):
    paths = [
        PICTURE.format("Prox1"),
        f"{IN_GENE}/sagittal-69289763/2mm/image.jpg",
        "dataset/69289763/structure/DG/2mm/image.jpg",
    ]
    real = {(mounted / path).resolve() for path in paths}
    (canonical,) = real
    shown = str(canonical.relative_to(mounted.root))
    assert shown.startswith("section/")
    assert f"/{shown}" in f"/{os.readlink((mounted / paths[2]).parent)}/image.jpg"
    expected = image_bytes(service.url, shown)
    service.reset_counters()
    for path in paths:
        assert (mounted / path).read_bytes() == expected
    assert service.image_requests == len(mounted.stored) == 1


def test_region_of_an_equalized_experiment_is_the_range_of_its_section(
    mounted, service
):
    region = mounted / "dataset/100141599/structure/DG/2mm"
    assert "equalized" in os.readlink(region)
    data = (region / "image.jpg").read_bytes()
    (requested,) = service.requested
    assert "range=0,923,0,987,0,4095" in requested
    assert "downsample=2" in requested
    assert data[:2] == b"\xff\xd8"


NO_PLACE = [
    ("structure", "Nope", "no structure 'Nope'"),
    ("dataset/69289763/structure", "Nope", "no structure 'Nope'"),
    ("dataset/69289763/structure", "BLA", "no centre in reference space 10"),
    ("dataset/69782969/structure", "CP", "62 to 94, the nearest is 62"),
    ("dataset/69289763/structure/DG", "left", "left hemisphere only"),
    ("dataset/70813257", "structure", "no alignment"),
    ("structure/grv/gene", "Prox1", "no data set of Prox1"),
]


def test_no_place_is_enoent_and_its_directory_says_why(mounted, service):
    for directory, name, words in NO_PLACE:
        for path in (f"{directory}/{name}", f"{directory}/{name}/2mm/image.jpg"):
            with pytest.raises(FileNotFoundError):
                os.stat(mounted / path)
            assert words in reason(mounted / directory), path
    assert service.image_requests == 0
    # what is there leaves no reason behind
    fine = mounted / "dataset/69289763/structure"
    assert (fine / "DG/2mm").is_dir()
    (fine / "BLA").exists()
    assert "BLA" in reason(fine)
    shown = run("getfattr", "--only-values", "-n", REASON, fine)
    assert shown.decode() == reason(fine)


@pytest.mark.mounted(warnings=["dataset/72109410"])
def test_a_failed_query_replaces_the_reason_of_an_absence(mounted, service):
    assert not (mounted / "dataset/1").exists()
    assert "no dataset 1" in reason(mounted / "dataset")
    service.fail_queries(Fault.STATUS_503)
    with pytest.raises(OSError, match="Input/output error"):
        os.stat(mounted / "dataset/72109410")
    assert "503" in reason(mounted / "dataset")


@pytest.mark.mounted(warnings=["list/structures", "dataset/69289763", "gene-sections"])
@pytest.mark.parametrize(
    "path", [PICTURE.format("Prox1"), "dataset/69289763/structure/DG/2mm/image.jpg"]
)
@pytest.mark.parametrize(
    ("fault", "expected"), [(Fault.STATUS_503, errno.EIO), (Fault.NO_ROWS, errno.EIO)]
)
def test_failed_query_of_structures_is_an_error_then_the_region(
    mounted, service, path, fault, expected
):
    service.fail_queries(fault)
    with pytest.raises(OSError) as raised:
        (mounted / path).read_bytes()
    if fault is Fault.STATUS_503 or path.startswith("structure"):
        assert raised.value.errno == expected
    assert service.image_requests == 0
    service.heal()
    assert (mounted / path).read_bytes()


@pytest.mark.mounted(warnings=["gene-sections"])
def test_a_directory_has_the_newer_of_an_absence_and_a_failure(mounted, service):
    genes = mounted / "structure/DG/gene"
    assert not (genes / "Nope").exists()
    assert reason(genes).startswith("Nope: product Mouse has no data sets")
    service.fail_queries(Fault.STATUS_503)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.stat(genes / "Prox1")
    assert "503" in reason(genes)


def test_known_regions_work_offline_after_a_restart(mounted, service):
    first = mounted / PICTURE.format("Adora2a")
    data = first.read_bytes()
    where = mounted / "structure/DG/gene/Adora2a/best/where.json"
    content = where.read_bytes()
    mounted.stop()
    service.fail_queries(Fault.RESET_BEFORE)
    service.fail(Fault.RESET_BEFORE)
    service.reset_counters()
    mounted.start()
    assert first.read_bytes() == data
    assert where.read_bytes() == content
    # another region, too, but for its image
    other = mounted / "structure/CA1/gene/Adora2a/best/1mm"
    assert "roi953x953" in os.readlink(other)
    assert os.listdir(mounted / "dataset/72109410/structure/CA1")
    assert service.query_requests == service.image_requests == 0
    service.heal()
    assert (other / "image.jpg").read_bytes()


def test_expression_of_structures_is_one_request(mounted, service):
    data_set = mounted / "dataset/69289763"
    assert "structures.csv" not in os.listdir(data_set)
    service.reset_counters()
    rows = list(csv.DictReader((data_set / "structures.csv").read_text().splitlines()))
    assert service.query_requests == 1
    energy = [float(row["expression_energy"]) for row in rows]
    assert energy == sorted(energy, reverse=True)
    by_acronym = {row["acronym"]: row for row in rows}
    assert by_acronym["DG"]["structure_id"] == "726"
    assert int(by_acronym["root"]["sum_pixels"]) > int(by_acronym["DG"]["sum_pixels"])


def test_crawlers_do_not_walk_through_structures(mounted, service):
    places = [mounted / "dataset/69289763", mounted / "browse/product/Mouse/gene/Prox1"]
    assert b"structure" not in run("find", *places)
    every = run("find", mounted / "structure").splitlines()
    # the root, the index, and two for each structure
    structures = len(os.listdir(mounted / "structure")) - 1
    assert len(every) == 2 + 2 * structures
    assert service.image_requests == 0


def test_prefetch_follows_a_region_without_a_mount(tmp_path, service):
    where = ["--api-url", service.url, "--cache-dir", tmp_path / "other"]
    path = PICTURE.format("Prox1")
    done = allenfs("prefetch", *where, path)
    assert done.returncode == 0, done.stderr
    assert service.image_requests == 1
    assert allenfs("prefetch", "--check", *where, path).returncode == 0
    missing = path.replace("2mm", "4mm")
    done = allenfs("prefetch", "--check", *where, path, missing)
    assert (done.returncode, done.stdout) == (1, f"{missing}\n")
