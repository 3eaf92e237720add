"""What a query gets: rows, order, pages, fields, and refusals."""

from __future__ import annotations

import json
from contextlib import closing
from urllib.parse import quote

import pytest
from rma_client import (
    QUERY,
    ask,
    connected,
    envelope,
    ids,
    query,
    refusal,
    xml,
    xml_ids,
)

from allenfs.sample.content import sample_database
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService

LONG = "model::SectionImage,rma::criteria,[data_set_id$eq72109410]"
SETS = "model::SectionDataSet,rma::criteria"
ADORA2A_SETS = [70813257, 71670687, 70634395, 72109410, 100076514]


@pytest.fixture(scope="module")
def service():
    with SampleService() as running:
        yield running


def test_the_answer_is_chunked_json_in_a_kept_connection(service):
    target = QUERY + quote("model::Product")
    with closing(connected(service)) as connection:
        for _ in range(2):
            connection.request("GET", target)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200
            fields = response.headers
            assert fields["Content-Type"] == "application/json;charset=utf-8"
            assert fields["Content-Disposition"] == "attachment; filename=query.json"
            assert fields["Transfer-Encoding"] == "chunked"
            assert fields["Content-Length"] is None
            assert connection.sock is not None
    answer = json.loads(body)
    assert list(answer) == [
        "success", "id", "start_row", "num_rows", "total_rows", "msg"
    ]  # fmt: skip
    assert (answer["id"], answer["start_row"], answer["total_rows"]) == (0, 0, 5)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v2/data/query.csv?criteria=model::Gene", 404),
        ("/api/v2/data/Gene/describe.json", 404),
        ("/api/v2/data/enumerate.json", 404),
        ("/api/v2/data/query.json", 200),
    ],
)
def test_what_is_no_query_is_not_found(service, target, status):
    assert ask(service, target)[0].status == status


# Pages


def test_a_page_has_50_rows_by_default(service):
    answer = query(service, LONG)
    assert (answer["num_rows"], answer["total_rows"]) == (50, 60)
    assert len(ids(query(service, LONG, "&num_rows=7"))) == 7
    assert len(ids(query(service, f"{LONG},rma::options[num_rows$eq7]"))) == 7
    assert len(ids(query(service, f"{LONG},rma::options[num_rows$eqall]"))) == 60


def test_pages_follow_each_other_and_end_in_an_empty_one(service):
    found = []
    for start in (0, 25, 50, 75):
        answer = query(
            service, f"{LONG},rma::options[num_rows$eq25][start_row$eq{start}]"
        )
        assert (answer["start_row"], answer["total_rows"]) == (start, 60)
        found.append(ids(answer))
    assert [len(page) for page in found] == [25, 25, 10, 0]
    assert len({image_id for page in found for image_id in page}) == 60


def test_page_rows_caps_a_number_and_all_only_with_caps_all():
    with SampleService(page_rows=20) as service:
        assert len(ids(query(service, LONG))) == 20
        assert len(ids(query(service, LONG, "&num_rows=2000"))) == 20
        assert len(ids(query(service, LONG, "&num_rows=all"))) == 60
    with SampleService(page_rows=20, caps_all=True) as service:
        assert len(ids(query(service, LONG, "&num_rows=all"))) == 20
        assert len(ids(query(service, LONG, "&num_rows=all&start_row=50"))) == 10


def test_more_rows_in_total_than_records_where_something_is_included(service):
    answer = query(service, f"{SETS},[id$eq72109410],rma::include,section_images")
    assert (answer["num_rows"], answer["total_rows"]) == (1, 60)


def test_joined_pages_cut_what_is_nested():
    text = f"{SETS},[id$eq72109410],rma::include,products,section_images,genes"
    with SampleService(joined_pages=True) as service:
        found = []
        for start in (0, 50, 100):
            rows = query(service, text, f"&start_row={start}")["msg"]
            found += [image["id"] for row in rows for image in row["section_images"]]
            assert all(len(row["genes"]) == 1 for row in rows)
        assert len(found) == len(set(found)) == 60
        rows = query(service, "model::SectionDataSet,rma::include,section_images")[
            "msg"
        ]
        nested = [image for row in rows for image in row["section_images"] if image]
        assert len(nested) == 50


