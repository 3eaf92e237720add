"""``allenfs status``: what the mounts do."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli import arguments
from allenfs.errors import StatusError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SUMMARY = "tell what a mount does: service, store, downloads, failures"

_EXIT_FAILED = 1
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="as JSON: one object of MOUNTPOINT, else a list of all mounts",
    )
    parser.add_argument(
        "--watch", action="store_true", help="again and again, until Ctrl-C"
    )
    parser.add_argument(
        "--interval",
        type=arguments.checked(config.parse_seconds),
        default=1.0,
        metavar="S",
        help="seconds between two looks of --watch (default %(default)g)",
    )
    parser.add_argument(
        "mountpoint",
        nargs="?",
        type=arguments.checked(arguments.absolute_path),
        metavar="MOUNTPOINT",
        help="default: all mounts of this user",
    )


def run(parsed: argparse.Namespace) -> int:
    """Print it; 1 where a mount does not tell."""
    return _watch(parsed) if parsed.watch else _look(parsed)


def _look(parsed: argparse.Namespace) -> int:
    told, errors = _asked(parsed)
    _print(told)
    for error in errors:
        print(f"allenfs: {error}", file=sys.stderr)
    return _EXIT_FAILED if errors else 0


def _watch(parsed: argparse.Namespace) -> int:
    in_place = sys.stdout.isatty() and not parsed.json
    is_first = True
    try:
        while True:
            told, errors = _asked(parsed)
            lines = [*told, *(f"allenfs: {error}" for error in errors)]
            if in_place:
                _redraw(lines, is_first=is_first)
            else:
                _print(lines if is_first or parsed.json else ["", *lines])
            is_first = False
            time.sleep(parsed.interval)
    except KeyboardInterrupt:
        return 0


def _asked(parsed: argparse.Namespace) -> tuple[list[str], list[StatusError]]:
    """Return lines of all mounts that tell, and why the others do not.

    Raises
    ------
    StatusError
        There is one alone, and it does not; or there is none.
    """
    from allenfs.mount import mountpoint  # noqa: PLC0415 - a light command line

    if parsed.mountpoint is not None:
        return _lines(parsed.mountpoint, as_json=parsed.json), []
    places = mountpoint.own_mounts()
    if not places:
        msg = "nothing is mounted by this user: see allenfs mount"
        raise StatusError(msg)
    told = [
        one
        for place in places
        if isinstance(one := _lines_or_error(place, as_json=parsed.json), list)
        or mountpoint.is_mounted(place)  # else it was unmounted just now
    ]
    pages = [one for one in told if not isinstance(one, StatusError)]
    errors = [one for one in told if isinstance(one, StatusError)]
    if not pages and len(errors) == 1:
        raise errors[0]
    if parsed.json:
        objects = [json.loads("\n".join(page)) for page in pages]
        return json.dumps(objects, indent=2).splitlines(), errors
    return [line for page in pages for line in ("", *page)][1:], errors


def _lines_or_error(place: Path, *, as_json: bool) -> list[str] | StatusError:
    try:
        return _lines(place, as_json=as_json)
    except StatusError as error:
        return error


def _lines(place: Path, *, as_json: bool) -> list[str]:
    from allenfs.cli import status_page  # noqa: PLC0415
    from allenfs.mount import mount_status  # noqa: PLC0415

    data = mount_status.read(place)
    status = mount_status.parse(data, place)
    if as_json:
        return data.decode("ascii").splitlines()
    try:
        return status_page.page(status)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        raise mount_status.unreadable(place) from None


def _print(lines: list[str]) -> None:
    print("".join(f"{line}\n" for line in lines), end="", flush=True)


def _redraw(lines: list[str], *, is_first: bool) -> None:
    columns, rows = shutil.get_terminal_size()
    if is_first:
        sys.stdout.write(_HOME + _CLEAR_BELOW)
    # the last row stays free for what is said at the end
    shown = [f"{line[: columns - 1]}{_CLEAR_LINE}" for line in lines[: rows - 1]]
    sys.stdout.write(_HOME)
    _print(shown)
    sys.stdout.write(_CLEAR_BELOW)
    sys.stdout.flush()
