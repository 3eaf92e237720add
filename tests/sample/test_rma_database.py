"""The sample's database: what is recorded, what fits together, how it is extended."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit

import pytest
from rma_client import connected, ids, query

from allenfs.sample import experiments
from allenfs.sample.content import sample_database, tier_count
from allenfs.sample.database import Database
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.records import DATA_SETS, RECORDS
from allenfs.sample.schema import MODELS
from allenfs.sample.server import SampleService


@pytest.fixture(scope="module")
def database():
    return sample_database()


def row(database: Database, model: str, row_id: int):
    entry = database.get(model, row_id)
    assert entry is not None
    return entry.row


def names(database: Database, model: str, row_id: int, association: str, field="id"):
    entry = database.get(model, row_id)
    assert entry is not None
    return [
        other and other.row[field] for other in database.related(entry, association)
    ]


def test_recorded_images_are_kept(database):
    image = row(database, "SectionImage", 101945191)
    assert (image["width"], image["height"]) == (8992, 4936)
    assert (image["section_number"], image["tier_count"]) == (171, 7)
    image = row(database, "SectionImage", 101349756)
    assert (image["width"], image["height"], image["tier_count"]) == (4232, 3864, 6)
    assert (image["data_set_id"], image["resolution"]) == (479, 1.049)
    image = row(database, "SectionImage", 69750516)
    assert (image["image_width"], image["x"], image["y"]) == (14065, 0, 0)
    plate = row(database, "AtlasImage", 100883869)
    assert (plate["x"], plate["y"]) == (3008, 30592)
    assert plate["image_width"] > plate["width"]


def test_recorded_data_sets_are_kept(database):
    assert row(database, "SectionDataSet", 123) == {
        "blue_channel": None, "delegate": False, "expression": False, "failed": False,
        "failed_facet": 734881840, "green_channel": None, "id": 123, "name": None,
        "plane_of_section_id": 2, "qc_date": None, "red_channel": None,
        "reference_space_id": 10, "rnaseq_design_id": None, "section_thickness": 25.0,
        "specimen_id": 702643, "sphinx_id": 136385,
        "storage_directory": "/external/mouse/prod1/image_series_123/", "weight": 5270,
    }  # fmt: skip
    coronal = row(database, "SectionDataSet", 479)
    assert (coronal["plane_of_section_id"], coronal["reference_space_id"]) == (1, 9)
    assert (coronal["specimen_id"], coronal["sphinx_id"]) == (702765, 138110)
    products = names(database, "SectionDataSet", 69289763, "products", "abbreviation")
    assert products == ["DevMouse", "Mouse"]


def test_recorded_facets_are_kept(database):
    assert row(database, "Product", 1)["product_name_facet"] == 2757464828
    assert row(database, "Product", 3)["product_name_facet"] == 2290087187
    assert row(database, "Product", 3)["species_name_facet"] == 1861523945


@pytest.mark.parametrize(
    ("size", "tiers"),
    [(8929, 7), (14065, 7), (16049, 7), (4232, 6), (4536, 6), (8992, 7), (11400, 7)],
)
def test_tiers_follow_the_recorded_ones(size, tiers):
    assert tier_count(size, 100) == tier_count(100, size) == tiers


def test_the_long_data_set_is_longer_than_a_page(database):
    images = names(database, "SectionDataSet", 72109410, "section_images")
    assert len(images) == len(set(images)) == 60
    numbers = names(
        database, "SectionDataSet", 72109410, "section_images", "section_number"
    )
    assert len(set(numbers)) == 60


def test_one_data_set_is_out_of_order_with_a_failed_image(database):
    images = names(database, "SectionDataSet", 71670687, "section_images")
    numbers = names(
        database, "SectionDataSet", 71670687, "section_images", "section_number"
    )
    assert images == sorted(images)
    assert numbers != sorted(numbers)
    failed = [i for i in images if row(database, "SectionImage", i)["failed"]]
    assert len(failed) == 1
    assert not row(database, "SectionDataSet", 71670687)["failed"]


def test_one_nested_list_holds_a_null(database):
    images = names(database, "SectionDataSet", 123, "section_images")
    assert images == [101945187, None, 101945191]


def test_two_atlases_share_their_plates(database):
    assert names(database, "Atlas", 2, "atlas_data_sets") == [100048575, 100048577]
    assert names(database, "Atlas", 181276165, "atlas_data_sets") == [100048575]
    assert names(database, "AtlasDataSet", 100048575, "atlases") == [2, 181276165]
    kinds = names(database, "AtlasImage", 100883869, "alternate_images", "image_type")
    assert kinds == ["Atlas - Adult Mouse", "Atlas - Developing Mouse"]
    assert row(database, "AtlasImage", 100883900)["annotated"] is False
    assert names(database, "AtlasImage", 100883900, "alternate_images") == []


def test_every_record_is_a_row_and_every_row_a_record(database):
    images = [entry.row["id"] for entry in database.rows("SubImage")]
    assert sorted(images) == sorted(RECORDS)
    assert len(images) == sum(len(data_set.images) for data_set in DATA_SETS)
    sets = [entry.row["id"] for entry in database.rows("DataSet")]
    assert sorted(sets) == sorted(data_set.data_set_id for data_set in DATA_SETS)
    assert set(experiments.EXPERIMENTS) | set(experiments.PLATE_SETS) == set(sets)


def test_every_association_leads_somewhere_that_exists():
    for model in MODELS.values():
        for _, association in model.associations:
            assert association.target in MODELS
            ways = (association.field, association.target_field, association.link)
            assert sum(map(bool, ways)) == 1
            assert not association.field or association.field in model.fields
            target = MODELS[association.target]
            assert association.target_field in ("", *target.fields)


def test_every_id_in_a_row_leads_to_a_row(database):
    for model, described in MODELS.items():
        for name, association in described.associations:
            for entry in database.rows(model) if association.field else ():
                if entry.row[association.field] is not None:
                    assert database.related(entry, name), (model, name, entry.row["id"])


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda each: each.data_set_id)
def test_every_image_is_answered_as_a_small_jpeg(data_set):
    images = [image_id for image_id, *_ in data_set.images]
    # The images of a long data set are made by rule: a few of them stand for all.
    drawn = images if len(images) <= 5 else images[:: len(images) // 3]
    with SampleService() as service, closing(connected(service)) as connection:
        for image_id in images:
            connection.request("GET", f"/api/v2/image_download/{image_id}?downsample=8")
            redirect = connection.getresponse()
            redirect.read()
            assert redirect.status == 302
            if image_id in drawn:
                parts = urlsplit(redirect.headers["Location"])
                connection.request("GET", f"{parts.path}?{parts.query}")
                answer = connection.getresponse()
                body = answer.read()
                assert (answer.status, body[:2]) == (200, b"\xff\xd8")


# Extending it


def test_a_copy_is_on_its_own(database):
    copy = database.copy()
    gene = add_genes(copy, ["Xyz1"])[0]
    add_data_set(copy, 5, range(900, 903), genes=[gene])
    copy.change("SectionDataSet", 479, failed=True)
    copy.remove("SectionImage", 101349752)
    copy.add_null("SectionDataSet", 479, "section_images", 0)
    assert names(copy, "Gene", gene, "data_sets") == [5]
    assert names(copy, "SectionDataSet", 5, "section_images") == [900, 901, 902]
    assert names(copy, "SectionDataSet", 479, "section_images") == [
        None, 101349756, 101349760
    ]  # fmt: skip
    assert database.get("SectionDataSet", 5) is None
    assert database.get("Gene", gene) is None
    assert row(database, "SectionDataSet", 479)["failed"] is False
    assert len(names(database, "SectionDataSet", 479, "section_images")) == 3


def test_rows_are_complete_and_checked():
    database = Database()
    gene = database.add("Gene", acronym="A")
    assert gene == 1
    assert row(database, "Gene", gene).keys() == set(MODELS["Gene"].fields)
    assert database.add("Gene", acronym="B") == 2
    assert database.add("Gene", id=1, acronym="C") == 1
    assert [entry.row["acronym"] for entry in database.rows("Gene")] == ["C", "B"]
    with pytest.raises(ValueError, match="color"):
        database.add("Gene", color="red")
    with pytest.raises(KeyError):
        database.add("Animal")
    with pytest.raises(ValueError, match="pairs"):
        database.link("Gene", 1, "organism", 1)


def test_an_empty_database_answers_too():
    with SampleService(database=Database()) as service:
        assert ids(query(service, "model::Gene")) == []


def test_a_large_database_is_answered_in_pages_and_whole():
    database = sample_database()
    genes = add_genes(database, (f"Gene{number}" for number in range(20_000)))
    add_data_set(database, 5, range(10**9, 10**9 + 2_600), genes=genes[:1])
    with SampleService(database=database) as service:
        text = "model::Gene,rma::criteria,products[abbreviation$eq'Mouse']"
        page = query(
            service, f"{text},rma::options[order$eq'acronym']", "&num_rows=2000"
        )
        assert (page["num_rows"], page["total_rows"]) == (2000, 20_007)
        answer = query(service, "model::SectionImage,rma::criteria,[data_set_id$eq5]",
                       "&num_rows=all")  # fmt: skip
        assert len(ids(answer)) == 2_600
