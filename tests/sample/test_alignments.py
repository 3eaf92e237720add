"""Alignments and centres: the arithmetic leads to what the pictures show."""

from __future__ import annotations

import numpy as np
import pytest

from allenfs.sample.anatomy import LABELS, labels_of
from allenfs.sample.centers import CENTERS
from allenfs.sample.content import sample_database
from allenfs.sample.database import Database, Row
from allenfs.sample.experiments import DENTATE_SECTIONS
from allenfs.sample.frame import base_halvings, base_size
from allenfs.sample.records import DATA_SETS, RECORDS
from allenfs.sample.structures import STRUCTURES

#: recorded: an alignment of each kind has these fields beside its coefficients
KEYS_2D = {"id", "section_image_id"}
KEYS_3D = {"id", "aligned_id", "aligned_type"}
#: widths of an image by which a centre may miss the middle of what is drawn there
BEND = 0.03

ALIGNED = sorted(DENTATE_SECTIONS)
ADULT = [set_id for set_id in ALIGNED if set_id != 100076514]


@pytest.fixture(scope="module")
def database():
    return sample_database()


def row(database: Database, model: str, row_id: int) -> Row:
    entry = database.get(model, row_id)
    assert entry is not None
    return entry.row


def one(database: Database, model: str, row_id: int, association: str) -> Row | None:
    entry = database.get(model, row_id)
    assert entry is not None
    rows = database.related(entry, association)
    assert len(rows) <= 1
    return rows[0].row if rows and rows[0] else None


def images_of(database: Database, set_id: int) -> list[Row]:
    entry = database.get("SectionDataSet", set_id)
    assert entry is not None
    images = database.related(entry, "section_images")
    return [image.row for image in images if image is not None]


def affine3d(row: Row, name: str) -> np.ndarray:
    values = [row[f"{name}_{place:02}"] for place in range(12)]
    return np.column_stack((np.reshape(values[:9], (3, 3)), values[9:]))


def affine2d(row: Row, name: str) -> np.ndarray:
    a, b, c, d, x, y = (row[f"{name}_{place:02}"] for place in range(6))
    return np.array([[a, b, x], [c, d, y]])


def center(database: Database, acronym: str, space: int) -> tuple | None:
    entry = database.get("Structure", STRUCTURES[acronym].structure_id)
    assert entry is not None
    for found in database.related(entry, "structure_centers"):
        if found is not None and found.row["reference_space_id"] == space:
            return found.row["x"], found.row["y"], found.row["z"]
    return None


def volume_point(database: Database, set_id: int, point: tuple) -> np.ndarray:
    alignment = one(database, "SectionDataSet", set_id, "alignment3d")
    assert alignment is not None
    volume: np.ndarray = affine3d(alignment, "trv") @ (*point, 1)
    return volume


def section_of(database: Database, set_id: int, acronym: str) -> float | None:
    """Return the section number, with fractions, of a structure's centre."""
    data_set = row(database, "SectionDataSet", set_id)
    point = center(database, acronym, data_set["reference_space_id"])
    if point is None:
        return None
    through = volume_point(database, set_id, point)[2]
    return float(through / data_set["section_thickness"])


def missed_by(database: Database, image_id: int, acronym: str, region: str) -> float:
    """Return how far a centre is from the nearest drawn pixel, in image widths."""
    record = RECORDS[image_id]
    space = row(database, "SectionDataSet", record.data_set_id)["reference_space_id"]
    point = center(database, acronym, space)
    alignment = one(database, "SectionImage", image_id, "alignment2d")
    assert point is not None
    assert alignment is not None
    v_x, v_y, _ = volume_point(database, record.data_set_id, point)
    x_px, y_px = affine2d(alignment, "tvs") @ (v_x, v_y, 1)
    assert 0 < x_px < record.width_px
    assert 0 < y_px < record.height_px
    width, _ = base_size(record)
    across = 1 / (1 << base_halvings(record))
    rows, columns = np.nonzero(labels_of(record) == LABELS[region])
    away = np.hypot(columns + 0.5 - x_px * across, rows + 0.5 - y_px * across)
    return float(away.min() / width)


# The coefficients


