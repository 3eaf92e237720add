"""The command ``allenfs prefetch``: download, check or evict files."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from types import FrameType

from allenfs import config
from allenfs.cli import arguments

SUMMARY = "download files before they are opened"

_EPILOG = """
PATH is in a mount, whose service, store and --connections are used, or a path of the
tree, such as dataset/100141599/ds4, which needs no mount; --sample, --api-url,
--cache-dir, --cache-size and --connections apply only to the latter.
Globs (* ? []) are expanded in the tree: quote them. - reads paths from standard input,
one per line, and starts with the first one at once. A directory stands for the files in
it, and with -r also for its subdirectories, as with cp -r: a data set in all its sizes
and views. Symbolic links are followed if they are named, but not if -r finds them.

An image that is broken at the service (it returns something other than a JPEG, even
after retries) is listed separately.

Exit code: 0, or 1 if something failed (or, with --check, is not local); 130 after
Ctrl-C. Downloaded files are kept; run the same command again to continue.
"""

_SIGNALLED = 128


class _Ended(KeyboardInterrupt):
    """A signal ends the command, which reports what was done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    task = parser.add_mutually_exclusive_group()
    for name, text in (
        ("check", "download no image; print the files that are not local"),
        ("evict", "remove the images from the store; open files remain readable"),
    ):
        task.add_argument(
            f"--{name}",
            action="store_const",
            dest="task",
            const=name,
            default="fetch",
            help=text,
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
        default="60s",
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
    # imported here for a fast start of other commands
    from allenfs.cli.prefetch.gathering import Gathering
    from allenfs.cli.prefetch.places import Places
    from allenfs.cli.prefetch.report import Report, store_warnings

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    with contextlib.ExitStack() as stack:
        patterns = Places(parsed, stack, stop).patterns()
        gathering = Gathering(
            patterns, parsed.task, recursive=parsed.recursive, stop=stop
        )
        report = Report(
            gathering,
            parsed.task,
            sys.stdout,
            sys.stderr,
            store_warnings(),
            is_quiet=parsed.quiet,
            skips_broken=parsed.skip_broken,
        )
        stack.callback(stop.set)
        stack.callback(report.close)
        try:
            return report.follow()
        except _Ended as ended:
            stop.set()
            report.interrupted()
            return _SIGNALLED + int(ended.args[0])


def _end(number: int, _: FrameType | None) -> None:
    raise _Ended(number)
