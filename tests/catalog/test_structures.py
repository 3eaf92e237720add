"""Structures in data sets and genes: which section, which region, and why none."""

from __future__ import annotations

import contextlib
import csv
import re
from dataclasses import replace
from typing import Any

import pytest
from catalog_world import PLAIN, World

from allenfs.catalog import lists, queries
from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Folder, Link
from allenfs.config import ServiceSettings
from allenfs.errors import PathNotFoundError, QueryError, ServiceError
from allenfs.model import tree
from allenfs.model.images import ImageRequest
from allenfs.model.nodes import ImageDirectory, ParameterDirectory
from allenfs.model.structures import read_structures
from allenfs.sample.anatomy import LABELS, labels_of
from allenfs.sample.content import sample_database
from allenfs.sample.database import Database
from allenfs.sample.faults import Fault
from allenfs.sample.records import RECORDS
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.rma import Query, Rows
from allenfs.store.record_files import StoredRecord

SAGITTAL, CORONAL, SLIDES, CONNECTIVITY = 69289763, 72109410, 100055044, 100141599
GENE = "browse/product/Mouse/gene"


@pytest.fixture(scope="module")
def sample():
    with SampleService(database=PLAIN) as service:
        yield service


@pytest.fixture
def world(sample, tmp_path):
    return World(sample.url, tmp_path)


def request_of(world: World, path: str) -> ImageRequest:
    """Return the request that a link to a section or region stands for."""
    link = world.entry(path)
    assert isinstance(link, Link)
    up = "../" * path.count("/")
    assert link.target.startswith(f"{up}section/")
    target = link.target.removeprefix(up)
    node = tree.parse(target)
    assert isinstance(node, ImageDirectory | ParameterDirectory)
    canonical = re.sub(r"/equalized", "", target)
    assert node.request.path == f"{canonical}/image.jpg"
    return node.request


@pytest.mark.parametrize(
    ("data_set_id", "side"),
    [
        (SAGITTAL, ""),
        (CORONAL, ""),
        (CORONAL, "left/"),
        (CORONAL, "right/"),
        (SLIDES, ""),
        (CONNECTIVITY, ""),
    ],
)
def test_region_of_the_dentate_gyrus_shows_it(world, data_set_id, side):
    path = f"dataset/{data_set_id}/structure/DG/{side}"
    request = request_of(world, f"{path}2mm")
    closest = request_of(world, f"{path}closest")
    assert closest == ImageRequest(request.service, request.image_id)
    roi, record = request.roi, RECORDS[request.image_id]
    labels = labels_of(record)
    scale = labels.shape[1] / record.width_px

    def seen(part: float) -> int:
        """Count its pixels in the middle of the region."""
        width, height = (n << request.downsample for n in (roi.width_px, roi.height_px))
        left = roi.left_px_full - record.left_px + width * (1 - part) / 2
        top = roi.top_px_full - record.top_px + height * (1 - part) / 2
        assert left >= 0
        assert top >= 0
        rows = slice(int(top * scale), int((top + height * part) * scale))
        columns = slice(int(left * scale), int((left + width * part) * scale))
        return int((labels[rows, columns] == LABELS["dentate gyrus"]).sum())

    assert seen(0.5) > 0
    assert seen(1) > 0.25 * (labels == LABELS["dentate gyrus"]).sum()


def test_hemispheres_are_mirrored_in_a_coronal_section(world):
    left, right = (
        request_of(world, f"dataset/{CORONAL}/structure/DG/{side}/1mm")
        for side in ("left", "right")
    )
    # the left one of a coronal image is on its left, and the atlas' own is the right
    assert left.roi.left_px_full < right.roi.left_px_full
    assert right == request_of(world, f"dataset/{CORONAL}/structure/DG/1mm")
    where = [
        world.json(f"dataset/{CORONAL}/structure/DG/{side}where.json")
        for side in ("", "right/", "left/")
    ]
    assert [one["hemisphere"] for one in where] == ["right", "right", "left"]
    assert where[0]["r_um"] == 11_400 - where[2]["r_um"] > 5700


def test_where_says_how_it_was_found(world):
    where = world.json(f"dataset/{SAGITTAL}/structure/DG/where.json")
    request = request_of(world, f"dataset/{SAGITTAL}/structure/DG/2mm")
    info = world.json("structure/DG/info.json")
    (centre,) = (one for one in info["centres"] if one["reference_space_id"] == 10)
    assert {name: where[name] for name in centre} == centre
    assert where["image_id"] == request.image_id
    assert where["section_number"] == RECORDS[request.image_id].section_number
    assert where["probe_orientation"] == "Antisense"
    middle_px = request.roi.left_px_full + request.roi.width_px / 2
    assert where["x_px"] == pytest.approx(middle_px, abs=1)
    assert 0 <= where["distance_to_plane_um"] <= 4 * 25 + 25  # of sections 8 apart
    # the institute's mirror between the spaces, not that of hemispheres
    assert where["in_mirrored_space"]["r_um"] == 11_350 - where["r_um"]


