"""Which views are listed: all but those that the records rule out."""

from __future__ import annotations

import pytest
from catalog_world import PLAIN, World

from allenfs.catalog import queries
from allenfs.catalog.entries import Picture
from allenfs.model import nodes, tree
from allenfs.model.images import VIEWS
from allenfs.model.sheets import SheetRequest
from allenfs.sample.content import sample_database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set
from allenfs.sample.server import SampleService
from allenfs.service.single_flight import NOT_INTERRUPTED
from allenfs.store.record_files import StoredRecord

TUMOR_FEATURES = {"tumor_feature_annotation", "tumor_feature_boundary"}


def listed(world: World, path: str) -> set[str]:
    """Return the views that a directory of an image or a data set lists."""
    node = tree.parse(path)
    if isinstance(node, (nodes.ImageDirectory, nodes.ParameterDirectory)):
        names = world.catalog.names(node, NOT_INTERRUPTED)
    else:
        names = world.names(path)
    assert len(names) == len(set(names))
    return {name.removesuffix(".jpg") for name in names} & set(VIEWS)


@pytest.mark.parametrize(
    ("data_set_id", "image_id", "expected"),
    [
        (69782969, 69750516, {"expression"}),  # ISH
        (71587930, 71592412, set()),  # Nissl
        (100141599, 102146167, {"projection"}),  # connectivity
        (311174541, 311174547, TUMOR_FEATURES),  # glioblastoma
    ],
)
def test_only_the_views_that_apply_are_listed(
    tmp_path, data_set_id, image_id, expected
):
    with SampleService(database=PLAIN) as sample:
        world = World(sample.url, tmp_path)
        for path in (
            f"section/{image_id}",
            f"section/{image_id}/ds4/q50",
            f"projection/{image_id}",
            f"dataset/{data_set_id}",
        ):
            assert listed(world, path) == expected, path
        images = world.names(f"dataset/{data_set_id}/ds4")
        for view in VIEWS:  # each can be named, whether it is listed or not
            assert isinstance(world.entry(f"section/{image_id}/{view}.jpg"), Picture)
            assert world.names(f"dataset/{data_set_id}/{view}") == images


def test_every_view_is_listed_while_the_records_are_unavailable(tmp_path):
    paths = ["section/69750516", "section/69750516/ds4", "projection/69750516"]
    with SampleService(database=PLAIN) as sample:
        sample.fail_queries(Fault.STATUS_503)
        world = World(sample.url, tmp_path)
        assert [listed(world, path) for path in paths] == [set(VIEWS)] * 3
        sample.heal()
        world = World(sample.url, tmp_path)
        assert [listed(world, path) for path in paths] == [{"expression"}] * 3
    offline = World("http://127.0.0.1:9", tmp_path)
    assert [listed(offline, path) for path in paths] == [{"expression"}] * 3


def test_every_view_is_listed_where_the_records_do_not_say(tmp_path):
    """Here a record has neither products nor an `expression_path`."""
    answer = {"record": {"id": 5}, "images": [{"id": 50, "section_number": 1}]}
    question = queries.data_set(5)
    world = World("http://127.0.0.1:9", tmp_path)
    fetched_ns = world.cache.add(question, answer).fetched_ns
    assert listed(world, "dataset/5") == set(VIEWS)
    world.files.put(question.key, StoredRecord(answer, fetched_ns))
    again = World("http://127.0.0.1:9", tmp_path)
    assert listed(again, "dataset/5") == set(VIEWS)
    assert again.names("dataset/5/expression") == ["0001_50.jpg"]


def test_a_data_set_of_no_product_may_be_of_any_kind(tmp_path):
    database = sample_database()
    add_data_set(database, 5, [50], products=[])
    with SampleService(database=database) as sample:
        world = World(sample.url, tmp_path)
        assert listed(world, "dataset/5") == set(VIEWS)
        database.change("SectionImage", 50, expression_path=None)
        other = World(sample.url, tmp_path / "other")
        assert listed(other, "dataset/5") == set(VIEWS) - {"expression"}


def test_an_image_without_a_mask_is_left_out_of_expression(tmp_path):
    database = sample_database()
    database.change("SectionImage", 69750512, expression_path=None)
    with SampleService(database=database) as sample:
        world = World(sample.url, tmp_path)
        path = "dataset/69782969/ds6/expression"
        names = world.names("dataset/69782969/ds6")
        masked = world.names(path)
        assert listed(world, "dataset/69782969") == {"expression"}
        assert [name for name in names if name not in masked] == ["0070_69750512.jpg"]
        assert isinstance(world.entry(f"{path}/0070_69750512.jpg"), Picture)
        directory = tree.parse(path)
        assert isinstance(directory, nodes.CollectionDirectory)
        series = world.catalog.series(directory)
        assert len(series) == len(masked)
        for place, name in enumerate(masked):
            entry = world.entry(f"{path}/{name}")
            assert isinstance(entry, Picture)
            assert entry.request == series[place]
        sheet = world.entry("dataset/69782969/expression/contact_sheet.jpg")
        assert isinstance(sheet, Picture)
        assert isinstance(sheet.request, SheetRequest)
        assert [image.file_name for image in sheet.request.images] == masked
