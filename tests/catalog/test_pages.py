"""Every row, whatever the service puts on a page; questions over real sockets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from allenfs.catalog import lists, queries
from allenfs.catalog.paging import all_rows, completed, one_row
from allenfs.catalog.queries import Question
from allenfs.config import ServiceSettings
from allenfs.errors import WrongAnswerError
from allenfs.model.records import DataSetIds, Neighbour
from allenfs.model.rows import Row
from allenfs.sample.content import sample_database
from allenfs.sample.database import Database
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.rma import Query, Rows

BIG = 555_000_001
IMAGES = 2600
ODD = ["", "a/b", "..", "a+b", "a&b", "µ", "5'nt", "a%2Fb", "x" * 300, "two words"]
RULES = [
    {"page_rows": rows, "joined_pages": joined, "caps_all": caps}
    for rows, joined, caps in itertools.product(
        (1, 7, 50, 2000), (False, True), (False, True)
    )
]
every_rule = pytest.mark.parametrize(
    "rules", RULES, ids=lambda one: "-".join(f"{key}={one[key]}" for key in one)
)


def big_database() -> Database:
    """A data set of 2600 images, in addition to those of the sample."""
    database = sample_database()
    genes = add_genes(database, ["Big1", "Big2"])
    # ids descend while section numbers ascend
    ids = [900_000_000 - place for place in range(IMAGES)]
    add_data_set(database, BIG, ids, genes=genes)
    return database


DATABASE = big_database()
PLAIN = sample_database()


def answered(sample: SampleService, question: Question[Any]) -> Any:
    service = AllenService(ServiceSettings(sample.url))
    answer = question.ask(
        lambda query, start_row, num_rows: service.page(
            query, start_row=start_row, num_rows=num_rows
        )
    )
    return question.read(answer)


def test_a_data_set_of_2600_images_is_complete_in_few_requests():
    with SampleService(database=DATABASE) as sample:
        record = answered(sample, queries.data_set(BIG))
        assert sample.query_requests == 2
    assert [*record.images] == [900_000_000 - place for place in range(IMAGES)]
    numbers = [image.section_number for image in record.images.values()]
    assert numbers == [10 * (place + 1) for place in range(IMAGES)]


@pytest.mark.parametrize("page_rows", [50, 300, 2000])
@pytest.mark.parametrize("joined_pages", [True, False])
def test_a_long_data_set_is_complete_whatever_a_page_is(page_rows, joined_pages):
    with SampleService(
        database=DATABASE, page_rows=page_rows, joined_pages=joined_pages
    ) as sample:
        record = answered(sample, queries.data_set(BIG))
    assert len(record.images) == IMAGES
    genes = {gene["acronym"] for gene in record.record["genes"]}
    assert genes == {"Big1", "Big2"}
    assert record.record["products"][0]["abbreviation"] == "Mouse"


@every_rule
@pytest.mark.parametrize("include_filters_rows", [True, False])
def test_the_samples_data_sets_are_the_same_whatever_a_page_is(
    rules, include_filters_rows
):
    asked = {
        "long": queries.data_set(72109410),
        "with nulls": queries.data_set(70813257),
        "connectivity": queries.data_set(100141599),
        "none": queries.data_set(999),
        "section": queries.section(69750516),
        "no section": queries.section(4),
        "nissl": queries.nissl(71592261),
        "no nissl": queries.nissl(69750516),
        "plate": queries.plate(100883869),
        "no plate": queries.plate(69750516),
        "atlas": queries.atlas(2),
        "no atlas": queries.atlas(77),
        "atlases": lists.atlases(),
        "products": lists.products(),
        "genes": lists.genes("Mouse"),
        "no genes": lists.genes("Nobody"),
        "has genes": lists.has_genes("Mouse"),
        "data sets": lists.product_data_sets("Mouse"),
        "gene": lists.gene_data_sets("Mouse", "Adora2a"),
        "no gene": lists.gene_data_sets("Mouse", "adora2a"),
    }
    with SampleService(database=PLAIN) as sample:
        expected = {name: answered(sample, one) for name, one in asked.items()}
    with SampleService(
        database=PLAIN, include_filters_rows=include_filters_rows, **rules
    ) as sample:
        if rules["joined_pages"] and rules["page_rows"] == 1:
            # a page of one joined row has room for one nested row
            del asked["plate"], asked["atlas"]
        for name, one in asked.items():
            if name == "has genes":
                assert answered(sample, one)
            else:
                assert answered(sample, one) == expected[name], name
    assert len(expected["long"].images) == 60
    assert expected["connectivity"].equalization == (0, 923, 0, 987, 0, 4095)
    assert expected["nissl"].image_id == 71592412
    assert expected["no nissl"] == Neighbour(None)
    assert expected["plate"].atlas_ids == (2, 181276165)
    plates = [image.section_number for image in expected["atlas"].images.values()]
    assert plates == sorted(plates)
    drawn = [100883771, 100883804, 100883837, 100883869, 100883900]
    assert [one for one in expected["atlas"].images if one in drawn] == drawn
    assert expected["atlas"].treatments == ("NISSL", "Parvalbumin")
    assert "Adora2a" in expected["genes"]
    assert sorted(expected["gene"]) == ["coronal", "sagittal"]
    assert 70813257 in expected["gene"]["sagittal"]
    for name in ("none", "no section", "no plate", "no atlas"):
        assert expected[name] is None
    assert expected["no gene"] == {}


def test_how_often_the_service_is_asked():
    with SampleService(database=PLAIN) as sample:
        for question, requests in [
            (queries.data_set(70813257), 2),
            (queries.data_set(999), 1),
            (queries.section(69750516), 1),
            (queries.nissl(71592261), 1),
            (queries.plate(100883869), 1),
            (queries.atlas(2), 2),
            (lists.atlases(), 2),
            (lists.products(), 2),
            (lists.has_genes("Mouse"), 1),
            (lists.gene_data_sets("Mouse", "Adora2a"), 2),
        ]:
            sample.reset_counters()
            answered(sample, question)
            assert (question.key, sample.query_requests) == (question.key, requests)


@pytest.mark.parametrize(
    ("number", "page_rows", "requests"), [(20_000, 2000, 12), (50, 7, 10), (50, 1, 60)]
)
def test_a_list_of_genes_is_complete_whatever_a_page_is(number, page_rows, requests):
    database = Database()
    product = database.add("Product", abbreviation="Mouse")
    acronyms = [*ODD, *(f"Gene{number}" for number in range(number))]
    acronyms.remove("x" * 300)  # no name in a path is as long
    add_genes(database, acronyms, product=product)
    with SampleService(database=database, page_rows=page_rows) as sample:
        names = answered(sample, lists.genes("Mouse"))
        assert sample.query_requests == requests
    assert set(acronyms) <= set(names)
    ids = [names[acronym] for acronym in acronyms]
    assert len(set(ids)) == len(acronyms)


def test_a_gene_of_two_data_sets_is_found_where_pages_cut_its_list():
    """A row split by a page boundary is returned again, without its first part."""
    database = Database()
    product = database.add("Product", abbreviation="P")
    genes = add_genes(database, ["A", "B", "C"], product=product)
    for number, own in enumerate(([0], [0, 1], [0, 1], [0, 1, 2], [0, 2], [0, 1]), 1):
        linked = [genes[place] for place in own]
        add_data_set(database, number, genes=linked, products=[product])
    for page_rows in (1, 2, 3, 4, 5, 7, 2000):
        with SampleService(
            database=database, page_rows=page_rows, joined_pages=True
        ) as sample:
            found = {
                acronym: answered(sample, lists.gene_data_sets("P", acronym))
                for acronym in "ABC"
            }
        assert [sorted(sum(found[a].values(), ())) for a in "ABC"] == [
            [1, 2, 3, 4, 5, 6], [2, 3, 4, 6], [4, 5]
        ], page_rows  # fmt: skip


@pytest.mark.parametrize("page_rows", [1, 2, 3, 5, 6, 7, 2000])
def test_plates_keep_their_treatments_where_pages_cut_their_lists(page_rows):
    database = Database()
    atlas = database.add("Atlas", name="Two stains")
    data_set = database.add("AtlasDataSet", name="two", failed=False)
    database.link("Atlas", atlas, "atlas_data_sets", data_set)
    nissl, acetyl = (database.add("Treatment", name=name) for name in ("NISSL", "AChE"))
    plates = [
        database.add("AtlasImage", data_set_id=data_set, section_number=10 - number)
        for number in range(3)
    ]
    for plate in plates:
        database.link("AtlasImage", plate, "treatments", nissl)
        database.link("AtlasImage", plate, "treatments", acetyl)
    with SampleService(
        database=database, page_rows=page_rows, joined_pages=True
    ) as sample:
        record = answered(sample, queries.atlas(atlas))
    assert [*record.images] == plates[::-1]
    assert {image.treatments for image in record.images.values()} == {("NISSL", "AChE")}


def test_a_product_whose_first_gene_has_no_acronym_has_genes():
    database = Database()
    product = database.add("Product", abbreviation="P")
    first = database.add("Gene", acronym=None)
    database.link("Gene", first, "products", product)
    add_genes(database, ["A"], product=product)
    with SampleService(database=database) as sample:
        assert answered(sample, lists.genes("P")).keys() == {"A"}
        assert answered(sample, lists.has_genes("P"))


def test_failed_data_sets_are_left_out():
    database = Database()
    product = database.add("Product", abbreviation="P")
    genes = add_genes(database, ["A"], product=product)
    for number, failed in [(1, False), (2, True), (3, False)]:
        add_data_set(database, number, genes=genes, products=[product], failed=failed)
    with SampleService(database=database) as sample:
        of_product = answered(sample, lists.product_data_sets("P"))
        assert of_product == DataSetIds((1, 3), {"sagittal": (1, 3)})
        by_plane = answered(sample, lists.gene_data_sets("P", "A"))
    assert by_plane == {"sagittal": (1, 3)}


def test_what_a_service_filters_wrongly_is_left_out():
    """Failed data sets, and those of a gene of the same letters in another case."""
    rows: list[Row | None] = [
        {"id": 1, "failed": True, "genes": [{"acronym": "A"}]},
        {"id": 2, "failed": "true", "genes": [{"acronym": "A"}]},
        {"id": 3, "failed": "false", "genes": [{"acronym": "a"}]},
        {"id": 4, "failed": False, "genes": [{"acronym": "A"}, {"acronym": "b"}]},
        {"id": 5, "plane_of_section_id": 1},
    ]
    question = lists.product_data_sets("P")
    planes = {"unknown": (3, 4), "coronal": (5,)}
    assert question.read(question.ask(Pages(rows))) == DataSetIds((3, 4, 5), planes)
    gene = lists.gene_data_sets("P", "A")
    assert gene.read(gene.ask(Pages(rows))) == {"unknown": (4,), "coronal": (5,)}


def test_a_star_in_an_acronym_is_not_a_wildcard():
    """The acronyms are recorded; how the service treats the star is not known."""
    rows: list[Row | None] = [
        {"id": 74357755, "genes": [{"acronym": "0610005G16Rik*"}]},
        {"id": 7, "genes": [{"acronym": "0610005G16Rik"}]},
        {"id": 8, "genes": [{"acronym": "0610005G16Rik2"}]},
    ]
    gene = lists.gene_data_sets("Mouse", "0610005G16Rik*")
    assert gene.read(gene.ask(Pages(rows))) == {"unknown": (74357755,)}


def test_questions_that_differ_have_keys_that_differ():
    asked = [
        lists.gene_data_sets("a/b", "c"),
        lists.gene_data_sets("a", "b/c"),
        lists.gene_data_sets("a%2Fb", "c"),
        lists.genes("a/b"),
        lists.has_genes("a/b"),
        lists.product_data_sets("a/b"),
        queries.section(5),
        queries.nissl(5),
        queries.plate(5),
        queries.data_set(5),
        queries.atlas(5),
        lists.atlases(),
        lists.products(),
    ]
    keys = [question.key for question in asked]
    assert len(set(keys)) == len(keys)


# Pages, without a service


class Pages:
    """A page function over a list, which counts."""

    def __init__(self, rows: list[Row | None], most: int = 2000) -> None:
        self.rows = rows
        self.most = most
        self.starts: list[int] = []

    def __call__(self, query: Query, start_row: int, num_rows: int) -> list[Row | None]:
        self.starts.append(start_row)
        return self.rows[start_row : start_row + min(self.most, num_rows)]


QUERY = Query("Gene", order="genes.id")
FIELDS = ("nested",)


@pytest.mark.parametrize("most", [1, 2, 7, 2000])
def test_pages_are_asked_until_one_is_empty(most):
    rows: list[Row | None] = [{"id": number} for number in range(1, 24)]
    pages = Pages(rows, most)
    assert all_rows(pages, QUERY, FIELDS) == rows
    assert pages.starts == [*range(0, 23, most), 23]


@pytest.mark.parametrize(
    ("total_rows", "starts"), [(7, [0, 4]), (0, [0, 4, 7]), (9, [0, 4, 7])]
)
def test_a_capped_list_at_once_is_continued_to_its_total_or_an_empty_page(
    total_rows, starts
):
    rows: list[Row | None] = [{"id": one} for one in range(1, 8)]
    seen = []

    def page(query: Query, start_row: int, num_rows: object) -> Rows:
        assert num_rows == "all"
        seen.append(start_row)
        found = Rows(rows[start_row : start_row + 4])
        found.total_rows = total_rows
        return found

    assert all_rows(page, QUERY, FIELDS, at_once=True) == rows
    assert seen == starts


def test_null_entries_count_in_a_page_and_are_left_out():
    nobodys: list[Row | None] = [{"nested": [{"name": text}]} for text in "ab"]
    rows: list[Row | None] = [None, {"id": 1}, None, None, {"id": 2}, *nobodys, None]
    for most in (2, 3, 4, 2000):
        found = all_rows(Pages(rows, most), QUERY, FIELDS)
        assert found == [{"id": 1}, {"id": 2}], most


@pytest.mark.parametrize("ids", [(1, 2), (1, 1)])
def test_a_service_that_ignores_where_a_page_begins_ends(ids):
    def page(query: Query, start_row: int, num_rows: int) -> list[Row | None]:
        starts.append(start_row)
        return [{"id": one, "nested": [{"name": "a"}]} for one in ids]

    starts: list[int] = []
    found = all_rows(page, QUERY, FIELDS)
    assert found == [{"id": one, "nested": [{"name": "a"}]} for one in sorted({*ids})]
    assert starts == [0, 2]


def test_a_service_that_never_ends_is_wrong():
    def page(query: Query, start_row: int, num_rows: int) -> list[Row | None]:
        return [{"id": start_row + more + 1} for more in range(num_rows)]

    with pytest.raises(WrongAnswerError, match="rows of Gene of more than"):
        all_rows(page, QUERY, FIELDS)


def test_images_that_never_end_are_wrong():
    def page(query: Query, start_row: int, num_rows: int) -> list[Row | None]:
        return [{"id": start_row + more + 1} for more in range(num_rows)]

    with pytest.raises(WrongAnswerError, match="rows of Gene of more than"):
        completed(page, QUERY, [], FIELDS)


@pytest.mark.parametrize("text", ["a" * 256, "a" * 8 * 10**6])
def test_of_the_rows_of_a_list_only_what_is_asked_for_is_kept(text):
    nested = {"name": "b", "acronym": text, "more": text}
    rows: list[Row | None] = [{"id": 1, "name": text, "more": 1, "nested": [nested]}]
    for found in (
        all_rows(Pages(rows), QUERY, ("name", "nested")),
        completed(Pages([]), QUERY, list(filter(None, rows)), ("name", "nested")),
    ):
        assert found == [{"id": 1, "nested": [{"name": "b"}]}]


def test_a_name_of_255_characters_is_kept():
    row = {"id": 1, "nested": [{"acronym": "a" * 255}]}
    assert all_rows(Pages([row]), QUERY, FIELDS) == [row]


def test_a_list_of_more_than_4_mib_is_wrong():
    rows: list[Row | None] = [
        {"id": number, "name": "a" * 250} for number in range(1, 20_000)
    ]
    with pytest.raises(WrongAnswerError, match="4194304 bytes"):
        all_rows(Pages(rows), QUERY, ("name",))


@pytest.mark.parametrize(
    "question",
    [
        *(queries.section(5), queries.nissl(5), queries.plate(5)),
        *(queries.data_set(5), queries.atlas(5)),
    ],
    ids=lambda one: one.key[0],
)
def test_no_record_of_more_than_1_mib_is_kept(question):
    row = {"id": 5, "text": "", "section_images": [], "atlas_data_sets": []}
    room = 2**20 - len(json.dumps(row))
    question.ask(Pages([row | {"text": "a" * (room // 2)}]))
    with pytest.raises(WrongAnswerError, match="a record of more than 1048576 bytes"):
        question.ask(Pages([row | {"text": "a" * (room + 1000)}]))


@pytest.mark.parametrize(
    "question", [lists.has_genes("P"), lists.has_gene("P", "A")], ids=lambda _: ""
)
def test_whether_there_are_genes_is_asked_of_ten_rows(question):
    rows: list[Row | None] = [{"id": one, "acronym": f"A{one}"} for one in range(1, 50)]
    assert len(question.ask(Pages([None, *rows]))) == 9


def test_lists_that_many_pages_cut_take_time_with_their_length():
    """Not timed: each with each would take an hour, and the run's time limit ends."""
    names = [
        [{"name": str(number)} for number in range(at, at + 100)] for at in range(1500)
    ]
    rows: list[Row | None] = [{"id": 1, "nested": nested} for nested in names]
    (found,) = all_rows(Pages(rows, 700), QUERY, FIELDS)
    assert found["nested"] == [{"name": str(number)} for number in range(1599)]


