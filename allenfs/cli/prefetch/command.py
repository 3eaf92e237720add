"""The command ``allenfs prefetch``: download, check or evict files."""

from __future__ import annotations

import contextlib
import itertools
import logging
import operator
import posixpath
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli import arguments
from allenfs.cli.prefetch import path_list
from allenfs.cli.prefetch.gathering import Gathering, Task
from allenfs.cli.prefetch.outage import Outage
from allenfs.cli.prefetch.report import Report
from allenfs.errors import AllenFSError, ConfigError, UrlError
from allenfs.model.nodes import Root

if TYPE_CHECKING:
    import argparse
    import threading
    from collections import deque
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import FrameType

    from allenfs.cli.prefetch.selection import Tree

SUMMARY = "download files before they are opened"

_EPILOG = """
PATH is in a mount, whose store and limits then apply, or a path of the tree, such as
dataset/100141599/ds4, which needs no mount; --sample to --catalog-ttl are for these.
Globs (* ? []) are expanded in the tree: quote them. - reads paths from standard input,
one per line, and starts with the first at once. A directory stands for the files in it,
and with -r also for its subdirectories, as with cp -r: a data set at all its sizes and
views. Symbolic links are followed if they are named, but not if -r finds them.

An image that is broken at the service (it returns something other than a JPEG, also
after retries) is listed separately.

Exit code: 0, or 1 if something failed (or, with --check, is not local); 130 after
Ctrl-C. Downloaded files are kept; run the same command again to continue.
"""

_STDIN = "-"
_SIGNALLED = 128
_DEFAULT_PATIENCE = "60s"
_WARNERS = ("allenfs.store.directory", "allenfs.store.cache")
# Eviction must not make room for other images.
_ALL_BYTES = 2**62