def test_without_a_count_the_total_is_zero(service):
    assert query(service, f"{LONG},rma::options[count$eqfalse]")["total_rows"] == 0
    assert query(service, LONG, "&count=false")["total_rows"] == 0


# Order and fields


def test_rows_come_in_their_own_order_or_in_that_of_the_sections(service):
    text = "model::SectionImage,rma::criteria,[data_set_id$eq71670687]"
    numbers = [row["section_number"] for row in query(service, text)["msg"]]
    assert numbers != sorted(numbers)
    for name in ("section_number", "sub_images.section_number"):
        ordered = query(service, f"{text},rma::options[order$eq'{name}']")
        assert [row["section_number"] for row in ordered["msg"]] == sorted(numbers)
        assert ids(ordered) != sorted(ids(ordered))
        ordered = query(service, f"{text},rma::options[order$eq'{name}$desc']")
        assert [row["section_number"] for row in ordered["msg"]] == sorted(numbers)[
            ::-1
        ]


def test_the_second_key_orders_what_is_alike_in_the_first(service):
    rows = query(
        service,
        "model::SectionImage,rma::criteria,[data_set_id$in123,479,71592408],"
        "rma::options[order$eq'data_set_id$desc,section_number$desc']",
    )["msg"]
    assert [(row["data_set_id"], row["section_number"]) for row in rows] == [
        (479, 235), (479, 227), (479, 219), (123, 171), (123, 163),
    ]  # fmt: skip


def test_a_joined_table_can_be_the_order(service):
    rows = query(
        service, "model::SectionDataSet,rma::criteria,[failed$eqfalse],genes,"
        "rma::include,genes,rma::options[order$eq'genes.acronym,data_sets.id']",
    )["msg"]  # fmt: skip
    found = [(row["genes"][0]["acronym"], row["id"]) for row in rows]
    assert len(found) == 11
    assert found == sorted(found)


def test_nulls_are_last_and_first_when_the_order_is_descending(service):
    text = f"{SETS},[id$in69782969,123],rma::options[order$eq'qc_date"
    assert ids(query(service, f"{text}']")) == [69782969, 123]
    assert ids(query(service, f"{text}$desc']")) == [123, 69782969]


def test_only_and_except_choose_fields(service):
    text = f"{SETS},[id$eq479],rma::include,genes,rma::options"
    (row,) = query(service, f"{text}[only$eq'id,data_sets.weight']")["msg"]
    assert {"id", "weight", "genes"} == row.keys()
    assert row["genes"][0]["name"].startswith("histocompatibility")
    (row,) = query(service, f"{text}[only$eqgenes.acronym]")["msg"]
    assert row["genes"] == [{"acronym": "H2-K1"}]
    assert "weight" in row
    (row,) = query(service, f"{text}[except$eq'weight,genes.name']")["msg"]
    assert "weight" not in row
    assert "id" in row
    assert "name" not in row["genes"][0]


# Filters


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("[acronym$eq'Adora2a']", ["Adora2a"]),
        ("[acronym$eqAdora2a]", ["Adora2a"]),
        ("[genes.acronym$eq'Adora2a']", ["Adora2a"]),
        ("[acronym$eq'adora2a']", []),
        ("[acronym$eq'CALB1']", ["CALB1"]),
        ("[acronym$in'Crh','Pdyn']", ["Pdyn", "Crh"]),
        ("[acronym$li'C*']", ["Calb1", "Crh", "CALB1"]),
        ("[acronym$li'Cal']", []),
        ("[acronym$il'*ALB*']", ["Calb1", "CALB1"]),
        ("[acronym$li'H2.K1']", []),
        ("[acronym$gt'H'][acronym$lt'Q']", ["Pdyn", "Prox1", "H2-K1", "Npy"]),
        ("[entrez_id$ge12918][entrez_id$le14972]", ["Crh", "H2-K1"]),
        ("[entrez_id$lt1000]", ["CALB1"]),
        ("[entrez_id$gt'14972']", ["Pdyn", "Prox1", "Npy"]),
        ("[organism_id$ne2]", ["CALB1"]),
        ("[ensembl_id]", []),
        ("[ensembl_id$ne'x']", []),
        ("[acronym][organism_id$eq1.0]", ["CALB1"]),
        ("[organism_id$eq'two']", []),
        ("[organism_id$eqnan]", []),
    ],
)
def test_operators(service, filters, expected):
    rows = query(service, f"model::Gene,rma::criteria,{filters}")["msg"]
    assert [row["acronym"] for row in rows] == expected


