"""Which files a pattern names: globs, directories, links, what cannot be looked at."""

from __future__ import annotations

import errno
import fnmatch
import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from allenfs.cli.prefetch.selection import files
from allenfs.cli.prefetch.tree import Kind
from allenfs.errors import NotADirError, PathNotFoundError, UnreachableError

FILES = [
    *("a/1.jpg", "a/2.jpg", "a/10.jpg", "a/ds4/1.jpg", "a/ds4/x/1.jpg", "a/ds5/1.jpg"),
    *("b/info.json", "b/[odd].jpg", "c/d/e/f.jpg"),
]
LINKS = {"c/link": "a", "c/file": "a/1.jpg", "l/link": "a"}
EMPTY = ["e/empty"]
UNLISTED = ["a/ds9/1.jpg"]


def resolved(path):
    for link, target in LINKS.items():
        if path == link or path.startswith(f"{link}/"):
            path = target + path.removeprefix(link)
    return path


class DictTree:
    """A tree in memory; the directory `failing` cannot be listed."""

    def __init__(self, failing=None):
        self.failing = failing
        self.listed = []

    def names(self, path):
        self.listed.append(path)
        if path == self.failing:
            raise UnreachableError("no route")
        path = resolved(path)
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

    def kind(self, path, *, follow):
        if path in LINKS and not follow:
            return Kind.LINK
        path = resolved(path)
        if path in FILES or path in UNLISTED:
            return Kind.FILE
        known = (*FILES, *LINKS, *EMPTY)
        if not path or any(f"{one}/".startswith(f"{path}/") for one in known):
            return Kind.DIRECTORY
        raise PathNotFoundError(path)


def found(pattern, *, recursive=False, failing=None):
    return list(files(DictTree(failing), pattern, recursive=recursive))


def paths(pattern, *, recursive=False):
    named = found(pattern, recursive=recursive)
    assert [one.error for one in named] == [None] * len(named)
    return [one.path for one in named]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/ds9/1.jpg", "a/ds9/1.jpg"),
        ("a/", "a/1.jpg a/2.jpg a/10.jpg"),
        ("./a//ds4", "a/ds4/1.jpg"),
        ("a/?.jpg", "a/1.jpg a/2.jpg"),
        ("a/[!1]*.jpg", "a/2.jpg"),
        ("a/ds[45]/1.jpg", "a/ds4/1.jpg a/ds5/1.jpg"),
        ("*/ds4/*", "a/ds4/1.jpg a/ds4/x/1.jpg"),
        ("c/link/ds?", "c/link/ds4/1.jpg c/link/ds5/1.jpg"),
        ("c/l*", "c/link/1.jpg c/link/2.jpg c/link/10.jpg"),
        ("c/file", "c/file"),
        ("c/*/ds4", "c/link/ds4/1.jpg"),
        ("b/[[]odd].jpg", "b/[odd].jpg"),
        ("b/[odd].jpg", "b/[odd].jpg"),
    ],
)
def test_a_pattern_names_its_files_in_the_order_of_the_listing(pattern, expected):
    assert paths(pattern) == expected.split()


def test_recursive_takes_all_below_but_what_only_links_lead_to():
    assert paths("a", recursive=True) == [one for one in FILES if one[0] == "a"]
    assert paths("c", recursive=True) == ["c/d/e/f.jpg"]
    assert sorted(paths(".", recursive=True)) == sorted(FILES)
    assert paths("c/link", recursive=True)[-1] == "c/link/ds5/1.jpg"


@pytest.mark.parametrize(
    ("pattern", "recursive", "words"),
    [
        ("c/d", False, "contains no files; use -r for subdirectories"),
        ("c/d*", False, "contains no files; use -r for subdirectories"),
        ("e", True, "contains no images"),
        ("e/empty", False, "contains no images"),
        ("l", False, "contains only links; add /* to follow them"),
        ("l", True, "contains only links; add /* to follow them"),
        ("x*", False, "no file matches"),
        ("a/1*/b", False, "no file matches"),
        ("*/ds4/none", False, "no file matches"),
        ("q", False, "q"),
    ],
)
def test_a_directory_without_files_says_why(pattern, recursive, words):
    (only,) = found(pattern, recursive=recursive)
    assert str(only.error) == words
    assert only.error.errno == errno.ENOENT
    assert only.path == pattern.replace("d*", "d")


@pytest.mark.parametrize("recursive", [False, True])
def test_a_glob_match_is_treated_like_a_named_path(recursive):
    named = found("a", recursive=recursive) + found("e", recursive=recursive)
    globbed = found("[ae]", recursive=recursive)
    assert [one.path for one in globbed] == [one.path for one in named]


def test_a_directory_that_cannot_be_listed_is_reported_and_the_others_are_named():
    named = found("a/ds*", failing="a/ds4")
    assert [(one.path, one.error is None) for one in named] == [
        ("a/ds4", False),
        ("a/ds5/1.jpg", True),
    ]
    (only,) = found("*", failing="")
    assert only.error.errno == errno.EHOSTUNREACH


def test_nothing_is_listed_before_it_is_needed():
    tree = DictTree()
    named = files(tree, "a/ds*", recursive=False)
    assert tree.listed == []
    next(named)
    assert tree.listed == ["a", "a/ds4"]


@given(st.text("ab1.jpg*?[]!/", min_size=1, max_size=12))
def test_any_pattern_ends_in_files_or_failures(pattern):
    named = found(pattern)
    assert named
    for one in named:
        is_file = resolved(os.path.normpath(one.path)) in FILES
        assert (one.error is None) is is_file


@given(st.text("012.jpg*?[]!", min_size=1, max_size=8))
def test_a_last_name_matches_as_in_the_standard_library(pattern):
    assume(any(one in pattern for one in "*?["))
    names = [one.removeprefix("a/") for one in FILES[:3]]
    expected = [f"a/{one}" for one in names if fnmatch.fnmatchcase(one, pattern)]
    matched = [one.path for one in found(f"a/{pattern}") if one.error is None]
    assert [one for one in matched if one.count("/") == 1] == expected
