"""Expand the paths of a command line to files: globs, directories, links."""

from __future__ import annotations

import enum
import errno
import fnmatch
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from allenfs.errors import AllenFSError, PathNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

# While a glob is expanded, these errors mean no match.
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_MAGIC = re.compile(r"[*?[]")


class Kind(enum.Enum):
    """What a path is."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


class Tree(Protocol):
    """The tree of images, in a mount or without one. Thread-safe.

    Paths are relative to the root, without a slash at either end; symbolic links
    inside a path are followed. Every method may wait for the service, and raises
    AllenFSError or OSError, both with an errno.

    Attributes
    ----------
    connections : int
        How many files to fetch at a time.
    """

    connections: int

    def shown(self, path: str) -> str:
        """Return a path as it is written on the command line."""

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""

    def kind(self, path: str, *, follow: bool) -> Kind:
        """Return the kind of a path; if `follow`, of the target of a link."""

    def local_bytes(self, path: str) -> int | None:
        """Return the size of a local file, None if it is not local."""

    def fetch(self, path: str) -> int:
        """Download and verify a file unless it is local; return its size."""

    def evict(self, path: str) -> int | None:
        """Remove an image from the store; return its size, None if it is not stored."""

    def store_failure(self) -> str | None:
        """Return why the store cannot be written, None if it can."""


class Named(NamedTuple):
    """A file, or a path that could not be accessed and why."""

    path: str
    error: AllenFSError | OSError | None = None


def files(tree: Tree, pattern: str, *, recursive: bool) -> Iterator[Named]:
    """Yield the files that match `pattern`.

    A directory stands for the files in it, and if `recursive` also for those in its
    subdirectories. Links are followed if the pattern or a glob names them, but not
    below a directory.
    """
    count = 0
    for named in _matches(tree, pattern):
        count += 1
        yield from _files_of(tree, named, recursive=recursive)
    if count:
        return
    if "[" in pattern and _exists(tree, pattern):
        yield from _files_of(tree, Named(pattern), recursive=recursive)
    else:
        yield Named(pattern, PathNotFoundError("no file matches"))


def _files_of(tree: Tree, named: Named, *, recursive: bool) -> Iterator[Named]:
    """Yield the files that a path stands for: at least one, or an error."""
    count = 0
    seen: set[Kind] = set()
    for one in _below(tree, named, seen, recursive=recursive, follow=True):
        count += 1
        yield one
    if not count:
        words = _why_empty(tree, named.path, seen, recursive=recursive)
        yield Named(named.path, PathNotFoundError(words))


def _why_empty(tree: Tree, path: str, seen: set[Kind], *, recursive: bool) -> str:
    if Kind.DIRECTORY in seen and not recursive:
        below = _kinds_two_below(tree, path)
        if Kind.FILE in below or Kind.DIRECTORY in below:
            return "contains no files; use -r for subdirectories"
        seen |= below
    if Kind.LINK in seen:
        return "contains only links; add /* to follow them"
    return "contains no images"


def _kinds_two_below(tree: Tree, path: str) -> set[Kind]:
    """Return what directories in a directory list, as far as the first file."""
    kinds: set[Kind] = set()
    try:
        for child in (_joined(path, name) for name in tree.names(path)):
            if tree.kind(child, follow=False) is not Kind.DIRECTORY:
                continue
            for name in tree.names(child):
                kinds.add(tree.kind(_joined(child, name), follow=False))
                if Kind.FILE in kinds:
                    return kinds
    except (AllenFSError, OSError):
        return {Kind.FILE}  # unknown: with -r the error is shown
    return kinds


def _matches(tree: Tree, pattern: str) -> Iterator[Named]:
    """Expand the globs of a pattern."""
    names = [name for name in pattern.split("/") if name not in ("", ".")]
    found = [Named("")]
    for place, name in enumerate(names):
        if _MAGIC.search(name):
            return (yield from _expanded(tree, found[0].path, names[place:]))
        found = [Named(_joined(found[0].path, name))]
    yield from found


def _expanded(tree: Tree, directory: str, names: list[str]) -> Iterator[Named]:
    """Yield what matches `names` below a directory; the first one is a glob."""
    first, *rest = names
    matches = re.compile(fnmatch.translate(first)).match
    try:
        listed = [name for name in tree.names(directory) if matches(name)]
    except (AllenFSError, OSError) as error:
        if error.errno not in _ABSENT:
            yield Named(directory, error)
        return
    for name in listed:
        path = _joined(directory, name)
        literal = 0
        while literal < len(rest) and not _MAGIC.search(rest[literal]):
            path = _joined(path, rest[literal])
            literal += 1
        if literal < len(rest):
            yield from _expanded(tree, path, rest[literal:])
        elif not literal or _exists(tree, path):
            yield Named(path)


def _exists(tree: Tree, path: str) -> bool:
    try:
        tree.kind(path, follow=True)
    except (AllenFSError, OSError) as error:
        # other errors are reported when the path is used
        return error.errno not in _ABSENT
    return True


def _below(
    tree: Tree, named: Named, seen: set[Kind], *, recursive: bool, follow: bool
) -> Iterator[Named]:
    """Yield the files of a path or of its subdirectories.

    The kinds of its entries are added to `seen`.
    """
    path = named.path
    if named.error is not None:
        yield named
        return
    try:
        kind = tree.kind(path, follow=follow)
        if not follow:
            seen.add(kind)
        if kind is Kind.FILE:
            yield named
        if kind is not Kind.DIRECTORY or not (follow or recursive):
            return
        names = tree.names(path)
    except (AllenFSError, OSError) as error:
        yield Named(path, error)
        return
    for name in names:
        child = Named(_joined(path, name))
        yield from _below(tree, child, seen, recursive=recursive, follow=False)


def _joined(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
