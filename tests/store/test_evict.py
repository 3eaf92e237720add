"""What is evicted by name goes by the store's rules: the others learn of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from store_helpers import (
    content,
    found,
    held_still,
    image_bytes,
    put,
    section,
    store_at,
    stored_file,
    stored_files,
    warnings_in,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_an_evicted_image_is_gone_and_counted_by_every_store(tmp_path: Path) -> None:
    ours, theirs = store_at(tmp_path), store_at(tmp_path)
    for number in (1, 2):
        put(ours, number, image_bytes(number, 5000))
    theirs.load()
    image = theirs.find(section(1))
    assert ours.evict(section(1)) == 5000
    assert found(ours, 1) is found(theirs, 1) is None
    assert ours.peek(section(1)) is theirs.peek(section(1)) is None
    assert content(image) == image_bytes(1, 5000)  # who has it open reads on
    put(theirs, 3, image_bytes(3, 5000))
    assert theirs.used_bytes == 2 * 8192
    put(ours, 4, image_bytes(4, 5000))
    assert ours.used_bytes == 3 * 8192
    assert len(stored_files(tmp_path)) == 3


def test_what_is_not_stored_is_none_and_makes_no_store(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    assert store_at(directory).evict(section(1)) is None
    assert not directory.exists()


def test_a_damaged_image_can_be_evicted_and_a_link_is_let_be(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    put(store, 1, image_bytes(1, 5000))
    os.truncate(stored_file(tmp_path, 1), 10)
    assert store.evict(section(1)) == 0
    assert stored_files(tmp_path) == []
    put(store, 2, image_bytes(2, 5000))
    path = stored_file(tmp_path, 2)
    path.unlink()
    path.symlink_to(tmp_path / "lock")
    assert store.evict(section(2)) is None
    assert path.is_symlink()


def test_a_store_that_is_locked_says_so_and_then_evicts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_at(tmp_path)
    put(store, 1, image_bytes(1, 5000))
    with held_still(tmp_path), pytest.raises(OSError, match="cannot be removed"):
        store.evict(section(1))
    assert len(warnings_in(caplog)) == 1
    assert found(store, 1) is not None
    assert store.evict(section(1)) == 5000