@pytest.mark.parametrize("value", ["true", "'true'", "'TRUE'"])
def test_booleans(service, value):
    assert ids(query(service, f"{SETS},[failed$eq{value}]")) == [70634395]
    assert 70634395 not in ids(query(service, f"{SETS},[failed$ne{value}]"))


def test_associations_of_the_criteria_restrict_the_rows(service):
    text = f"{SETS},genes[acronym$eq'Adora2a']"
    assert ids(query(service, text)) == ADORA2A_SETS
    assert ids(query(service, f"{text},products[id$eq3]")) == [100076514]
    nested = "model::Product,rma::criteria,section_data_sets(genes[acronym$eq'Prox1'])"
    answer = query(service, nested)
    assert ids(answer) == [1, 3]
    inside = "model::Product,rma::criteria,data_sets([failed$eqtrue],genes)"
    assert ids(query(service, inside)) == [1]
    assert ids(query(service, f"{SETS},equalization")) == [
        126862385, 100141599, 297225422
    ]  # fmt: skip


def test_a_field_of_a_joined_table_can_be_filtered(service):
    text = f"{SETS},genes,[genes.acronym$eq'Prox1']"
    assert ids(query(service, text)) == [69289763]
    shown = f"{SETS},[genes.acronym$eq'Prox1'],rma::include,genes"
    assert ids(query(service, shown)) == [69289763]
    assert "no field" in refusal(service, f"{SETS},[genes.acronym$eq'Prox1']")


def test_filters_of_an_include_restrict_what_is_nested_and_by_default_the_rows():
    text = (
        f"{SETS},[id$in69289763,72109410,100076514],"
        "rma::include,products[abbreviation$eq'DevMouse']"
    )
    with SampleService() as service:
        rows = query(service, text)["msg"]
        assert [row["id"] for row in rows] == [69289763, 100076514]
    with SampleService(include_filters_rows=False) as service:
        rows = query(service, text)["msg"]
        assert [row["id"] for row in rows] == [72109410, 69289763, 100076514]
    found = {row["id"]: [each["id"] for each in row["products"]] for row in rows}
    assert found == {72109410: [], 69289763: [3], 100076514: [3]}


def test_a_section_without_a_neighbour_is_answered_in_both_ways():
    text = (
        "model::SectionImage,rma::criteria,[id$eq69750516],"
        "rma::include,associates(data_set(treatments[name$eq'NISSL']))"
    )
    with SampleService() as service:
        assert ids(query(service, text)) == []
    with SampleService(include_filters_rows=False) as service:
        (row,) = query(service, text)["msg"]
        assert (row["id"], row["associates"]) == (69750516, [])


def test_an_include_without_rows_is_null_or_empty(service):
    text = f"{SETS},[id$eq126862385],rma::include,genes,treatments,section_images"
    (row,) = query(service, text)["msg"]
    assert (row["genes"], row["treatments"]) == ([], [])
    text = f"{SETS},[id$eq123],rma::include,equalization,specimen(donor(age))"
    (row,) = query(service, text)["msg"]
    assert row["equalization"] is None
    assert row["specimen"]["id"] == 702643
    assert row["specimen"]["donor"]["age"]["name"] == "P56"


def test_both_kinds_of_images_are_sub_images(service):
    text = (
        "model::SubImage,rma::criteria,[id$in69750516,100883869],"
        "rma::include,data_set,atlas_data_set"
    )
    section, plate = query(service, text)["msg"]
    assert (section["id"], section["data_set"]["id"]) == (69750516, 69782969)
    assert (plate["id"], plate["data_set"]["id"]) == (100883869, 100048575)
    assert (section["atlas_data_set"], plate["atlas_data_set"]["id"]) == (
        None,
        100048575,
    )


# Forms of the address