def test_one_row_is_the_one_that_was_asked_for():
    rows: list[Row | None] = [None, {"id": 2}, {"id": "1"}]
    assert one_row(Pages(rows), QUERY, 1) == {"id": "1"}
    assert one_row(Pages([]), QUERY, 1) is None
    for others in ([None], [{"id": 2}], [{"name": "no id"}]):
        with pytest.raises(WrongAnswerError):  # says nothing of the one
            one_row(Pages(others), QUERY, 1)


def test_pages_of_nothing_but_nulls_are_no_end():
    rows: list[Row | None] = [{"id": 1}, *[None] * 40, {"id": 2}]
    assert all_rows(Pages(rows, 10), QUERY, FIELDS) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(("length", "most"), [(2600, 2000), (2600, 700), (60, 50)])
def test_nested_images_that_were_cut_are_completed_by_the_rest(length, most):
    rows: list[Row | None] = [{"id": number} for number in range(1, length + 1)]
    pages = Pages(rows, most)
    assert completed(pages, QUERY, rows[:most], FIELDS) == rows
    assert pages.starts[0] == most
    assert len(pages.starts) == -(-length // most)


def test_nested_images_are_taken_where_there_are_no_more():
    rows: list[Row | None] = [{"id": number} for number in range(1, 6)]
    pages = Pages(rows)
    nested = [{"id": number, "nested": True} for number in range(1, 6)]
    more = [nested[0], {"nested": "no id"}]
    assert completed(pages, QUERY, [*nested, *more], FIELDS) == nested
    assert pages.starts == [5]
    assert completed(pages, QUERY, nested[:4], FIELDS) == [*nested[:4], rows[4]]  # cut
    assert completed(pages, QUERY, nested[1:], FIELDS) == rows  # not the first ones
    assert completed(pages, QUERY, [], FIELDS) == rows
