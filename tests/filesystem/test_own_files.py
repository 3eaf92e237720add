"""``.allenfs``: in the grammar, in no listing, and only where something is mounted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Changing, Folder
from allenfs.errors import PathNotFoundError
from allenfs.filesystem.filesystem import Filesystem
from allenfs.model import tree
from allenfs.model.nodes import PatternNode
from allenfs.text import iso_time


def test_the_grammar_has_a_directory_of_two_files_and_lists_it_nowhere():
    for path in (".allenfs", ".allenfs/status.json", ".allenfs/log"):
        assert tree.parse(f"/{path}") == tree.parse(path) == PatternNode(path)
    assert ".allenfs" not in tree.ROOT_NAMES


@pytest.mark.parametrize(
    "path",
    [
        *(".allenfs/", ".allenfs/x", ".allenfs/log/", ".allenfs/log/x", ".allenfsx"),
        *(".Allenfs", "section/.allenfs", ".allenfs/status.json.gz", ".allenfs/.."),
    ],
)
def test_nothing_else_is_there(path):
    with pytest.raises(PathNotFoundError):
        tree.parse(path)


def mounted(**files: Callable[[], Document]) -> Filesystem:
    own_files = {name.replace("_", "."): content for name, content in files.items()}
    return Filesystem(None, None, max_image_bytes=2**30, own_files=own_files)


def test_each_open_gets_a_new_snapshot():
    pages = iter([Document(b"1", 0), Document(b"22", 0)])
    entry = mounted(status_json=lambda: next(pages)).entry(".allenfs/status.json")
    assert isinstance(entry, Changing)
    assert [entry.snapshot().read(0, 9) for _ in range(2)] == [b"1", b"22"]


def test_what_a_mount_does_not_tell_is_not_there():
    own = mounted(status_json=lambda: Document(b"1", 0))
    assert own.entry(".allenfs") == Folder()
    assert own.names(".allenfs") == ["status.json"]
    for filesystem, path in [(own, ".allenfs/log"), (mounted(), ".allenfs")]:
        with pytest.raises(PathNotFoundError):
            filesystem.entry(path)
        with pytest.raises(PathNotFoundError):
            filesystem.names(path)


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_378_712_999_999_999, "2026-11-22T20:18:32Z"),
        (-1, "1970-01-01T00:00:00Z"),  # written with a wrong clock
        (2**80, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_iso_8601_in_utc(time_ns, shown):
    assert iso_time(time_ns) == shown
