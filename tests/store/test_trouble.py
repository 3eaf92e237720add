"""How often trouble with a store is said."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from store_helpers import put, warnings_in

from allenfs.config import StoreSettings
from allenfs.store.cache import Store
from allenfs.store.health import Trouble
from allenfs.store.record_files import Kept, Shelf

if TYPE_CHECKING:
    from pathlib import Path


class World:
    def __init__(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.now_s = 0.0
        self.trouble = Trouble(directory, clock=lambda: self.now_s)
        self._caplog = caplog

    def said(self, number: int) -> int:
        """Meet an error; return how many warnings it made."""
        self._caplog.clear()
        self.trouble.say(OSError(number, os.strerror(number)))
        return len(warnings_in(self._caplog))


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    return World(tmp_path, caplog)


def test_one_trouble_is_said_once_whatever_it_looks_like(world: World) -> None:
    assert world.said(errno.ENOSPC) == 1
    assert world.said(errno.ENOSPC) == 0
    assert world.said(errno.ENOTDIR) == 0
    world.now_s = 1e6
    assert world.said(errno.ENOSPC) == 0


def test_another_trouble_after_something_was_kept_is_said(world: World) -> None:
    assert world.said(errno.ENOSPC) == 1
    world.trouble.over()
    assert world.said(errno.EROFS) == 1


def test_the_same_trouble_is_said_again_after_a_minute_without_it(
    world: World,
) -> None:
    assert world.said(errno.ENOSPC) == 1
    for _ in range(10):  # what is small fits between
        world.trouble.over()
        world.now_s += 59
        assert world.said(errno.ENOSPC) == 0
    world.trouble.over()
    world.now_s += 60
    assert world.said(errno.ENOSPC) == 1


@pytest.mark.parametrize("kept", ["an image", "a record"])
def test_whatever_is_kept_ends_the_trouble(
    world: World, tmp_path: Path, kept: str
) -> None:
    settings = StoreSettings(tmp_path / "store", 2**20, "test")
    assert world.said(errno.ENOSPC) == 1
    if kept == "an image":
        put(Store(settings, world.trouble), 1, b"bytes")
    else:
        Shelf(settings, world.trouble).put(("section", "1"), Kept([1], 1))
    assert world.said(errno.EROFS) == 1