class _Ended(KeyboardInterrupt):
    """A signal ends the command, which reports what was done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    task = parser.add_mutually_exclusive_group()
    task.add_argument(
        "--check",
        action="store_true",
        help="download no image; print the files that are not local",
    )
    task.add_argument(
        "--evict",
        action="store_true",
        help="remove the images from the store; open files remain readable",
    )
    task.add_argument(
        "--skip-broken",
        action="store_true",
        help="list images that are broken at the service, but do not fail",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="include subdirectories"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print only failures"
    )
    parser.add_argument(
        "--patience",
        type=arguments.checked(config.parse_duration),
        default=_DEFAULT_PATIENCE,
        metavar="TIME",
        help="how long to retry, every 11 s, if the service does not answer: seconds, "
        "or a number with m, h or d (default %(default)s)",
    )
    arguments.add_service(parser)
    arguments.add_store(parser)
    arguments.add_limits(parser)
    parser.add_argument("paths", nargs="+", metavar="PATH")


def run(parsed: argparse.Namespace) -> int:
    """Run the task; return 1 if something failed or is not local."""
    task = Task.FETCH
    if parsed.check or parsed.evict:
        task = Task.CHECK if parsed.check else Task.EVICT
    report = Report(
        *(task, sys.stdout, sys.stderr),
        is_quiet=parsed.quiet,
        skips_broken=parsed.skip_broken,
    )
    with _signals(), _warnings(report.warnings), contextlib.ExitStack() as stack:
        try:
            for gathering, outage in _gatherings(parsed, report, stack):
                report.follow(gathering, outage)
            return report.ended()
        except _Ended as ended:
            report.stop.set()
            report.interrupted()
            return _SIGNALLED + int(ended.args[0])
        finally:
            report.stop.set()


class _Places:
    """The mounts that paths are in, and the tree without one (None)."""

    def __init__(
        self, parsed: argparse.Namespace, report: Report, stack: contextlib.ExitStack
    ) -> None:
        self._parsed = parsed
        self._report = report
        self._stack = stack
        self._pause_s = config.ServiceSettings("").failure_memory_s + 1
        self._known: dict[Path | None, tuple[Tree, Outage]] = {}

    def is_given_up(self, place: Path | None) -> bool:
        """Whether prefetching from there has been given up."""
        return place in self._known and self._known[place][1].reason is not None

    def require_answer(self, place: Path | None) -> None:
        """Raise if a mount is not served; only before its first use."""
        from allenfs.cli.prefetch import mounted_tree  # noqa: PLC0415 - only this command needs it

        if place is not None and place not in self._known:
            mounted_tree.require_answer(place)

    def gathering(
        self, place: Path | None, patterns: Iterable[str]
    ) -> tuple[Gathering, Outage]:
        """Return the task for `patterns`, which are all in one place."""
        if place not in self._known:
            outage = Outage(pause_s=self._pause_s, patience_s=self._parsed.patience)
            self._known[place] = self._tree(place), outage
        tree, outage = self._known[place]
        gathering = Gathering(
            *(tree, patterns, self._report.task),
            recursive=self._parsed.recursive,
            outage=outage,
            stop=self._report.stop,
        )
        return gathering, outage

    def _tree(self, place: Path | None) -> Tree:
        from allenfs.cli.prefetch.mounted_tree import MountedTree  # noqa: PLC0415

        if place is not None:
            return MountedTree(place)
        return _direct_tree(self._parsed, self._report.stop, self._stack)


def _gatherings(
    parsed: argparse.Namespace, report: Report, stack: contextlib.ExitStack
) -> Iterator[tuple[Gathering, Outage]]:
    """Yield a task for each mount, and one for the paths without a mount."""
    places = _Places(parsed, report, stack)
    patterns: dict[Path | None, list[str]] = {}
    for text in parsed.paths:
        if text != _STDIN and (located := _located(text, report)):
            patterns.setdefault(located[0], []).append(located[1])
    for place in patterns:
        places.require_answer(place)
    for place, below in patterns.items():
        yield places.gathering(place, below)
    if _STDIN in parsed.paths:
        yield from _listed(places, report)


def _listed(places: _Places, report: Report) -> Iterator[tuple[Gathering, Outage]]:
    """Return the work for standard input: for each run of lines in one place."""
    used: set[Path | None] = set()

    def is_ended() -> bool:
        return report.stop.is_set() or (
            bool(used) and all(map(places.is_given_up, used))
        )

    def located() -> Iterator[tuple[Path | None, str]]:
        try:
            for line in path_list.lines(sys.stdin.fileno(), is_ended):
                try:
                    found = _located(line, report)
                except ConfigError as error:
                    report.failed(line, str(error))
                    continue
                if found is not None:
                    used.add(found[0])
                    yield found
        except OSError as error:
            if not report.stop.is_set():
                report.failed("standard input", error.strerror or str(error))

    # the thread that finds the files consumes the group
    for place, group in itertools.groupby(located(), operator.itemgetter(0)):
        try:
            places.require_answer(place)
        except AllenFSError as error:
            report.failed(str(place), str(error))
            continue
        yield places.gathering(place, (below for _, below in group))


def _located(text: str, report: Report) -> tuple[Path | None, str] | None:
    """Return the mount that a path is in, None without one, and the path in the tree.

    If it is in neither, report a failure and return None.
    """
    from allenfs.cli.prefetch.mounted_tree import place_of  # noqa: PLC0415

    place = None
    try:
        place = place_of(arguments.absolute_path(text))
    except ConfigError:
        if not text or text.startswith("."):
            raise
        # the current directory no longer exists: it is in no mount
    if place is not None:
        return place
    below = arguments.tree_path(posixpath.normpath(text).lstrip("/"))
    if _is_in_tree(below):
        return None, below
    report.failed(text, "neither in an allenfs mount nor a path of its tree")
    return None


def _is_in_tree(path: str) -> bool:
    from allenfs.model import tree  # noqa: PLC0415

    return path.partition("/")[0] in tree.listing(Root(), [])


def _direct_tree(
    parsed: argparse.Namespace, stop: threading.Event, stack: contextlib.ExitStack
) -> Tree:
    from allenfs.assembly import assemble, on_sample  # noqa: PLC0415
    from allenfs.cli.prefetch.direct_tree import DirectTree  # noqa: PLC0415

    try:
        service = arguments.service_settings(parsed)
    except UrlError as error:
        raise ConfigError(str(error)) from error
    store = arguments.store_settings(parsed, config.service_name(service.api_url))
    if parsed.sample:
        service, store = stack.enter_context(on_sample(service, store))
    if parsed.evict:
        store = replace(store, capacity_bytes=_ALL_BYTES)
    return DirectTree(
        assemble(service, store),
        connections=service.connections,
        interrupted=stop.is_set,
    )


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Raise _Ended for SIGINT and SIGTERM, unless they are ignored."""

    def end(number: int, _: FrameType | None) -> None:
        raise _Ended(number)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        for one, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(one, end)
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def _warnings(said: deque[str]) -> Iterator[None]:
    """Collect the warnings of the store; failures are reported separately."""

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name in _WARNERS and record.levelno >= logging.WARNING:
                said.append(record.getMessage())

    handler, log = Keeper(), logging.getLogger("allenfs")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
