"""How often trouble with a store is said."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from store_helpers import put, warnings_in

from allenfs.config import StoreSettings
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import Kept, RecordFiles

if TYPE_CHECKING:
    from pathlib import Path


class World:
    def __init__(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.now_s = 0.0
        self.directory = StoreDirectory(directory, clock=lambda: self.now_s)
        self._caplog = caplog

    def said(self, number: int) -> int:
        """Meet an error; return how many warnings it made."""
        self._caplog.clear()
        self.directory.report(OSError(number, os.strerror(number)))
        return len(warnings_in(self._caplog))


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    return World(tmp_path, caplog)


def test_one_trouble_is_said_once_until_something_was_kept(world: World) -> None:
    assert world.said(errno.ENOSPC) == 1
    assert world.said(errno.ENOSPC) == 0
    assert world.said(errno.ENOTDIR) == 0
    world.now_s = 1e6
    assert world.said(errno.ENOSPC) == 0
    world.directory.recovered()
    assert world.said(errno.EROFS) == 1


def test_the_same_trouble_is_said_again_after_a_minute_without_it(
    world: World,
) -> None:
    assert world.said(errno.ENOSPC) == 1
    for _ in range(10):  # what is small fits between
        world.directory.recovered()
        world.now_s += 59
        assert world.said(errno.ENOSPC) == 0
    world.directory.recovered()
    world.now_s += 60
    assert world.said(errno.ENOSPC) == 1


@pytest.mark.parametrize("kept", ["an image", "a record"])
def test_whatever_is_kept_ends_the_trouble(
    world: World, tmp_path: Path, kept: str
) -> None:
    settings = StoreSettings(tmp_path, 2**20, "test")
    assert world.said(errno.ENOSPC) == 1
    if kept == "an image":
        put(ImageFiles(settings, world.directory), 1, b"bytes")
    else:
        RecordFiles(settings, world.directory).put(("section", "1"), Kept([1], 1))
    assert world.said(errno.EROFS) == 1
