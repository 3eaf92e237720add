"""What scripts/probe-live says of structures, alignments and drawings."""

from __future__ import annotations

import json

import pytest
from hostile_service import HostileService, envelope, whole
from probed import probe

DIFFERS = "**DIFFERS**"
# Recorded by BlueBrain's atldld, tests/data/sync: set 717 at (6150, 7800, 10850).
TRV = (
    *(-0.0754917, -0.00500436, 0.756216, 0.00929635, 0.838369, 0.00670015),
    *(-0.80617, 0.0158547, -0.0759265, 2746.33, 2366.38, 11210.8),
)
TVS = (0.613294, 0.0157899, -0.0157899, 0.613294, -1039.85, -989.941)
OTHER_TVS = (0.613294, 0.0157899, -0.0157899, 0.613294, -1059.72, -922.978)
X_PX, Y_PX = 5510.494711155741, 4386.521396378054


def alignment(name, coefficients):
    return {f"{name}_{index:02}": value for index, value in enumerate(coefficients)}


def structure(structure_id, acronym, parent_id, *points):
    keys = ("reference_space_id", "x", "y", "z")
    return {
        "id": structure_id,
        "acronym": acronym,
        "parent_structure_id": parent_id,
        "structure_centers": [dict(zip(keys, point, strict=True)) for point in points],
    }


STRUCTURES = [
    structure(997, "root", None),
    structure(322, "SSp", 997, (9, 5740, 2060, 8670), (10, 5740, 2060, 2730)),
    structure(632, "DG-sg", 322, (9, 6150, 7800, 560), (10, 6150, 7800, 10850)),
]
UNIONIZES = [
    {"structure_id": 632, "expression_energy": 7.7, "structure": {"ontology_id": 1}},
    {"structure_id": 15565, "sum_pixels": 788, "structure": {"ontology_id": 12}},
]
IMAGES = [
    {
        "id": 101322885,
        "section_number": 241,
        "alignment2d": alignment("tvs", OTHER_TVS),
    },
    {"id": 101322875, "section_number": 225, "alignment2d": alignment("tvs", TVS)},
]
SET = {
    "reference_space_id": 10,
    "section_thickness": 25.0,
    "alignment3d": alignment("trv", TRV),
}
DRAWN = (
    b'<svg width="660" height="472"><g graphic_group_label_id="28"><path d=""/>'
    b'<path d=""/></g></svg>'
)


def answered(found, **more):
    return [envelope(json.dumps({"success": True, "msg": found, **more}).encode())]


def synced(**image_sync):
    return answered([{"image_sync": image_sync}], num_rows=0, total_rows=0)


def rows_of(target):
    if "model::Structure," in target:
        return answered(STRUCTURES, num_rows=3, total_rows=5)
    if "model::StructureUnionize" in target:
        return answered(UNIONIZES, num_rows=2, total_rows=2)
    if "section_images(alignment2d)" in target:
        return answered([{**SET, "section_images": IMAGES[:1]}])
    if "include,alignment3d" in target:
        return answered([SET])
    if "include,alignment2d" in target:
        return answered(IMAGES)
    return answered([])


def thing_of(target):
    if "/structure_to_image/" in target:
        return synced(section_image_id=101322875, section_number=225, x=X_PX, y=Y_PX)
    if "/reference_to_image/10" in target:
        assert "x=6150.000000&y=7800.000000&z=10850.000000&" in target
        return synced(section_image_id=101322875, section_number=225, x=X_PX, y=4387.5)
    if "/reference_to_image/" in target:
        return synced(section_image_id=None, section_number=None, x=0, y=0)
    if "groups=28" in target:
        return [whole(DRAWN, kind="image/svg+xml")]
    return [whole(b"<svg></svg>", kind="image/svg+xml")]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    with HostileService() as service:
        service.query, service.image = rows_of, thing_of
        return probe(tmp_path_factory.mktemp("probe"), "--api-url", service.url)


@pytest.mark.parametrize(
    ("question", "seen", "verdict"),
    [
        (
            "All structures of graph 1",
            "3 rows (num_rows 3, total_rows 5), 200",
            DIFFERS,
        ),
        (
            "Whether total_rows counts the centres",
            "total_rows 5, 3 rows, 4 centres",
            "-",
        ),
        ("Acronyms in graph 1", "0 more than once: none; 0 with a /", "agree"),
        (
            "Structures with a centre, by reference space",
            "9: 2, 10: 2; 0 more than one in a space",
            "agree",
        ),
        ("Structures without a centre", "1 of 3: root", "-"),
        ("Structures with parts that have a centre", "1 of 2", DIFFERS),
        ("Centres in 9 on the right, z from 5700", "1 of 2", DIFFERS),
        (
            "Centres in 9 and 10 mirrored at z 5700",
            "1 of 2; at most 10 µm off",
            DIFFERS,
        ),
        ("Centre of SSp in 9", "(5740, 2060, 8670)", "agree"),
        ("Centre of SSp in 10", "(5740, 2060, 2730)", "agree"),
    ],
)
def test_centres_are_compared_with_those_recorded(question, seen, verdict, report):
    assert (report.seen[question], report.verdict[question]) == (seen, verdict)


