"""Expand the paths of a command line to files: globs, directories, links."""

from __future__ import annotations

import errno
import fnmatch
import itertools
import re
from collections.abc import Callable, Iterator
from posixpath import join
from typing import TYPE_CHECKING, NamedTuple

from allenfs.cli.prefetch.tree import Kind
from allenfs.errors import AllenFSError, PathNotFoundError

if TYPE_CHECKING:
    from allenfs.cli.prefetch.tree import Tree

# While a glob is expanded, these errors mean no match.
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
# As many directories as there are connections by default.
_ANNOUNCED = 4
_MAGIC = re.compile(r"[*?[]")


class Named(NamedTuple):
    """A file, or a path that could not be accessed and why."""

    path: str
    error: AllenFSError | None = None


def files(
    tree: Tree,
    pattern: str,
    *,
    recursive: bool,
    announce: Callable[[str], None] = lambda _: None,
) -> Iterator[Named]:
    """Yield the files that `pattern` stands for: at least one, or an error.

    A directory stands for the files in it, and if `recursive` also for those in its
    subdirectories. Links are followed if the pattern or a glob names them, but not
    below a directory. `announce` is called with directories that will be listed soon.
    """
    names = [name for name in pattern.split("/") if name not in ("", ".")]
    matched = False
    for named in _matches(tree, "", names, announce):
        matched = True
        yield from _files_of(tree, named, recursive=recursive)
    if matched:
        return
    if "[" in pattern and _exists(tree, pattern):
        yield from _files_of(tree, Named(pattern), recursive=recursive)
    else:
        yield Named(pattern, PathNotFoundError("no file matches"))


def _matches(
    tree: Tree,
    directory: str,
    names: list[str],
    announce: Callable[[str], None],
    *,
    in_glob: bool = False,
) -> Iterator[Named]:
    """Yield the matches of `names` below a directory; each name may be a glob."""
    literal = _literal(names)
    path = join(directory, *literal)
    rest = names[len(literal) :]
    if not rest:
        if not (in_glob and literal) or _exists(tree, path):
            yield Named(path)
        return
    matches = re.compile(fnmatch.translate(rest[0])).match
    try:
        listed = [name for name in tree.names(path) if matches(name)]
    except AllenFSError as error:
        if error.errno not in _ABSENT:
            yield Named(path, error)
        return
    coming = (join(path, name, *_literal(rest[1:])) for name in listed[1:])
    for number, name in enumerate(listed):
        for one in itertools.islice(coming, 1 if number else _ANNOUNCED):
            announce(one)
        below = join(path, name)
        yield from _matches(tree, below, rest[1:], announce, in_glob=True)


def _literal(names: list[str]) -> list[str]:
    """Return the first names, up to a glob."""
    return [*itertools.takewhile(lambda name: not _MAGIC.search(name), names)]


def _exists(tree: Tree, path: str) -> bool:
    try:
        tree.kind(path, follow=True)
    except AllenFSError as error:
        # other errors are reported when the path is used
        return error.errno not in _ABSENT
    return True


def _files_of(tree: Tree, named: Named, *, recursive: bool) -> Iterator[Named]:
    if named.error is not None:
        yield named
        return
    found = False
    seen: set[Kind] = set()
    for one in _below(tree, named.path, seen, recursive=recursive, follow=True):
        found = True
        yield one
    if not found:
        why = "contains no images"
        if Kind.DIRECTORY in seen and not recursive:
            why = "contains no files; use -r for subdirectories"
        elif Kind.LINK in seen:
            why = "contains only links; add /* to follow them"
        yield Named(named.path, PathNotFoundError(why))


def _below(
    tree: Tree, path: str, seen: set[Kind], *, recursive: bool, follow: bool
) -> Iterator[Named]:
    """Yield the files of a path or of its subdirectories.

    The kinds of its entries are added to `seen`.
    """
    try:
        kind = tree.kind(path, follow=follow)
        if not follow:
            seen.add(kind)
        if kind is Kind.FILE:
            yield Named(path)
        if kind is not Kind.DIRECTORY or not (follow or recursive):
            return
        names = tree.names(path)
    except AllenFSError as error:
        yield Named(path, error)
        return
    for name in names:
        child = join(path, name)
        yield from _below(tree, child, seen, recursive=recursive, follow=False)
