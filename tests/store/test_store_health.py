"""How often failures of a store are logged."""

from __future__ import annotations

import errno
import os

import pytest
from store_helpers import put, warnings_in

from allenfs.config import StoreSettings
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import RecordFiles, StoredRecord


class World:
    def __init__(self, directory, caplog):
        self.now_s = 0.0
        self.directory = StoreDirectory(directory, clock=lambda: self.now_s)
        self._caplog = caplog

    def said(self, number):
        """Meet an error; return how many warnings it made."""
        self._caplog.clear()
        self.directory.report(OSError(number, os.strerror(number)))
        return len(warnings_in(self._caplog))


@pytest.fixture
def world(tmp_path, caplog):
    return World(tmp_path, caplog)


@pytest.mark.parametrize("kept", ["an image", "a record"])
def test_one_failure_is_logged_once_until_something_was_stored(world, tmp_path, kept):
    assert world.said(errno.ENOSPC) == 1
    world.now_s = 1e6
    assert world.said(errno.ENOSPC) == 0
    assert world.said(errno.ENOTDIR) == 0
    settings = StoreSettings(tmp_path, 2**20, "test")
    if kept == "an image":
        put(ImageFiles(settings, world.directory), 1, b"bytes")
    else:
        RecordFiles(settings, world.directory).put(
            ("section", "1"), StoredRecord([1], 1)
        )
    assert world.said(errno.EROFS) == 1


def test_the_same_failure_is_logged_again_after_a_minute_without_it(world):
    assert world.said(errno.ENOSPC) == 1
    for _ in range(10):  # what is small fits between
        world.directory.recovered()
        world.now_s += 59
        assert world.said(errno.ENOSPC) == 0
    world.directory.recovered()
    world.now_s += 60
    assert world.said(errno.ENOSPC) == 1