def test_region_of_a_connectivity_experiment_is_equalized(world):
    link = world.entry(f"dataset/{CONNECTIVITY}/structure/DG/2mm")
    assert re.search(r"section/\d+/ds2/equalized/roi1429x1429\+\d+\+\d+$", link.target)
    assert (
        "equalized"
        not in world.entry(f"dataset/{CONNECTIVITY}/structure/DG/closest").target
    )


@pytest.mark.parametrize("size", ["0mm", "21mm", "01mm", "1.5mm", "mm", "2", "2MM"])
def test_other_sizes_are_outside_the_grammar(size):
    with pytest.raises(PathNotFoundError):
        tree.parse(f"dataset/1/structure/DG/{size}")


def test_a_region_larger_than_the_section_is_all_of_it(world):
    request = request_of(world, f"dataset/{SAGITTAL}/structure/DG/20mm")
    record = RECORDS[request.image_id]
    step_px = 1 << request.downsample
    assert request.roi.width_px == record.width_px // step_px
    assert request.roi.height_px == record.height_px // step_px


NO_PLACE = {
    "structure/Nope": "no structure 'Nope'",
    "structure/dg": "case-sensitive: DG",
    f"dataset/{SAGITTAL}/structure/Nope": "no structure 'Nope'",
    f"dataset/{SAGITTAL}/structure/BLA": "no centre in reference space 10",
    f"dataset/{SAGITTAL}/structure/grv": "no centre in reference space 10",
    "dataset/100076514/structure/DG": "no centre in reference space 7",
    "dataset/70813257/structure": "no alignment",
    "dataset/311174541/structure": "no alignment",
    "dataset/69782969/structure/CP": "at section 13.3 of data set 69782969",
    f"dataset/{SAGITTAL}/structure/DG/left": "left hemisphere only",
    "structure/DG/gene/Nope": "no data sets of gene 'Nope'",
    "structure/BLA/gene/Prox1": "no data set of Prox1",
    f"{GENE}/Adora2a/structure/DG/sagittal-70813257": "no alignment",
    f"{GENE}/Adora2a/structure/DG/sagittal-1": "no sagittal-1",
}


@pytest.mark.parametrize("path", NO_PLACE)
def test_no_place_is_an_absence_with_a_reason(world, path):
    with pytest.raises(PathNotFoundError, match=re.escape(NO_PLACE[path])):
        world.entry(path)


@pytest.fixture
def changed(tmp_path):
    """Return a catalog over a database that the test has changed."""
    with contextlib.ExitStack() as stack:

        def start(database: Database, **rules: Any) -> World:
            service = SampleService(database=database, **rules)
            return World(stack.enter_context(service).url, tmp_path / "changed")

        yield start


@pytest.mark.parametrize(
    "alignment", [{}, {"tvs_04": -1e5}, {"tvs_05": -1e5}, {"tvs_04": 1e5}], ids=str
)
def test_a_point_outside_the_image_is_no_place(world, changed, alignment):
    path = f"dataset/{SAGITTAL}/structure/DG"
    image_id = request_of(world, f"{path}/closest").image_id
    database = sample_database()
    (row,) = (
        entry.row
        for entry in database.rows("Alignment2d")
        if entry.row["section_image_id"] == image_id
    )
    database.change("Alignment2d", row["id"], **alignment)
    if not alignment:
        database.change("SectionImage", image_id, height=1000)
    with pytest.raises(PathNotFoundError, match=f"outside image {image_id} "):
        changed(database).entry(path)


@pytest.mark.parametrize(
    "fields", [{"plane_of_section_id": None}, {"reference_space_id": 9}], ids=str
)
def test_a_sagittal_data_set_has_one_side_by_its_space_or_its_plane(changed, fields):
    database = sample_database()
    database.change("SectionDataSet", SAGITTAL, **fields)
    with pytest.raises(PathNotFoundError, match="left hemisphere only"):
        changed(database).entry(f"dataset/{SAGITTAL}/structure/DG/left")


