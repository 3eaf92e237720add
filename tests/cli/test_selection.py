"""Which files a pattern names: globs, directories, links, what cannot be looked at."""

from __future__ import annotations

import errno
import fnmatch
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allenfs.cli.prefetch.selection import files
from allenfs.cli.prefetch.tree import Kind
from allenfs.errors import NotADirError, PathNotFoundError, UnreachableError

FILES = (
    "a/1.jpg",
    "a/2.jpg",
    "a/10.jpg",
    "a/ds4/1.jpg",
    "a/ds4/x/1.jpg",
    "a/ds5/1.jpg",
    "b/info.json",
    "b/[odd].jpg",
    "c/d/e/f.jpg",
)
LINKS = {"c/link": "a", "c/file": "a/1.jpg", "l/link": "a"}
EMPTY = ("e/empty",)
HIDDEN = ("a/ds9/1.jpg",)


class DictTree:
    """A tree in memory; `hidden` files are not listed; `away` cannot be asked."""

    def __init__(self, away: str | None = None) -> None:
        self.away = away
        self.asked: list[str] = []

    def _resolved(self, path: str) -> str:
        for link, target in LINKS.items():
            if path == link or path.startswith(f"{link}/"):
                path = target + path.removeprefix(link)
        return path

    def names(self, path: str) -> list[str]:
        self.asked.append(path)
        if path == self.away:
            raise UnreachableError("no route")
        path = self._resolved(path)
        if path in FILES:
            raise NotADirError("no directory")
        start = f"{path}/" if path else ""
        names = {
            one.removeprefix(start).split("/")[0]: None
            for one in (*FILES, *LINKS, *EMPTY)
            if one.startswith(start)
        }
        if not names and path not in EMPTY:
            raise PathNotFoundError(path)
        return list(names)

    def kind(self, path: str, *, follow: bool) -> Kind:
        if path in LINKS and not follow:
            return Kind.LINK
        path = self._resolved(path)
        if path in FILES or path in HIDDEN:
            return Kind.FILE
        known = (*FILES, *LINKS, *EMPTY)
        if not path or any(f"{one}/".startswith(f"{path}/") for one in known):
            return Kind.DIRECTORY
        raise PathNotFoundError(path)


def named(pattern: str, *, recursive: bool = False) -> list[str]:
    found = list(files(DictTree(), pattern, recursive=recursive))
    assert [one.error for one in found] == [None] * len(found)
    return [one.path for one in found]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/1.jpg", ["a/1.jpg"]),
        ("a/ds9/1.jpg", ["a/ds9/1.jpg"]),
        ("a", ["a/1.jpg", "a/2.jpg", "a/10.jpg"]),
        ("a/", ["a/1.jpg", "a/2.jpg", "a/10.jpg"]),
        ("./a//ds4", ["a/ds4/1.jpg"]),
        ("a/?.jpg", ["a/1.jpg", "a/2.jpg"]),
        ("a/[!1]*.jpg", ["a/2.jpg"]),
        ("a/ds*", ["a/ds4/1.jpg", "a/ds5/1.jpg"]),
        ("a/ds[45]/1.jpg", ["a/ds4/1.jpg", "a/ds5/1.jpg"]),
        ("*/*.json", ["b/info.json"]),
        ("*/ds4/*", ["a/ds4/1.jpg", "a/ds4/x/1.jpg"]),
        ("c/link/ds?", ["c/link/ds4/1.jpg", "c/link/ds5/1.jpg"]),
        ("c/l*", ["c/link/1.jpg", "c/link/2.jpg", "c/link/10.jpg"]),
        ("c/file", ["c/file"]),
        ("c/*/ds4", ["c/link/ds4/1.jpg"]),
        ("b/[[]odd].jpg", ["b/[odd].jpg"]),
        ("b/[odd].jpg", ["b/[odd].jpg"]),
    ],
)
def test_a_pattern_names_its_files_in_the_order_of_the_listing(
    pattern: str, expected: list[str]
) -> None:
    assert named(pattern) == expected


def test_recursive_takes_all_below_but_what_only_links_lead_to() -> None:
    assert named("a", recursive=True) == [one for one in FILES if one[0] == "a"]
    assert named("c", recursive=True) == ["c/d/e/f.jpg"]
    assert sorted(named(".", recursive=True)) == sorted(FILES)
    assert named("c/link", recursive=True)[-1] == "c/link/ds5/1.jpg"


@pytest.mark.parametrize(
    "pattern", ["x*", "a/*.png", "*/ds4/none", "c/d", "q", "a/1*/b"]
)
def test_what_names_no_file_is_one_failure_of_that_pattern(pattern: str) -> None:
    (only,) = files(DictTree(), pattern, recursive=False)
    assert only.error is not None
    assert only.error.errno == errno.ENOENT
    assert only.path == pattern


@pytest.mark.parametrize(
    ("pattern", "recursive", "words"),
    [
        ("c/d", False, "contains no files; use -r for subdirectories"),
        ("c/d*", False, "contains no files; use -r for subdirectories"),
        ("e", False, "contains no images"),
        ("e", True, "contains no images"),
        ("e/empty", False, "contains no images"),
        ("l", False, "contains only links; add /* to follow them"),
        ("l", True, "contains only links; add /* to follow them"),
        ("x*", False, "no file matches"),
    ],
)
def test_a_directory_without_files_says_why(
    pattern: str, recursive: bool, words: str
) -> None:
    (only,) = files(DictTree(), pattern, recursive=recursive)
    assert str(only.error).startswith(words)
    assert only.path == pattern.replace("d*", "d")


def test_a_glob_match_is_treated_like_a_named_path() -> None:
    for recursive in (False, True):
        found = files(DictTree(), "[ae]", recursive=recursive)
        each = [*files(DictTree(), "a", recursive=recursive)]
        each += files(DictTree(), "e", recursive=recursive)
        assert [one.path for one in found] == [one.path for one in each]


def test_what_cannot_be_listed_is_said_and_the_others_are_named() -> None:
    found = list(files(DictTree(away="a/ds4"), "a/ds*", recursive=False))
    assert [(one.path, one.error is None) for one in found] == [
        ("a/ds4", False),
        ("a/ds5/1.jpg", True),
    ]
    (only,) = files(DictTree(away=""), "*", recursive=False)
    assert only.error is not None
    assert only.error.errno == errno.EHOSTUNREACH


def test_nothing_is_listed_before_it_is_needed() -> None:
    tree = DictTree()
    found = files(tree, "a/ds*", recursive=False)
    assert tree.asked == []
    next(found)
    assert tree.asked == ["a", "a/ds4"]


@given(st.text("ab1.jpg*?[]!/", min_size=1, max_size=12))
def test_any_pattern_ends_in_files_or_failures(pattern: str) -> None:
    found = list(files(DictTree(), pattern, recursive=False))
    assert found
    for one in found:
        path = DictTree()._resolved(os.path.normpath(one.path))
        assert (one.error is None) is (path in FILES)


@given(st.text("012.jpg*?[]!", min_size=1, max_size=8))
def test_a_last_name_matches_as_in_the_standard_library(pattern: str) -> None:
    if not any(one in pattern for one in "*?["):
        return
    listed = [one.removeprefix("a/") for one in FILES[:3]]
    expected = [f"a/{one}" for one in listed if fnmatch.fnmatchcase(one, pattern)]
    found = list(files(DictTree(), f"a/{pattern}", recursive=False))
    matched = [one.path for one in found if one.error is None]
    assert [one for one in matched if one.count("/") == 1] == expected
