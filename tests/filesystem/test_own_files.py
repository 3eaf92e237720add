"""``.allenfs``: in the grammar, in no listing, and only where something is mounted."""

from __future__ import annotations

import pytest

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Changing, Folder
from allenfs.errors import PathNotFoundError
from allenfs.filesystem.own_files import OwnFiles
from allenfs.model import tree
from allenfs.model.nodes import OwnDirectory, OwnFile, Root
from allenfs.text import iso_time

STATUS, LOG = OwnFile("status.json"), OwnFile("log")


def test_the_grammar_has_a_directory_of_two_files_and_lists_it_nowhere() -> None:
    assert tree.parse("/.allenfs") == OwnDirectory()
    assert tree.parse(".allenfs/status.json") == STATUS
    assert tree.parse(".allenfs/log") == LOG
    assert ".allenfs" not in tree.listing(Root(), [])


@pytest.mark.parametrize(
    "path",
    [
        *(".allenfs/", ".allenfs/x", ".allenfs/log/", ".allenfs/log/x", ".allenfsx"),
        *(".Allenfs", "section/.allenfs", ".allenfs/status.json.gz", ".allenfs/.."),
    ],
)
def test_nothing_else_is_there(path: str) -> None:
    with pytest.raises(PathNotFoundError):
        tree.parse(path)


def test_a_file_is_taken_anew_each_time() -> None:
    pages = iter([Document(b"1", 0), Document(b"22", 0)])
    own = OwnFiles({"status.json": lambda: next(pages)})
    entry = own.entry(STATUS)
    assert isinstance(entry, Changing)
    assert [entry.taken().read(0, 9) for _ in range(2)] == [b"1", b"22"]


def test_what_a_mount_does_not_tell_is_not_there() -> None:
    own = OwnFiles({"status.json": lambda: Document(b"1", 0)})
    assert own.entry(OwnDirectory()) == Folder()
    assert own.names() == ["status.json"]
    with pytest.raises(PathNotFoundError):
        own.entry(LOG)


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_378_712_999_999_999, "2026-11-22T20:18:32Z"),
        (-1, "1970-01-01T00:00:00Z"),  # written with a wrong clock
        (2**80, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_iso_8601_in_utc(time_ns: int, shown: str) -> None:
    assert iso_time(time_ns) == shown
