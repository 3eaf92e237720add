"""The queries of "Downloading an Image", and those that AllenSDK sends."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from rma_client import QUERY, ask, envelope, ids, query, xml, xml_ids

from allenfs.sample.server import SampleService

# The page breaks its lines after the commas; one of them has a backslash there.
NEIGHBOUR = """
model::SectionImage,
rma::criteria,[id$eq71592261],
rma::include,associates(data_set(treatments[name$eq'NISSL']))"""
EXPERIMENTS = """
model::SectionDataSet,
rma::criteria,[failed$eq'false'],products[abbreviation$eq'Mouse'],plane_of_section[name$eq'sagittal'],genes[acronym$eq'Adora2a']"""
IMAGES = """
model::SectionImage,
rma::criteria,[data_set_id$eq70813257]"""
PLATES = """
model::Atlas,
rma::criteria,[id$eq2],
rma::include,atlas_data_sets(atlas_images(treatments))"""

EXPECTED = (
    (NEIGHBOUR, [71592261]),
    (EXPERIMENTS, [70813257, 71670687]),
    (IMAGES, [70679080, 70679084, 70679088, 70679092, 70679096]),
    (PLATES, [2]),
)


@pytest.fixture(scope="module")
def service():
    with SampleService() as running:
        yield running


@pytest.mark.parametrize(("text", "expected"), EXPECTED)
def test_a_query_of_the_page_is_answered_as_json(service, text, expected):
    assert ids(query(service, text)) == expected


@pytest.mark.parametrize(("text", "expected"), EXPECTED)
def test_a_query_of_the_page_is_answered_as_xml(service, text, expected):
    assert xml_ids(xml(service, QUERY.replace("json", "xml") + quote(text))) == expected


@pytest.mark.parametrize(("text", "expected"), EXPECTED)
def test_brackets_and_quotes_need_no_escape_and_plus_is_a_blank(
    service, text, expected
):
    raw = text.replace("\n", "+")
    assert ids(envelope(service, QUERY + raw)) == expected


def test_the_closest_nissl_image_is_nested_with_its_data_set(service):
    (row,) = query(service, NEIGHBOUR)["msg"]
    (associate,) = row["associates"]
    assert associate["id"] == 71592412
    assert associate["data_set"]["id"] == 71587930
    assert [each["name"] for each in associate["data_set"]["treatments"]] == ["NISSL"]
    root = xml(service, QUERY.replace("json", "xml") + quote(NEIGHBOUR))
    assert root.findtext("section-images/section-image/associates/associate/id") == (
        "71592412"
    )


def test_plates_of_atlas_2_come_with_their_treatments(service):
    (atlas,) = query(service, PLATES)["msg"]
    by_treatment: dict[str, list[int]] = {}
    for data_set in atlas["atlas_data_sets"]:
        for plate in data_set["atlas_images"]:
            (treatment,) = plate["treatments"]
            by_treatment.setdefault(treatment["name"], []).append(plate["id"])
    assert by_treatment == {
        "NISSL": [100883771, 100883804, 100883837, 100883869, 100883900],
        "Parvalbumin": [100884210, 100884214],
    }


def test_the_ranges_of_a_data_set_are_its_equalization(service):
    target = (
        "/api/v2/data/SectionDataSet/100141599.{}?include=equalization,section_images"
    )
    answer = envelope(service, target.format("json"))
    (row,) = answer["msg"]
    bounds = [
        row["equalization"][f"{color}_{end}"]
        for color in ("red", "green", "blue")
        for end in ("lower", "upper")
    ]
    assert bounds == [0, 923, 0, 987, 0, 4095]
    assert 102146167 in [image["id"] for image in row["section_images"]]
    root = xml(service, target.format("xml"))
    assert xml_ids(root) == [100141599]
    assert root.findtext(".//equalization/red-upper") == "923"
    assert len(root.findall(".//section-images/section-image")) == 3


def test_the_xml_envelope_is_as_recorded(service):
    response, body = ask(service, "/api/v2/data/Organism/2.xml")
    assert response.headers["Content-Disposition"] == "attachment; filename=query.xml"
    assert body.decode().partition("\n")[2] == (
        '<Response success="true" id="0" start_row="0" num_rows="1" total_rows="1">'
        "<organisms><organism>"
        '<id type="integer">2</id><name>Mus musculus</name>'
        "</organism></organisms></Response>"
    )


def test_xml_says_what_is_nil_and_of_which_type(service):
    root = xml(service, "/api/v2/data/SectionImage/101945191.xml?include=structure")
    row = root.find("section-images/section-image")
    assert row.find("axes").attrib == {"nil": "true"}
    assert row.find("failed").attrib == {"type": "boolean"}
    assert row.findtext("failed") == "false"
    assert row.find("tier-count").attrib == {"type": "integer"}
    assert row.find("structure").attrib == {"nil": "true"}


def test_text_is_escaped_in_xml(service):
    root = xml(service, "/api/v2/data/Treatment/21.xml")
    assert root.findtext("treatments/treatment/name") == "H&E"


# What AllenSDK 2.16 sends, with its own escapes.
SDK = "/api/v2/data/query.json?q="


def test_section_image_query_of_allensdk(service):
    answer = envelope(
        service,
        f"{SDK}model::SectionImage,rma::criteria,%5Bdata_set_id$eq72109410%5D,"
        "rma::options%5Bnum_rows$eq%27all%27%5D%5Bcount$eqfalse%5D",
    )
    assert len(ids(answer)) == 60
    assert answer["total_rows"] == 0


def test_get_section_image_ranges_of_allensdk(service):
    answer = envelope(
        service,
        f"{SDK}model::Equalization,rma::criteria,"
        "section_data_set%28section_images%5Bid$in102146167,102146171,126862575%5D%29,"
        "rma::options%5Bonly$eq%27blue_lower,blue_upper,red_lower,red_upper,"
        "green_lower,green_upper%27%5D%5Bnum_rows$eq%27all%27%5D%5Bcount$eqfalse%5D",
    )
    assert len(answer["msg"]) == 2
    assert {
        "blue_lower": 0, "blue_upper": 4095, "green_lower": 0, "green_upper": 987,
        "red_lower": 0, "red_upper": 923,
    } in answer["msg"]  # fmt: skip


@pytest.mark.parametrize(
    ("failed", "has_failed"), [("%27false%27", False), ("%27false%27,%27true%27", True)]
)
def test_get_section_data_sets_by_product_of_allensdk(service, failed, has_failed):
    answer = envelope(
        service,
        f"{SDK}model::SectionDataSet,rma::criteria,%5Bfailed$in{failed}%5D,"
        "products%5Bid$in1,3%5D,rma::options%5Bnum_rows$eq%27all%27%5D",
    )
    found = ids(answer)
    assert {70813257, 100076514, 479} <= set(found)
    assert len(set(found)) == len(found)
    assert (70634395 in found) == has_failed


def test_atlas_image_query_of_allensdk(service):
    answer = envelope(
        service,
        f"{SDK}model::AtlasImage,rma::criteria,%5Bannotated$eqtrue%5D,"
        "atlas_data_set%28atlases%5Bid$eq2%5D%29,"
        "alternate_images%5Bimage_type$eq%27Atlas+-+Adult+Mouse%27%5D,"
        "rma::options%5Bnum_rows$eq%27all%27%5D"
        "%5Border$eqsub_images.section_number%5D",
    )
    assert ids(answer) == [100883771, 100883804, 100883837, 100883869]