def test_a_section_without_alignment_is_passed_over(world, changed):
    path = f"dataset/{CORONAL}/structure/DG/closest"
    nearest = request_of(world, path).image_id
    database = sample_database()
    (row,) = (
        entry.row
        for entry in database.rows("Alignment2d")
        if entry.row["section_image_id"] == nearest
    )
    database.remove("Alignment2d", row["id"])
    # its neighbours are 8 numbers away: farther than half of it, and one
    with pytest.raises(PathNotFoundError, match="the nearest is"):
        changed(database).entry(path)


def test_of_two_sections_with_one_number_the_aligned_one_counts(world, changed):
    path = f"dataset/{CORONAL}/structure/DG"
    where = world.json(f"{path}/where.json")
    database = sample_database()
    twin = min(
        entry.row["id"]
        for entry in database.rows("SectionImage")
        if entry.row["data_set_id"] == CORONAL and entry.row["id"] < where["image_id"]
    )
    database.change("SectionImage", twin, section_number=where["section_number"])
    (alignment,) = (
        entry.row["id"]
        for entry in database.rows("Alignment2d")
        if entry.row["section_image_id"] == twin
    )
    database.remove("Alignment2d", alignment)
    assert changed(database).json(f"{path}/where.json") == where


def test_where_is_as_new_as_the_newest_record_it_comes_from(tmp_path, sample):
    world = World(sample.url, tmp_path)
    path = f"dataset/{CORONAL}/structure/DG/where.json"
    first = world.entry(path).facts.modified_ns
    world.cache.add(lists.structures(), world.files.get(("list", "structures")).answer)
    assert world.entry(path).facts.modified_ns > first


def test_best_is_antisense_then_nearest(world, changed):
    assert world.names(f"{GENE}/Adora2a/structure/DG") == [
        *("best", "coronal-72109410", "sagittal-71670687")
    ]
    distance_um = {
        data_set_id: world.json(f"dataset/{data_set_id}/structure/DG/where.json")[
            "distance_to_plane_um"
        ]
        for data_set_id in (72109410, 71670687)
    }
    nearest, other = sorted(distance_um, key=distance_um.__getitem__)
    assert distance_um[nearest] < distance_um[other]
    best = f"{GENE}/Adora2a/structure/DG/best"
    assert world.entry(best).target.endswith(f"/dataset/{nearest}/structure/DG")
    database = sample_database()
    (probe,) = database.related(database.get("SectionDataSet", nearest), "probes")
    database.change("Probe", probe.row["id"], orientation_id=1)  # sense
    target = changed(database).entry(best).target
    assert target.endswith(f"/dataset/{other}/structure/DG")


def test_best_shows_the_default_hemisphere_if_one_does(world, changed):
    coronal = f"dataset/{CORONAL}/structure/DG"
    left, right = (
        world.json(f"{coronal}/{one}/where.json") for one in tree.HEMISPHERES
    )
    assert left["image_id"] == right["image_id"]
    database = sample_database()
    database.change("SectionImage", left["image_id"], width=int(right["x_px"]))
    (row,) = (
        entry.row
        for entry in database.rows("Alignment3d")
        if entry.row["aligned_id"] == 71670687
    )
    database.change("Alignment3d", row["id"], trv_11=row["trv_11"] + 20)  # um
    other = changed(database)
    assert "2mm" not in other.names(coronal)
    sagittal = other.json("dataset/71670687/structure/DG/where.json")
    distance_um = other.json(f"{coronal}/left/where.json")["distance_to_plane_um"]
    assert distance_um < sagittal["distance_to_plane_um"]
    best = other.entry(f"{GENE}/Adora2a/structure/DG/best")
    assert best.target.endswith("/dataset/71670687/structure/DG")


@pytest.mark.parametrize(
    "fields", [{"resolution": None}, {"width": None}, {"x": None}], ids=str
)
def test_a_section_without_size_or_place_has_no_regions(world, changed, fields):
    path = f"dataset/{SAGITTAL}/structure/DG"
    image_id = request_of(world, f"{path}/closest").image_id
    database = sample_database()
    database.change("SectionImage", image_id, **fields)
    other = changed(database)
    assert other.names(path) == ["closest", "where.json"]
    with pytest.raises(PathNotFoundError, match="in its record"):
        other.entry(f"{path}/2mm")


def test_the_short_way_leads_to_the_genes_directory(world):
    target = f"{GENE}/Adora2a/structure/VISp2%2F3"
    path = "structure/VISp2%2F3/gene/Adora2a"
    assert world.entry(path) == Link(f"../../../{target}")
    assert isinstance(world.entry(target), Folder)
    assert world.entry(f"{target}/coronal-72109410") == Link(
        "../../../../../../../dataset/72109410/structure/VISp2%2F3"
    )
    # those asked for before, which show it: not all genes, which `ls` would follow
    world.entry("structure/DG/gene/Prox1")
    assert world.names("structure/DG/gene") == ["Adora2a", "Prox1"]
    assert world.names("structure/BLA/gene") == ["Adora2a"]


