"""Images that are parts of a slide: each has its own corner."""

from __future__ import annotations

from csv import DictReader
from io import StringIO

import pytest
from catalog_world import PLAIN, World

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Folder, Picture
from allenfs.errors import PathNotFoundError
from allenfs.sample.database import Database
from allenfs.sample.inventing import add_data_set
from allenfs.sample.server import SampleService

NPY = "dataset/100055044"
PLATE = "0020_100883869.jpg"


@pytest.fixture(scope="module")
def service():
    with SampleService(database=PLAIN) as service:
        yield service


def table(world: World, path: str) -> list[dict[str, str]]:
    document = world.entry(path)
    assert isinstance(document, Document)
    text = document.read(0, document.facts.size_bytes).decode()
    return list(DictReader(StringIO(text)))


def one_picture(database: Database, **fields: int | None) -> Database:
    """Return a copy in which a section of the data set 479 has other fields."""
    changed = database.copy()
    changed.change("SectionImage", 101349756, **fields)
    return changed


@pytest.mark.parametrize(
    ("path", "stands_for"),
    [
        (
            "section/101082286/at1000x800+2000+20/image.jpg",
            "section/101082286/roi1000x800+5248+20708/image.jpg",
        ),
        (
            "section/101082286/at10x8+0+16/q50/ds4/expression.jpg",
            "section/101082286/ds4/q50/roi10x8+3248+20704/expression.jpg",
        ),
        (
            "section/102146167/at10x8+7+9/equalized/image.jpg",
            "section/102146167/roi10x8+7+9/range0,923,0,987,0,4095/image.jpg",
        ),
        (
            "projection/102146167/at10x8+7+9/projection.jpg",
            "projection/102146167/roi10x8+7+9/projection.jpg",
        ),
        (
            "atlas/100883869/at10x8+1+2/annotated/atlas2.jpg",
            "atlas/100883869/roi10x8+3009+30594/annotated/atlas2.jpg",
        ),
        (
            f"{NPY}/ds3/at10x8+1+2/expression/0133_101082289.jpg",
            "section/101082289/ds3/roi10x8+1+30178/expression.jpg",
        ),
        (
            f"browse/atlas/2/NISSL/annotated/at10x8+1+2/{PLATE}",
            "atlas/100883869/roi10x8+3009+30594/annotated/atlas2.jpg",
        ),
    ],
)
def test_a_region_from_an_images_corner_stands_for_a_region_of_the_slide(
    tmp_path, service, path, stands_for
):
    world = World(service.url, tmp_path)
    entry = world.entry(path)
    assert isinstance(entry, Picture)
    assert entry.request.path == stands_for
    assert isinstance(world.entry(path.rpartition("/")[0]), Folder)


def test_each_image_of_a_listing_has_its_own_corner(tmp_path, service):
    world = World(service.url, tmp_path)
    directory = f"{NPY}/at100x100+50+70"
    regions = {
        path.rpartition("/")[2]: str(entry.request.roi)
        for path, entry in world.walk(directory).items()
        if isinstance(entry, Picture)
    }
    assert regions == {
        row["file_name"]: f"100x100+{int(row['x_px']) + 50}+{int(row['y_px']) + 70}"
        for row in table(world, f"{NPY}/sections.csv")
    }
    assert len(set(regions.values())) == len(regions) == 10


def test_no_corner_is_guessed_for_an_image_whose_record_has_none(tmp_path):
    for number, missing in enumerate(({"x": None}, {"y": None}, {"x": -5})):
        with SampleService(database=one_picture(PLAIN, **missing)) as service:
            world = World(service.url, tmp_path / str(number))
            with pytest.raises(PathNotFoundError, match="x and y of image 101349756"):
                world.entry("section/101349756/at9x9+0+0/image.jpg")
            names = world.names("dataset/479/at9x9+0+0")
            assert names == ["0219_101349752.jpg", "0235_101349760.jpg"]
            with pytest.raises(PathNotFoundError):
                world.entry("dataset/479/at9x9+0+0/0227_101349756.jpg")
            rows = table(world, "dataset/479/sections.csv")
            empty = [row["image_id"] for row in rows if not all(row.values())]
            assert empty == ["101349756"]


def test_a_region_too_far_out_for_any_path_does_not_exist(tmp_path, service):
    world = World(service.url, tmp_path)
    path = "section/101082286/at9x9+0+{}/image.jpg"
    most = 10**9 - 1 - 20688
    entry = world.entry(path.format(most))
    assert isinstance(entry, Picture)
    assert entry.request.roi is not None
    assert entry.request.roi.top_px_full == 10**9 - 1
    with pytest.raises(PathNotFoundError):
        world.entry(path.format(most + 1))
    listed = world.names(f"{NPY}/at9x9+0+{most}")
    assert "0045_101082286.jpg" in listed
    assert "0005_101082293.jpg" not in listed  # which is further down on its slide


def test_a_section_without_a_number_has_an_empty_cell_and_zero_is_a_number(tmp_path):
    database = PLAIN.copy()
    add_data_set(database, 4711, range(5_000_000_000, 5_000_000_003))
    database.change("SectionImage", 5_000_000_000, section_number=0)
    database.change("SectionImage", 5_000_000_001, section_number=None)
    with SampleService(database=database) as service:
        rows = table(World(service.url, tmp_path), "dataset/4711/sections.csv")
    numbers = {row["image_id"]: row["section_number"] for row in rows}
    assert (numbers["5000000000"], numbers["5000000001"]) == ("0", "")
    assert [row["file_name"] for row in rows][:2] == [
        "0000_5000000000.jpg",
        "0000_5000000001.jpg",
    ]
