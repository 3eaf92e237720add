"""Structures, alignments and unionizes over HTTP, in the queries that clients send."""

from __future__ import annotations

from rma_client import envelope, ids, query, xml

DATA = "/api/v2/data"


def test_structures_come_with_the_centers_of_a_space(service):
    answer = envelope(
        service,
        f"{DATA}/Structure/query.json?criteria=[graph_id$eq1],"
        "structure_centers[reference_space_id$eq10]&include=structure_centers"
        "&num_rows=all",
    )
    found = {row["acronym"]: row for row in answer["msg"]}
    centers = found["SSp"]["structure_centers"]
    assert {each["reference_space_id"] for each in centers} == {9, 10}
    (left,) = (each for each in centers if each["reference_space_id"] == 10)
    assert left.keys() == {"id", "structure_id", "reference_space_id", "x", "y", "z"}
    assert (left["structure_id"], left["x"], left["y"], left["z"]) == (
        322, 5740, 2060, 2730
    )  # fmt: skip
    assert "BLA" not in found
    assert "fiber tracts" not in found


def test_every_structure_of_the_graph_is_listed_without_a_filter(service):
    answer = envelope(
        service,
        f"{DATA}/Structure/query.json?criteria=[graph_id$eq1]"
        "&include=structure_centers&num_rows=all",
    )
    found = {row["acronym"]: row for row in answer["msg"]}
    assert found["fiber tracts"]["structure_centers"] == []
    assert len(found["BLA"]["structure_centers"]) == 1
    assert found["VISp2/3"]["name"] == "Primary visual area, layer 2/3"


def test_a_data_set_comes_with_its_alignment_or_null(service):
    answer = envelope(service, f"{DATA}/SectionDataSet/123.json?include=alignment3d")
    alignment = answer["msg"][0]["alignment3d"]
    assert alignment["aligned_id"] == 123
    assert "trv_11" in alignment
    answer = envelope(
        service, f"{DATA}/SectionDataSet/70813257.json?include=alignment3d"
    )
    assert answer["msg"][0]["alignment3d"] is None


def test_images_come_with_their_alignments_or_null(service):
    answer = envelope(
        service,
        f"{DATA}/SectionImage/query.json?criteria=[data_set_id$eq71670687]"
        "&include=alignment2d&num_rows=all",
    )
    alignments = {row["id"]: row["alignment2d"] for row in answer["msg"]}
    assert len(alignments) == 12
    assert alignments.pop(71663128) is None
    for image_id, alignment in alignments.items():
        assert alignment["section_image_id"] == image_id
    nested = envelope(
        service,
        f"{DATA}/SectionDataSet/123.json?include=section_images(alignment2d)",
    )
    first, null, _ = nested["msg"][0]["section_images"]
    assert null is None
    assert first["alignment2d"]["section_image_id"] == first["id"]


def test_unionizes_come_with_their_structures_in_order(service):
    answer = query(
        service,
        "model::StructureUnionize,rma::criteria,[section_data_set_id$eq69289763],"
        "rma::include,structure,rma::options[order$eq'expression_energy$desc']"
        "[num_rows$eq2]",
    )
    assert [row["structure"]["acronym"] for row in answer["msg"]] == ["DG-sg", "DG"]
    answer = envelope(
        service,
        f"{DATA}/SectionDataSet/69289763.json?include=structure_unionizes(structure)",
    )
    rows = answer["msg"][0]["structure_unionizes"]
    assert {"root", "DG"} <= {row["structure"]["acronym"] for row in rows}


def test_a_structure_leads_to_its_parent_and_its_graph(service):
    answer = query(
        service,
        "model::Structure,rma::criteria,[acronym$eq'DG'],rma::include,parent,"
        "structure_graph",
    )
    (row,) = answer["msg"]
    assert row["parent"]["acronym"] == "HIP"
    assert row["structure_graph"]["id"] == 1


def test_acronyms_are_compared_by_case(service):
    upper = query(service, "model::Structure,rma::criteria,[acronym$eq'CM']")
    lower = query(service, "model::Structure,rma::criteria,[acronym$eq'cm']")
    assert (ids(upper), ids(lower)) == ([599], [967])


def test_alignments_are_also_written_as_xml(service):
    root = xml(service, f"{DATA}/SectionDataSet/123.xml?include=alignment3d")
    alignment = root.find(".//alignment3d")
    assert alignment is not None
    assert alignment.findtext("aligned-type") == "DataSet"
    assert float(alignment.findtext("trv-08")) == 0.95