def test_nothing_lists_structures_but_the_directory_of_structures(world):
    assert "structure" not in world.names(f"dataset/{SAGITTAL}")
    assert "structures.csv" not in world.names(f"dataset/{SAGITTAL}")
    assert world.names(f"{GENE}/Prox1") == ["sagittal"]
    assert world.names("structure/DG") == ["info.json"]
    names = world.names("structure")
    assert len(names) == len(set(names))
    for name in names:
        assert isinstance(world.entry(f"structure/{name}"), Folder | Document)


def test_structures_of_a_data_set_are_those_that_it_shows(world):
    listed = world.names(f"dataset/{CORONAL}/structure")
    assert {"DG", "VISp2%2F3", "CUL4, 5", "CM"} <= {*listed}
    assert not {"index.csv", "cm", "grv"} & {*listed}  # without a centre
    for name in listed:
        path = f"dataset/{CORONAL}/structure/{name}"
        files = ["1mm", "2mm", "4mm", "closest", "where.json"]
        assert world.names(path)[:5] == files
        for file in world.names(path):
            assert world.entry(f"{path}/{file}")
    few = {*world.names("dataset/69782969/structure")}
    assert "DG" in few
    assert few < {*listed}
    assert {*world.names(f"{GENE}/Adora2a/structure")} >= {*listed}


def test_index_has_one_line_per_structure(world):
    table = world.entry("structure/index.csv").read(0, 2**30).decode()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["acronym"] for row in rows[:2]] == ["root", "grey"]
    names = [row["directory"] for row in rows]
    assert sorted(names) == sorted({*world.names("structure")} - {"index.csv"})
    (row,) = (row for row in rows if row["acronym"] == "SSp")
    centre = [row[f"{axis}_um_space_{space}"] for space in (9, 10) for axis in "pir"]
    # recorded
    assert [*map(float, centre)] == [5740, 2060, 8670, 5740, 2060, 2730]
    (row,) = (row for row in rows if row["acronym"] == "CUL4, 5")
    assert (row["structure_id"], row["parent_acronym"]) == ("1091", "CUL")
    (row,) = (row for row in rows if row["acronym"] == "cm")
    assert row["p_um_space_9"] == row["r_um_space_10"] == ""


def test_acronyms_are_exact_and_those_of_two_structures_have_their_id():
    structures = read_structures(
        {"id": row_id, "acronym": acronym, "graph_order": row_id}
        for row_id, acronym in ((1, "CM"), (2, "cm"), (3, "X"), (4, "X"), (5, "Y~3"))
    )
    every = structures.by_id.values()
    names = [structures.name_of(one) for one in every]
    assert names == ["CM", "cm", "X~3", "X~4", "Y~3"]
    assert [structures.find(name) for name in names] == [*every]
    assert structures.find("CM~1").structure_id == 1
    for name in ("X", "Cm", "X~5", "X~", "~3", "CM~2"):
        with pytest.raises(PathNotFoundError):
            structures.find(name)


@pytest.mark.parametrize(
    "rules",
    [
        {"page_rows": 1},
        {"page_rows": 7, "joined_pages": True},
        {"page_rows": 50, "caps_all": True},
        {"page_rows": 2000, "joined_pages": True, "caps_all": True},
    ],
    ids=str,
)
def test_regions_are_the_same_whatever_a_page_is(world, changed, rules):
    other = changed(PLAIN, **rules)
    for path in (
        "structure",
        f"{GENE}/Adora2a/structure/DG",
        f"{GENE}/Adora2a/structure",
        f"dataset/{CORONAL}/structure",
    ):
        assert other.names(path) == world.names(path)
    for path in (
        f"{GENE}/Adora2a/structure/DG/best",
        *(f"dataset/{one}/structure/CA1/2mm" for one in (CORONAL, SAGITTAL)),
    ):
        assert other.entry(path) == world.entry(path)


def test_an_older_record_without_alignments_is_not_an_absence(tmp_path):
    """Stored by an older version, and the service does not answer."""
    with SampleService(database=PLAIN) as service:
        world = World(service.url, tmp_path)
        world.names(f"dataset/{CORONAL}/structure")
        key = queries.data_set(CORONAL).key
        stored = world.files.get(key)
        del stored.answer["record"]["alignment3d"]
        world.files.put(key, StoredRecord(stored.answer, 0, is_suspect=True))
        service.fail_queries(Fault.STATUS_503)
        other = World(service.url, tmp_path)
        assert len(other.names(f"dataset/{CORONAL}")) > 10
        with pytest.raises(ServiceError, match=r"incomplete.*no alignment"):
            other.entry(f"dataset/{CORONAL}/structure/DG")