def test_the_fields_are_those_recorded(database):
    alignment = one(database, "SectionDataSet", 123, "alignment3d")
    assert alignment is not None
    numbered = {f"{name}_{n:02}" for name in ("trv", "tvr") for n in range(12)}
    assert set(alignment) == KEYS_3D | numbered
    assert (alignment["aligned_id"], alignment["aligned_type"]) == (123, "DataSet")
    alignment = one(database, "SectionImage", 101945191, "alignment2d")
    assert alignment is not None
    numbered = {f"{name}_{n:02}" for name in ("tsv", "tvs") for n in range(6)}
    assert set(alignment) == KEYS_2D | numbered
    assert alignment["section_image_id"] == 101945191


@pytest.mark.parametrize("set_id", ALIGNED)
def test_both_directions_are_inverse_within_their_rounding(database, set_id):
    alignment = one(database, "SectionDataSet", set_id, "alignment3d")
    assert alignment is not None
    point = np.array((6000.0, 3000.0, 4000.0))
    volume = affine3d(alignment, "trv") @ (*point, 1)
    assert affine3d(alignment, "tvr") @ (*volume, 1) == pytest.approx(point, abs=0.5)
    for image in images_of(database, set_id):
        alignment = one(database, "SectionImage", image["id"], "alignment2d")
        if alignment is not None:
            pixel = affine2d(alignment, "tvs") @ (*volume[:2], 1)
            back = affine2d(alignment, "tsv") @ (*pixel, 1)
            assert back == pytest.approx(volume[:2], abs=0.2)


@pytest.mark.parametrize("model", ["Alignment2d", "Alignment3d"])
def test_coefficients_have_six_significant_digits(database, model):
    for entry in database.rows(model):
        for value in entry.row.values():
            if isinstance(value, float):
                assert value == float(f"{value:.6g}")


@pytest.mark.parametrize("set_id", ALIGNED)
def test_an_image_turns_a_little_and_keeps_its_proportions(database, set_id):
    for image in images_of(database, set_id):
        alignment = one(database, "SectionImage", image["id"], "alignment2d")
        if alignment is not None:
            (a, b, _), (c, d, _) = affine2d(alignment, "tvs")
            assert (a, b) == pytest.approx((d, -c))
            assert abs(np.degrees(np.arctan2(c, a))) < 2.6
            assert 0.5 < a * image["resolution"] < 1.5


# Which images are aligned


def test_mouse_data_sets_are_aligned_except_some(database):
    without = {70813257, 70634395, 311174541, 311175872}
    for data_set in DATA_SETS:
        if data_set.kind == "section":
            set_id = data_set.data_set_id
            alignment = one(database, "SectionDataSet", set_id, "alignment3d")
            assert (alignment is None) == (set_id in without), set_id


def test_images_are_aligned_if_their_data_set_is_except_a_failed_one(database):
    for record in RECORDS.values():
        if record.kind == "section":
            alignment = one(database, "SectionImage", record.image_id, "alignment2d")
            expected = record.data_set_id in ALIGNED and record.image_id != 71663128
            assert (alignment is not None) == expected, record.image_id


def test_a_developing_brain_has_a_space_without_centers(database):
    space = row(database, "SectionDataSet", 100076514)["reference_space_id"]
    assert row(database, "ReferenceSpace", space)["name"] == "P14"
    centers = [entry.row for entry in database.rows("StructureCenter")]
    assert {each["reference_space_id"] for each in centers} == {9, 10}
    assert section_of(database, 100076514, "DG") is None


# Where structures are


@pytest.mark.parametrize("set_id", ADULT)
def test_the_dentate_gyrus_lies_in_a_section_of_every_adult_data_set(database, set_id):
    section = section_of(database, set_id, "DG")
    numbers = [image["section_number"] for image in images_of(database, set_id)]
    assert min(abs(number - section) for number in numbers) < 0.5


@pytest.mark.parametrize(
    "image_id",
    [
        69750516,  # sagittal, the documented one
        71592261,  # coronal, the documented one
        101082290,  # sagittal, with others on its slide
        102146167,  # coronal, of a connectivity experiment
        101349756,  # coronal, a small one
        72083217,  # one of a whole brain
    ],
)
def test_the_dentate_gyrus_is_drawn_where_the_alignment_says(database, image_id):
    record = RECORDS[image_id]
    section = section_of(database, record.data_set_id, "DG")
    assert abs(record.section_number - section) < 0.5
    assert missed_by(database, image_id, "DG", "dentate gyrus") < BEND


