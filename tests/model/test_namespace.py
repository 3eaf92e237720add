"""What a path is, remembered for a moment, and never longer."""

from __future__ import annotations

import pytest

from allenfs.catalog.entries import Entry, Folder, Picture
from allenfs.errors import PathNotFoundError
from allenfs.filesystem import filesystem
from allenfs.filesystem.filesystem import Filesystem
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.nodes import CollectionFile

FILE = "/dataset/7/0001_{}.jpg"


class CountingCatalog:
    """Contains what it was given, and counts the queries."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_there = True

    def resolve(self, node: object, caller: object) -> Entry:
        self.asked += 1
        if not self.is_there:
            raise PathNotFoundError("withdrawn")
        if isinstance(node, CollectionFile):
            return Picture(ImageRequest(ImageService.SECTION, node.image_id))
        return Folder()

    def names(self, node: object, caller: object) -> list[str]:
        return []


class World:
    def __init__(self) -> None:
        self.now_s = 50.0
        self.catalog = CountingCatalog()
        self.filesystem = Filesystem(
            None, self.catalog, max_image_bytes=2**30, clock=lambda: self.now_s
        )

    def entry(self, path: str) -> Entry:
        return self.filesystem.entry(path)


def test_a_picture_of_a_listing_is_asked_for_once_a_second():
    world = World()
    for _ in range(10):
        assert world.entry(FILE.format(5)) == Picture(
            ImageRequest(ImageService.SECTION, 5)
        )
    assert world.catalog.asked == 1
    world.catalog.is_there = False
    world.now_s += 0.9
    assert isinstance(world.entry(FILE.format(5)), Picture)
    world.now_s += 0.2
    with pytest.raises(PathNotFoundError):
        world.entry(FILE.format(5))
    world.catalog.is_there = True
    assert isinstance(world.entry(FILE.format(5)), Picture)  # no failure is kept
    assert world.catalog.asked == 3


@pytest.mark.parametrize("path", ["/dataset/7", "/dataset/7/ds4", "/section/7/ds4"])
def test_a_directory_is_asked_for_each_time(path):
    world = World()
    for _ in range(3):
        assert world.entry(path) == Folder()
    assert world.catalog.asked == 3


def test_only_so_many_pictures_are_remembered(monkeypatch):
    monkeypatch.setattr(filesystem, "REMEMBERED_PICTURES", 100)
    world = World()
    for number in range(1, 1001):
        world.entry(FILE.format(number))
    for number in range(901, 1001):
        world.entry(FILE.format(number))
    assert world.catalog.asked == 1000
    world.entry(FILE.format(900))
    assert world.catalog.asked == 1001