class CaseInsensitive:
    """A service that compares acronyms of genes without their case."""

    def __init__(self, url: str) -> None:
        self._service = AllenService(ServiceSettings(url))

    def page(self, query: Query, **options: Any) -> Rows:
        criteria = query.criteria.replace("'PROX1'", "'Prox1'")
        return self._service.page(replace(query, criteria=criteria), **options)


def test_a_gene_is_compared_with_its_case(sample, tmp_path):
    world = World(sample.url, tmp_path)
    world.use(CaseInsensitive(sample.url), ServiceSettings(sample.url))
    assert world.names("structure/DG/gene") == []
    assert world.entry("structure/DG/gene/Prox1")
    with pytest.raises(PathNotFoundError, match="gene 'PROX1'"):
        world.entry("structure/DG/gene/PROX1")


class Trimming:
    """A service that keeps only some of the images nested in the rows of a gene."""

    def __init__(self, url: str, kept: int) -> None:
        self._service, self._kept = AllenService(ServiceSettings(url)), kept

    def page(self, query: Query, **options: Any) -> Rows:
        rows = self._service.page(query, **options)
        if "genes[acronym" in query.criteria:
            for row in filter(None, rows):
                row["section_images"] = row["section_images"][: self._kept]
        return rows


@pytest.mark.parametrize(("kept", "is_known"), [(0, False), (3, True)])
def test_images_missing_from_a_genes_answer_replace_no_list(
    world, sample, tmp_path, kept, is_known
):
    other = World(sample.url, tmp_path / "other")
    other.use(Trimming(sample.url, kept), ServiceSettings(sample.url))
    data_set = "dataset/69289763"
    if is_known:
        other.names(data_set)
    other.entry(f"{GENE}/Prox1/structure/DG/best")
    assert other.names(data_set) == world.names(data_set)


class Refusing:
    """A service that does not nest alignments in the images of a data set."""

    def __init__(self, url: str) -> None:
        self._service = AllenService(ServiceSettings(url))
        self.refused = 0

    def page(self, query: Query, **options: Any) -> Rows:
        if "section_images(alignment2d)" in query.include:
            self.refused += 1
            raise QueryError("no such association")
        return self._service.page(query, **options)


def test_regions_are_the_same_if_alignments_cannot_be_nested(world, sample, tmp_path):
    other = World(sample.url, tmp_path / "other")
    service = Refusing(sample.url)
    other.use(service, ServiceSettings(sample.url))
    for path in (
        f"dataset/{CONNECTIVITY}/structure/DG/2mm",
        f"{GENE}/Adora2a/structure/DG/best",
        f"dataset/{CORONAL}/structure/DG/2mm",
    ):
        assert other.entry(path) == world.entry(path)
    assert service.refused > 0


def test_failed_query_is_an_error_never_no_place(tmp_path):
    with SampleService(database=PLAIN) as service:
        world = World(service.url, tmp_path)
        for path in (
            "structure/DG",
            "structure/Nope",
            f"dataset/{SAGITTAL}/structure/DG/2mm",
            "structure/DG/gene/Prox1",
            f"dataset/{SAGITTAL}/structures.csv",
        ):
            service.fail_queries(Fault.STATUS_503)
            with pytest.raises(ServiceError):
                world.entry(path)
            service.heal()
        # a list without rows is no reason to say that a structure does not exist
        service.fail_queries(Fault.NO_ROWS)
        with pytest.raises(ServiceError, match="is empty"):
            world.entry("structure/DG")
        service.heal()
        assert isinstance(World(service.url, tmp_path).entry("structure/DG"), Folder)


def test_data_sets_whose_nested_images_are_cut_are_queried_alone(sample, tmp_path):
    class Cutting:
        """Nests half of the images, if several data sets are asked for."""

        def __init__(self) -> None:
            self._service = AllenService(ServiceSettings(sample.url))

        def page(self, query: Query, **options: Any) -> Rows:
            rows = self._service.page(query, **options)
            for row in filter(None, rows):
                if "genes[" in query.criteria and "section_images" in row:
                    del row["section_images"][::2]
            return rows

    world = World(sample.url, tmp_path)
    world.use(Cutting(), ServiceSettings(sample.url))
    assert world.entry(f"{GENE}/Adora2a/structure/DG/best")
    assert len(world.names(f"dataset/{CORONAL}/ds4")) == 60