@pytest.mark.parametrize(
    ("acronym", "image_ids"),
    [
        ("CP", (69750516, 71592261)),
        ("ACB", (69750516, 71592261)),
        ("TH", (69750516, 71592261)),
        ("SSp", (69750516, 71592261)),
        ("VISp2/3", (69750516, 71592261)),
        ("BLA", (71592261,)),
        ("CUL4, 5", (69750516,)),
        ("SCs", (69750516,)),
        ("MOBgr", (69750516,)),
    ],
)
def test_other_structures_are_drawn_there_as_well(database, acronym, image_ids):
    region = CENTERS[acronym].region
    for image_id in image_ids:
        assert missed_by(database, image_id, acronym, region) < BEND


def test_a_whole_brain_has_a_section_near_every_center(database):
    numbers = [image["section_number"] for image in images_of(database, 72109410)]
    for acronym in CENTERS:
        section = section_of(database, 72109410, acronym)
        assert min(abs(number - section) for number in numbers) <= 4


def test_many_structures_lie_beyond_the_last_section(database):
    numbers = [image["section_number"] for image in images_of(database, 71587929)]
    sections = {name: section_of(database, 71587929, name) for name in CENTERS}
    assert sections["MOB"] > max(numbers) + 100
    assert sections["MY"] < min(numbers) - 100


def test_sagittal_sections_go_little_beyond_the_midline(database):
    midline = np.array((7000.0, 4000.0, 5700.0))
    for set_id in ADULT:
        data_set = row(database, "SectionDataSet", set_id)
        if data_set["plane_of_section_id"] == 2:
            last = max(i["section_number"] for i in images_of(database, set_id))
            section = volume_point(database, set_id, midline)[2] / 25
            assert last < section + 20


# The structures


def test_the_recorded_center_is_kept(database):
    assert center(database, "SSp", 10) == (5740, 2060, 2730)
    assert center(database, "SSp", 9) == (5740, 2060, 8670)


def test_centers_lie_right_and_are_mirrored(database):
    for acronym in CENTERS:
        right = center(database, acronym, 9)
        assert right is not None
        assert 5700 < right[2] < 11_400
        left = center(database, acronym, 10)
        assert left in (None, (right[0], right[1], 11_400 - right[2]))


def test_some_structures_have_no_center_or_one(database):
    assert center(database, "BLA", 9) is not None
    assert center(database, "BLA", 10) is None
    for acronym in ("fiber tracts", "cm", "ipf"):
        assert center(database, acronym, 9) is None
        assert center(database, acronym, 10) is None


def test_structures_are_those_of_the_public_ontology(database):
    assert row(database, "Structure", 632) == {
        "acronym": "DG-sg", "atlas_id": 927, "color_hex_triplet": "66A83D",
        "depth": 8, "failed": False, "failed_facet": 734881840, "graph_id": 1,
        "graph_order": 476, "hemisphere_id": 3, "id": 632,
        "name": "Dentate gyrus, granule cell layer", "neuro_name_structure_id": None,
        "neuro_name_structure_id_path": None, "ontology_id": 1,
        "parent_structure_id": 726,
        "safe_name": "Dentate gyrus granule cell layer", "sphinx_id": 477,
        "st_level": 11,
        "structure_id_path": "/997/8/567/688/695/1089/1080/726/632/",
        "structure_name_facet": row(database, "Structure", 632)["structure_name_facet"],
        "weight": 8690,
    }  # fmt: skip
    root = row(database, "Structure", 997)
    assert (root["structure_id_path"], root["depth"]) == ("/997/", 0)
    assert (root["parent_structure_id"], root["structure_name_facet"]) == (
        None, 385153371
    )  # fmt: skip


def test_every_structure_has_its_ancestors(database):
    for entry in database.rows("Structure"):
        path = [
            int(part) for part in entry.row["structure_id_path"].strip("/").split("/")
        ]
        assert path[0] == 997
        assert path[-1] == entry.row["id"]
        assert len(path) == entry.row["depth"] + 1
        parents = [row(database, "Structure", n)["parent_structure_id"] for n in path]
        assert parents == [None, *path[:-1]]


def test_acronyms_are_awkward():
    assert {"CM", "cm", "IPF", "ipf", "VISp2/3", "CUL4, 5"} <= set(STRUCTURES)
