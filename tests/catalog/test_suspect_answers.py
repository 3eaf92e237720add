"""Empty or truncated lists never replace what is known, and are requested again.

Only the clock of the catalog is fake; the service and its answers are real.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from repository_bench import DAY_S, warnings

from allenfs.catalog import lists, queries
from allenfs.catalog.queries import Question
from allenfs.catalog.record_cache import RecordCache
from allenfs.catalog.repository import Repository
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.model.records import row_count
from allenfs.sample.content import sample_database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService
from allenfs.service.client import AllenService
from allenfs.service.single_flight import NOT_INTERRUPTED
from allenfs.service.slots import Slots
from allenfs.store.record_files import RecordFiles

LISTS: list[Question[Any]] = [
    lists.products(),
    lists.genes("Mouse"),
    lists.atlases(),
    lists.product_data_sets("Mouse"),
]
PROBES: list[Question[Any]] = [
    lists.has_genes("Mouse"),
    lists.has_gene("Mouse", "Adora2a"),
    lists.gene_data_sets("Mouse", "Adora2a"),
]


def named(question: Question[Any]) -> str:
    return "/".join(question.key)


class Process:
    """The catalog of one service in one process, with its records in a directory."""

    def __init__(self, url: str, directory: Path, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        settings = ServiceSettings(url, first_backoff_s=0)
        cache = RecordCache(
            RecordFiles(StoreSettings(directory, 2**26, "test")),
            settings,
            clock=lambda: self.now_s,
            clock_ns=lambda: int(self.now_s * 1e9),
        )
        self.repository = Repository(
            AllenService(settings), cache, settings, Slots(4), clock=lambda: self.now_s
        )
        self._where = url, directory

    def again(self) -> Process:
        """Return another process on the same directory, at the same time."""
        return Process(*self._where, self.now_s)

    def get(self, question: Question[Any]) -> Any:
        return self.repository.get(question, NOT_INTERRUPTED).record

    def rows(self, question: Question[Any]) -> int:
        return row_count(self.get(question))


@pytest.fixture
def sample():
    with SampleService(database=sample_database()) as running:
        yield running


@pytest.fixture
def process(sample, tmp_path):
    return Process(sample.url, tmp_path)


@pytest.mark.parametrize("fault", [Fault.NO_ROWS, Fault.CUT_LIST])
@pytest.mark.parametrize("question", LISTS, ids=named)
def test_an_older_list_stays_in_use_until_a_good_one_arrives(
    sample, process, fault, question, caplog
):
    known = process.get(question)
    process.now_s += 8 * DAY_S
    sample.fail_queries(fault)
    for one in (process, process.again()):
        caplog.clear()
        assert one.get(question) == known
        (warning,) = warnings(caplog)
        assert named(question) in warning
        assert f"the older answer with {row_count(known)} stays in use" in warning
        asked = sample.query_requests
        one.now_s += 59
        assert one.get(question) == known
        assert sample.query_requests == asked
        one.now_s += 1
        assert one.get(question) == known
        assert sample.query_requests > asked
        assert len(warnings(caplog)) == 1  # once, until a good one arrives
    sample.heal()
    process.now_s += 60
    assert process.get(question) == known
    asked = sample.query_requests
    process.now_s += 6 * DAY_S
    assert process.get(question) == known
    assert sample.query_requests == asked


@pytest.mark.parametrize("question", LISTS, ids=named)
def test_a_first_list_that_is_empty_is_requested_again_after_a_minute(
    sample, process, question, caplog
):
    sample.fail_queries(Fault.NO_ROWS)
    assert process.rows(question) == 0
    process.now_s += 59
    assert process.rows(question) == 0
    assert sample.query_requests == 1
    process.now_s += 1
    assert process.rows(question) == 0
    assert sample.query_requests == 2
    (warning,) = warnings(caplog)
    assert f"{named(question)}: the service's answer has no rows" in warning
    sample.heal()
    assert process.again().rows(question) > 0
    process.now_s += 60
    assert process.rows(question) > 0


@pytest.mark.parametrize("question", PROBES, ids=named)
def test_a_known_gene_survives_an_empty_answer(sample, process, question, caplog):
    sample.fail_queries(Fault.NO_ROWS)
    assert process.rows(question) == 0
    assert warnings(caplog) == []  # most names that are looked up do not exist
    sample.heal()
    process.now_s += 60
    known = process.get(question)
    assert known
    process.now_s += 8 * DAY_S
    sample.fail_queries(Fault.NO_ROWS)
    assert process.get(question) == known
    assert len(warnings(caplog)) == 1


def test_the_first_rows_of_a_list_say_nothing_about_its_length(sample, process, caplog):
    sample.fail_queries(Fault.LARGE_TOTAL)
    assert process.get(lists.has_genes("Mouse"))
    process.now_s += 6 * DAY_S
    assert process.get(lists.has_genes("Mouse"))
    assert sample.query_requests == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize("question", LISTS, ids=named)
def test_a_first_list_that_is_truncated_is_used_and_then_replaced(
    sample, process, question, caplog
):
    sample.fail_queries(Fault.CUT_LIST)
    cut = process.rows(question)
    assert cut > 0
    (warning,) = warnings(caplog)
    assert f"{cut} of " in warning
    sample.heal()
    process.now_s += 59
    assert process.again().rows(question) == cut
    process.now_s += 1
    assert process.again().rows(question) > cut
    assert process.rows(question) > cut


def test_a_list_that_is_always_short_is_requested_every_hour(sample, process, caplog):
    """Recorded, and permanent: 50 476 data sets announced, 50 274 delivered."""
    sample.fail_queries(Fault.LARGE_TOTAL)
    assert process.rows(lists.products()) == 5
    (warning,) = warnings(caplog)
    assert "5 of 7 rows of Product" in warning
    process.now_s += 60
    later = process.again()
    assert later.rows(lists.products()) == 5
    asked = sample.query_requests
    later.now_s += 3599
    assert later.rows(lists.products()) == 5
    assert sample.query_requests == asked
    later.now_s += 1
    assert later.rows(lists.products()) == 5
    assert sample.query_requests > asked
    assert len(warnings(caplog)) == 1
    sample.heal()
    later.now_s += 3600
    assert later.rows(lists.products()) == 5
    asked = sample.query_requests
    later.now_s += 6 * DAY_S  # trusted as any other answer
    assert later.rows(lists.products()) == 5
    assert sample.query_requests == asked


@pytest.mark.parametrize(
    "question",
    [queries.data_set(71587929), queries.section(71592261), queries.atlas(2)],
    ids=named,
)
def test_one_empty_answer_does_not_remove_a_known_record(
    sample, process, caplog, question
):
    known = process.get(question)
    assert known
    process.now_s += 8 * DAY_S
    sample.fail_queries(Fault.NO_ROWS)
    assert process.get(question) == known
    assert f"the older answer with {row_count(known):d} stays" in warnings(caplog)[0]
    assert process.again().get(question) == known
    sample.heal()
    process.now_s += 61
    assert process.get(question) == known
    asked = sample.query_requests
    process.now_s += 6 * DAY_S
    assert process.get(question) == known
    assert sample.query_requests == asked


def test_a_data_set_whose_images_are_all_missing_keeps_the_known_ones(tmp_path, caplog):
    database = sample_database()
    question = queries.data_set(71587929)
    with SampleService(database=database) as sample:
        process = Process(sample.url, tmp_path)
        images = list(process.get(question).images)
        rows = [database.get("SectionImage", image_id) for image_id in images]
        for image_id in images:
            database.remove("SectionImage", image_id)
        process.now_s += 8 * DAY_S
        assert list(process.get(question).images) == images
        assert "the older answer with 3" in warnings(caplog)[0]
        for entry in rows:
            database.add("SectionImage", **entry.row)
        process.now_s += 61
        assert list(process.get(question).images) == images


def test_a_short_list_with_more_rows_replaces_an_older_one(tmp_path):
    database = sample_database()
    with SampleService(database=database) as sample:
        process = Process(sample.url, tmp_path)
        known = process.rows(lists.genes("Mouse"))
        add_genes(database, ["New"])
        sample.fail_queries(Fault.LARGE_TOTAL)
        process.now_s += 8 * DAY_S
        assert process.rows(lists.genes("Mouse")) == known + 1


def test_images_that_the_service_withholds_stay_in_a_data_set(tmp_path):
    database = sample_database()
    add_data_set(database, 4711, [5_000_000_001, 5_000_000_002])
    question = queries.data_set(4711)
    with SampleService(database=database) as sample:
        process = Process(sample.url, tmp_path)
        assert process.rows(question) == 2
        database.remove("SectionImage", 5_000_000_001)
        sample.fail_queries(Fault.LARGE_TOTAL)
        process.now_s += 8 * DAY_S
        assert process.rows(question) == 2
        sample.heal()
        process.now_s += 60
        assert [*process.get(question).images] == [5_000_000_002]


def test_a_record_that_the_service_counts_but_does_not_return_is_kept(sample, process):
    known = process.get(queries.section(69750516))
    process.now_s += 8 * DAY_S
    sample.fail_queries(Fault.CUT_LIST)
    assert process.get(queries.section(69750516)) == known


def test_records_of_an_older_version_are_used_without_the_service(
    sample, process, tmp_path
):
    question = lists.product_data_sets("Mouse")
    known = process.get(question)
    (file,) = tmp_path.glob("records/*/data-sets/*.json.gz")
    text = json.loads(gzip.decompress(file.read_bytes()))
    del text["is_suspect"]
    text |= {"allenfs": 1, "answer": sorted(known.ids)}  # without the planes
    file.write_bytes(gzip.compress(json.dumps(text).encode()))
    process.now_s += 61
    sample.fail_queries(Fault.STATUS_503)
    assert process.again().get(question).ids == known.ids
    sample.heal()
    assert process.again().get(question) == known
