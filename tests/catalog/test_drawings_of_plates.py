"""A plate and its drawing: whether it has one, and where that is listed."""

from __future__ import annotations

import pytest
from catalog_world import World

from allenfs.catalog.entries import Picture
from allenfs.errors import PathNotFoundError, ServiceError
from allenfs.model.drawings import DrawingRequest
from allenfs.sample.content import sample_database
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

SHARED, CORONAL, PLAIN = 100883869, 100960224, 100883900


@pytest.fixture
def database():
    return sample_database()


@pytest.fixture
def sample(database):
    with SampleService(database=database) as running:
        yield running


@pytest.fixture
def world(sample, tmp_path):
    return World(sample.url, tmp_path)


def drawing(world: World, path: str) -> DrawingRequest:
    entry = world.entry(path)
    assert isinstance(entry, Picture)
    assert isinstance(entry.request, DrawingRequest)
    assert entry.request.path == path
    return entry.request


def test_a_drawing_has_the_groups_of_the_plates_atlases(world, sample):
    request = drawing(world, f"atlas/{CORONAL}/ds4/drawing.svg")
    assert request == DrawingRequest(CORONAL, (28,), 4)
    # of two atlases: the one for adult mice, and the one for developing ones
    shared = drawing(world, f"atlas/{SHARED}/drawing.svg")
    assert shared == DrawingRequest(SHARED, (28, 32))
    drawing(world, f"atlas/{SHARED}/ds3/drawing.svg")
    assert sample.query_requests == 2  # one for each plate
    assert sample.image_requests == 0


def test_only_the_directory_of_an_annotated_plate_lists_its_drawing(world):
    assert world.names(f"atlas/{SHARED}")[-2:] == ["info.json", "drawing.svg"]
    assert world.names(f"atlas/{PLAIN}")[-1] == "info.json"
    for directory in ("ds4", "annotated", "q50"):
        assert "drawing.svg" not in world.names(f"atlas/{SHARED}/{directory}")


def test_a_plate_without_annotation_has_no_drawing(world):
    with pytest.raises(
        PathNotFoundError, match=f"{PLAIN} has no drawing: it is not annotated"
    ):
        world.entry(f"atlas/{PLAIN}/drawing.svg")
    with pytest.raises(PathNotFoundError, match="no plate 4"):
        world.entry("atlas/4/drawing.svg")


def test_a_plate_whose_atlases_have_no_group_has_no_drawing(database, world):
    for atlas in (2, 181276165):
        database.change("Atlas", atlas, graphic_group_label_id=None)
    assert "drawing.svg" not in world.names(f"atlas/{SHARED}")
    with pytest.raises(PathNotFoundError, match=f"{SHARED} has no drawing"):
        world.entry(f"atlas/{SHARED}/drawing.svg")


def test_a_listing_without_the_record_omits_the_drawing_and_it_can_be_named(
    world, sample
):
    sample.fail_queries(Fault.STATUS_503)
    assert "drawing.svg" not in world.names(f"atlas/{SHARED}")
    with pytest.raises(ServiceError):
        world.entry(f"atlas/{SHARED}/drawing.svg")
    sample.heal()
    drawing(world, f"atlas/{SHARED}/drawing.svg")


def test_a_new_group_is_another_file_of_the_store(database, world, sample, tmp_path):
    before = drawing(world, f"atlas/{CORONAL}/drawing.svg")
    database.change("Atlas", 1, graphic_group_label_id=159226751)
    after = drawing(World(sample.url, tmp_path / "new"), f"atlas/{CORONAL}/drawing.svg")
    assert before.path == after.path
    assert before.key != after.key
