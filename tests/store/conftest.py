"""File systems that are small enough to be filled."""

from __future__ import annotations

import contextlib
import os

import pytest
from store_helpers import PAGE, as_root


@pytest.fixture
def small_disk(tmp_path):
    """Mounts real file systems of so many pages."""
    with contextlib.ExitStack() as stack:

        def mounted(pages):
            place = tmp_path / f"disk{len(os.listdir(tmp_path))}"
            place.mkdir()
            options = f"size={pages * PAGE},uid={os.getuid()},mode=700"
            as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place))
            stack.callback(as_root, "umount", "-l", str(place))
            return place

        yield mounted