def test_the_model_may_stand_in_the_path(service):
    target = "/api/v2/data/SectionDataSet/query.json?criteria=genes[acronym$eq'Prox1']"
    (row,) = envelope(service, f"{target}&include=products,plane_of_section")["msg"]
    assert [each["abbreviation"] for each in row["products"]] == ["DevMouse", "Mouse"]
    assert row["plane_of_section"]["name"] == "sagittal"
    target = "/api/v2/data/SectionImage/query"
    rest = "?criteria=[data_set_id$eq72109410]&num_rows=3&start_row=58"
    assert len(ids(envelope(service, f"{target}.json{rest}"))) == 2
    assert len(xml_ids(xml(service, f"{target}.xml{rest}"))) == 2
    assert ids(envelope(service, f"{target}.json?id=69750516")) == [69750516]
    assert len(ids(envelope(service, "/api/v2/data/Product/query.json"))) == 5


def test_a_row_is_found_by_its_id(service):
    answer = envelope(
        service, "/api/v2/data/SectionImage/69750516.json?include=data_set"
    )
    assert ids(answer) == [69750516]
    assert answer["msg"][0]["data_set"]["id"] == 69782969
    answer = envelope(service, "/api/v2/data/SectionImage/1.json")
    assert (answer["success"], answer["msg"], answer["total_rows"]) == (True, [], 0)
    root = xml(service, "/api/v2/data/SectionImage/1.xml")
    assert root.attrib["success"] == "true"
    assert xml_ids(root) == []


def test_options_may_stand_beside_the_criteria(service):
    more = "&num_rows=2&order=section_number$desc&only=id&include=data_set&start_row=1"
    answer = query(service, LONG, more)
    assert answer["start_row"] == 1
    assert len(ids(answer)) == 2
    assert answer["msg"][0].keys() == {"id", "data_set"}
    assert ids(answer) == sorted(ids(answer), reverse=True)


# Refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model::Gene,rma::criteria,[acronym$eq'it's']",
         "line 1, column 44: mismatched character <EOF>; expecting \"'\""),
        ("model::Genes", "line 1, column 7: no such model: Genes"),
        ("", "line 1, column 0: no such model: <EOF>"),
        ("model::Gene,rma::criteria,[name2$eq1]",
         "line 1, column 27: Gene has no field name2"),
        ("model::Gene,rma::criteria,probes",
         "line 1, column 26: Gene has no association probes"),
        ("model::Gene,rma::include,data_sets(donors)",
         "line 1, column 35: SectionDataSet has no association donors"),
        ("model::Gene,rma::criteria,data_sets[acronym$eq1]",
         "line 1, column 36: SectionDataSet has no field acronym"),
        ("model::Gene,rma::options[order$eq'weight']",
         "line 1, column 25: Gene has no field weight"),
    ],
)  # fmt: skip
def test_a_refused_query_says_where_it_is_wrong(service, text, message):
    assert refusal(service, text) == message


def test_a_refusal_in_xml(service):
    root = xml(service, "/api/v2/data/Genes/query.xml")
    assert root.attrib["success"] == "false"
    assert "no such model" in root.findtext("msg")


def test_the_path_and_the_criteria_name_one_model(service):
    target = "/api/v2/data/Gene/query.json?criteria=model::{}"
    assert envelope(service, target.format("Gene"))["success"] is True
    assert envelope(service, target.format("Atlas"))["success"] is False


# Odd names


def test_odd_names_go_through_as_they_are():
    database = sample_database()
    odd = [
        "a/b",
        "it's",
        "Ünï",
        "x&y<z>",
        'say "hi"',
        "tab\there",
        "..",
        "漢字",
        "a]b,c",
    ]
    genes = add_genes(database, odd)
    for number, gene in enumerate(genes):
        add_data_set(database, 900_000_000 + number, genes=[gene])
    with SampleService(database=database) as service:
        text = "model::Gene,rma::criteria,products[id$eq1]"
        rows = query(service, text)["msg"]
        assert [row["acronym"] for row in rows][-len(odd) :] == odd
        for number, acronym in enumerate(odd):
            if "'" not in acronym:
                found = ids(query(service, f"{SETS},genes[acronym$eq'{acronym}']"))
                assert found == [900_000_000 + number]
        root = xml(service, "/api/v2/data/Gene/query.xml?num_rows=all")
        assert [each.text for each in root.iter("acronym")][-len(odd) :] == odd