@pytest.mark.parametrize(
    ("question", "seen", "verdict"),
    [
        ("StructureUnionize of a data set", "2 rows (num_rows 2,", "agree"),
        ("Fields of StructureUnionize", "expression_energy, structure, ", DIFFERS),
        ("Its structures in graph 1", "1 of 2, 0 of them in more", "agree"),
        (
            "Ontologies of its structures",
            "rows by ontology: 1: 1, 12: 1; the first row's: 1; by",
            DIFFERS,
        ),
    ],
)
def test_expression_by_structure_says_its_ontologies(question, seen, verdict, report):
    assert report.seen[question].startswith(seen)
    assert report.verdict[question] == verdict


@pytest.mark.parametrize(
    ("question", "seen", "verdict"),
    [
        ("data set 69289763: alignment3d", "translation [2746.33,", DIFFERS),
        (
            "data set 69289763: alignment2d of its images",
            "2 of 2 images; 2 rows",
            DIFFERS,
        ),
        ("data set 69289763: alignment2d nested in it", "1 of 1 images; oth", DIFFERS),
        (
            "data set 100141599: alignment2d of its images",
            "2 of 2 images; 2 rows",
            "agree",
        ),
        (
            "data set 100141599: reference space and section thickness",
            "10, 25.0 µm",
            DIFFERS,
        ),
    ],
)
def test_alignments_are_asked_for_themselves_and_nested(
    question, seen, verdict, report
):
    assert report.seen[question].startswith(seen)
    assert report.verdict[question] == verdict


def test_a_place_of_the_service_is_compared_with_the_recorded_and_the_computed(report):
    place = "image 101322875, section 225, (5510.49, 4386.52)"
    service = "structure_to_image of DG-sg in 69289763"
    assert report.seen[service] == place
    assert report.verdict[service] == DIFFERS
    assert report.seen[f"{service} and the records"] == place
    assert report.assumed[f"{service} and the records"] == (
        f"by the records: {place}; its plane 222.11"
    )
    assert report.verdict[f"{service} and the records"] == "agree"


def test_a_place_that_the_records_do_not_give_is_a_difference(report):
    question = "reference_to_image of 69289763 and the records"
    assert report.seen[question].endswith("section 225, (5510.49, 4387.50)")
    assert report.verdict[question] == DIFFERS
    nowhere = "reference_to_image of 100141599 and the records"
    assert '"section_image_id": null' in report.seen[nowhere]
    assert report.verdict[nowhere] == DIFFERS


def test_drawings_are_measured(report):
    drawn, other, empty = (
        f"Drawing of {plate}, groups {groups}"
        for plate, groups in (
            ("100960224", "28"),
            ("100883869", "28 32"),
            ("100960224", "none"),
        )
    )
    assert report.seen[drawn].startswith(
        "660 x 472, 2 paths, groups 28, 95 bytes, whole"
    )
    assert "200, image/svg+xml, Content-Length 95, not chunked" in report.seen[drawn]
    assert report.seen[empty].startswith("? x ?, 0 paths, groups none, 11 bytes")
    assert report.verdict[drawn] == report.verdict[empty] == "agree"
    assert report.verdict[other] == DIFFERS  # one group of two was drawn


def test_own_queries_say_how_many_requests_they_took(report):
    own = "allenfs' own query of "
    structures = "3 rows (num_rows 3, total_rows 5), 200; requests: 2; 3 read"
    assert report.seen[f"{own}the structures"] == structures
    assert report.verdict[f"{own}the structures"] == "agree"


def test_own_queries_that_are_refused_are_a_difference(tmp_path, hostile):
    def refuses(target):
        if "start_row$eq" in target:  # as allenfs sends it, with an order or without
            return [envelope(b'{"success": false, "msg": "no such column"}')]
        return rows_of(target)

    hostile.query, hostile.image = refuses, thing_of
    report = probe(tmp_path, "--api-url", hostile.url)
    question = "allenfs' own query of the structures"
    assert "requests: 2; no such column" in report.seen[question]
    assert report.verdict[question] == DIFFERS
    assert report.verdict["Acronyms in graph 1"] == "agree"


@pytest.mark.parametrize(
    "nonsense",
    [
        '[null, 1, "x", [], {}]',
        '[{"id": 632, "structure_centers": [{"reference_space_id": 10, "x": "far"}]}]',
        '[{"reference_space_id": 9, "section_thickness": 0, "alignment3d": 3}]',
        '[{"id": 1, "section_images": {"a": 1}, "alignment2d": [{"tvs_00": NaN}]}]',
        '{"image_sync": [1e999]}',
        '{"image_sync": {"section_image_id": "7", "section_number": 1, "x": 1e999}}',
    ],
)
def test_rows_of_nonsense_break_no_probe(nonsense, tmp_path, hostile):
    body = b'{"success": true, "msg": ' + nonsense.encode() + b"}"
    asked = ("model::Structure", "alignment", "_to_image")

    def says(target):
        is_region = any(part in target for part in asked)
        return [envelope(body)] if is_region else answered([])

    hostile.query = hostile.image = says
    report = probe(tmp_path, "--api-url", hostile.url)
    assert report.code == 0
    assert "agree" not in {
        report.verdict[question]
        for question in report.verdict
        if "_to_image" in question
    }
