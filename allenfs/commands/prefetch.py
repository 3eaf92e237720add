"""``allenfs prefetch``: fetch files ahead, see which are here, let them go."""

from __future__ import annotations

import contextlib
import logging
import os
import posixpath
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs import arguments, config
from allenfs.embedded import on_sample
from allenfs.errors import ConfigError, UrlError
from allenfs.nodes import Root
from allenfs.prefetch.gathering import Gathering, Task
from allenfs.prefetch.outage import Outage
from allenfs.prefetch.report import Report

if TYPE_CHECKING:
    import argparse
    import threading
    from collections import deque
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from allenfs.prefetch.selection import Tree

SUMMARY = "fetch files ahead of who opens them"

_EPILOG = """
PATH is in a mount (whose store, limits and connections then hold), or in the tree, as
dataset/100141599/ds4, and then needs no mount; --sample to --catalog-ttl are for these.
Globs (* ? []) are expanded in the tree: quote them. A directory stands for the files
that it lists itself, and with -r for all below it, as for cp -r: a data set at all its
sizes and views. Links that are named are followed, those that -r comes across are not.

Exit code: 0, or 1 where something failed (or, with --check, is not here); 130 after
Ctrl-C. What is done is kept, and the same command goes on from there.
"""

_EXIT_FAILED = 1
_SIGNALLED = 128
_DEFAULT_PATIENCE = "60s"
_WARNERS = ("allenfs.trouble", "allenfs.store", "allenfs.upkeep")
# Evicting makes no room for anything else.
_ALL_BYTES = 2**62


class _Ended(KeyboardInterrupt):
    """A signal ends the command: what was done is said."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = _EPILOG
    task = parser.add_mutually_exclusive_group()
    task.add_argument(
        "--check",
        action="store_true",
        help="fetch no image; print the files that are not on this machine",
    )
    task.add_argument(
        "--evict",
        action="store_true",
        help="remove the images from the store; who has one open goes on reading it",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="also what is below a directory"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="say only what failed"
    )
    parser.add_argument(
        "--patience",
        type=arguments.checked(config.parse_duration),
        default=_DEFAULT_PATIENCE,
        metavar="TIME",
        help="how long to go on asking, every 11 s, a service that does not answer: "
        "seconds, or a number with m, h or d (default %(default)s)",
    )
    arguments.add_service(parser)
    arguments.add_store(parser)
    arguments.add_limits(parser)
    parser.add_argument("paths", nargs="+", metavar="PATH")


def run(parsed: argparse.Namespace) -> int:
    """Do it; 1 where something failed, or is not here."""
    task = Task.FETCH
    if parsed.check or parsed.evict:
        task = Task.CHECK if parsed.check else Task.EVICT
    report = Report(task, sys.stdout, sys.stderr, is_quiet=parsed.quiet)
    with _signals(), _warnings(report.warnings), contextlib.ExitStack() as stack:
        try:
            for gathering, outage in _gatherings(parsed, report, stack):
                report.follow(gathering, outage)
            return report.ended()
        except _Ended as ended:
            report.stop.set()
            report.interrupted()
            return _SIGNALLED + int(ended.args[0])
        except BrokenPipeError:
            # whoever read the list has enough; what is left of it goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _EXIT_FAILED
        finally:
            report.stop.set()


def _gatherings(
    parsed: argparse.Namespace, report: Report, stack: contextlib.ExitStack
) -> Iterator[tuple[Gathering, Outage]]:
    """Make what is to be done of the paths, for each mount, and where there is none."""
    from allenfs.prefetch import mounted_tree  # noqa: PLC0415 - other commands do without it

    pause_s = config.ServiceSettings("").failure_memory_s + 1
    patterns = _by_mountpoint(parsed.paths, report)
    for place in filter(None, patterns):
        mounted_tree.require_answer(place)
    for mountpoint, below in patterns.items():
        tree: Tree
        if mountpoint is None:
            tree = _direct_tree(parsed, report.stop, stack)
        else:
            tree = mounted_tree.MountedTree(mountpoint)
        outage = Outage(pause_s=pause_s, patience_s=parsed.patience)
        gathering = Gathering(
            *(tree, below, report.task),
            recursive=parsed.recursive,
            outage=outage,
            stop=report.stop,
        )
        yield gathering, outage


def _by_mountpoint(paths: list[str], report: Report) -> dict[Path | None, list[str]]:
    """Sort paths by the mount that they are in, None for those of the tree alone."""
    from allenfs.prefetch.mounted_tree import place_of  # noqa: PLC0415

    patterns: dict[Path | None, list[str]] = {}
    for text in paths:
        place = None
        try:
            place = place_of(arguments.absolute_path(text))
        except ConfigError:
            if not text or text.startswith("."):
                raise
            # the current directory is gone: then it is in no mount
        if place is not None:
            patterns.setdefault(place.mountpoint, []).append(place.below)
            continue
        below = arguments.tree_path(posixpath.normpath(text).lstrip("/"))
        if _is_in_tree(below):
            patterns.setdefault(None, []).append(below)
        else:
            report.failed(text, "neither in a mount of allenfs, nor a path of its tree")
    return patterns


def _is_in_tree(path: str) -> bool:
    from allenfs import tree  # noqa: PLC0415

    return path.partition("/")[0] in tree.listing(Root(), [])


def _direct_tree(
    parsed: argparse.Namespace, stop: threading.Event, stack: contextlib.ExitStack
) -> Tree:
    from allenfs.house import assemble  # noqa: PLC0415
    from allenfs.layout import Layout  # noqa: PLC0415
    from allenfs.prefetch.direct_tree import DirectTree  # noqa: PLC0415

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
        Layout(store.directory, store.service_name),
        connections=service.connections,
        interrupted=stop.is_set,
    )


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let the signals that end a command say so, but those that are ignored."""

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
    """Keep what the store warns of; failures are told otherwise."""

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
