"""Walks, searches and globs for fsspec, in a tree with links.

fsspec's own versions descend into links, which never ends in this tree, omit
directories that cannot be listed, and find only names that are listed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from glob import has_magic
from typing import Any

from fsspec.spec import AbstractFileSystem
from fsspec.utils import glob_translate


class Traversal(AbstractFileSystem):
    """What fsspec derives from `info` and `ls`, for a tree with links."""

    def walk(
        self,
        path: Any,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], object] | None = None,
        detail: bool = False,
        **_: Any,
    ) -> Iterator[tuple[str, Any, Any]]:
        """Walk through directories, as `os.walk` does, but not into links.

        By default, a directory that cannot be listed raises, unless it does not exist:
        a result must not lack what exists.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        listed = self._listed(path, on_error)
        if listed is None:
            return
        named = {one["name"].removeprefix(path).lstrip("/"): one for one in listed}
        files = {name: one for name, one in named.items() if one["type"] == "file"}
        directories = {name: one for name, one in named.items() if name not in files}
        walked = {name for name, one in directories.items() if not one["islink"]}
        step = (directories, files) if detail else ([*directories], [*files])
        if topdown:
            yield path, *step
        if maxdepth is None or maxdepth > 1:
            deeper = maxdepth and maxdepth - 1
            for name in step[0]:  # without what the caller removed
                if name in walked:
                    below = joined(path, name)
                    yield from self.walk(below, deeper, topdown, on_error, detail)
        if not topdown:
            yield path, *step

    def find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: Any,
    ) -> Any:
        """Return all files below a path, except below links; raises as `walk` does.

        `withdirs` adds directories, but not links: copies of them would be empty.
        """
        path = self._strip_protocol(path)
        found = {}
        if withdirs and path and self.isdir(path):
            found[path] = self.info(path)
        steps = self.walk(path, maxdepth, detail=True, **options)
        for _, directories, files in steps:
            found.update({one["name"]: one for one in files.values()})
            if withdirs:
                plain = (one for one in directories.values() if not one["islink"])
                found.update({one["name"]: one for one in plain})
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def du(
        self,
        path: Any,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **options: Any,
    ) -> Any:
        """Return the bytes of the local files, as `du` in a mount does."""
        found = self.find(path, maxdepth, withdirs, detail=True, **options)
        sizes = {
            name: one["size"] if one.get("local") else 0 for name, one in found.items()
        }
        return sum(sizes.values()) if total else sizes

    def glob(self, path: Any, maxdepth: int | None = None, **options: Any) -> Any:
        """Return the paths that match a pattern, as fsspec does, with three exceptions.

        Names without a wildcard need not be listed; links are followed, except by
        ``**``; and a directory that cannot be listed raises.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        only_directories = str(path).endswith("/")
        detail = options.pop("detail", False)
        with_directories = options.pop("withdirs", True)
        found = sorted(_matches(self, self._strip_protocol(path), maxdepth))
        if not detail and with_directories and not only_directories:
            return found
        details = {one: self.info(one) for one in found}
        unwanted = {"file" if only_directories else ""}
        unwanted.add("" if with_directories else "directory")
        kept = {one: its for one, its in details.items() if its["type"] not in unwanted}
        return kept if detail else [*kept]

    def _listed(
        self, path: str, on_error: str | Callable[[OSError], object] | None
    ) -> list[dict[str, Any]] | None:
        try:
            listed: list[dict[str, Any]] = self.ls(path)
        except OSError as error:
            if callable(on_error):
                on_error(error)
            elif on_error == "raise" or not (on_error or is_absence(error)):
                raise
            return None
        return listed


def is_absence(error: OSError) -> bool:
    """Return whether an error means that a path does not exist."""
    return isinstance(error, (FileNotFoundError, NotADirectoryError))


def joined(directory: str, *names: str) -> str:
    """Return the path of names below a directory; the root is the empty path."""
    return "/".join([*filter(None, [directory]), *names])


def _matches(fs: Traversal, pattern: str, maxdepth: int | None) -> set[str]:
    """Return the paths that match a pattern.

    ``**`` stands for any number of directories, but does not descend into links.
    `maxdepth` limits the first one. Raises ValueError if ``**`` is part of a name.
    """
    glob_translate(pattern)
    return {*_below(fs, "", pattern.split("/"), maxdepth)}


def _below(
    fs: Traversal,
    directory: str,
    names: list[str],
    maxdepth: int | None,
    deepest: int | None = None,
) -> Iterator[str]:
    """Yield the matches of `names` below a directory, of at most `deepest` names."""
    literal = [*itertools.takewhile(lambda name: not has_magic(name), names)]
    path, rest = joined(directory, *literal), names[len(literal) :]
    if deepest is not None and _depth(path) > deepest - bool(rest):
        return
    if not rest:
        if not literal or fs.exists(path):  # what was listed exists
            yield path
    elif rest[0] == "**":
        yield from _any_depth(fs, path, rest[1:], maxdepth, deepest)
    else:
        is_match = re.compile(glob_translate(rest[0])).match
        for name in filter(is_match, _names(fs, path)):
            yield from _below(fs, joined(path, name), rest[1:], maxdepth, deepest)


def _any_depth(
    fs: Traversal,
    path: str,
    rest: list[str],
    maxdepth: int | None,
    deepest: int | None,
) -> Iterator[str]:
    """Yield the matches of ``**`` and `rest` below a directory."""
    if not fs.isdir(path):
        return
    if deepest is None and maxdepth is not None:
        deepest = _depth(path) + maxdepth
    levels = None if deepest is None else deepest - _depth(path)
    if path and not rest:
        yield path
    for below, directories, files in fs.walk(path, levels):
        if rest:
            yield from _below(fs, below, rest, maxdepth, deepest)
        else:
            yield from (joined(below, name) for name in [*directories, *files])


def _depth(path: str) -> int:
    return len(path.split("/")) if path else 0


def _names(fs: Traversal, path: str) -> list[str]:
    """Return the names in a directory; none if it is a file or does not exist."""
    try:
        listed = fs.ls(path, detail=False)
    except OSError as error:
        if is_absence(error):
            return []
        raise
    return [one.rpartition("/")[2] for one in listed if one != path]
