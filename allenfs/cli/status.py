"""``allenfs status``: the status of mounts."""

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
    from collections.abc import Callable
    from pathlib import Path

SUMMARY = "show the status of mounts: service, store, downloads, failures"

_EXIT_FAILED = 1
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON: an object for MOUNTPOINT, a list for all mounts",
    )
    parser.add_argument("--watch", action="store_true", help="repeat until Ctrl-C")
    parser.add_argument(
        "--interval",
        type=arguments.checked(config.parse_seconds),
        default=1.0,
        metavar="S",
        help="seconds between updates of --watch (default %(default)g)",
    )
    parser.add_argument(
        "mountpoint",
        nargs="?",
        type=arguments.checked(arguments.absolute_path),
        metavar="MOUNTPOINT",
        help="default: all mounts of this user",
    )


def run(parsed: argparse.Namespace) -> int:
    """Print the status; return 1 if one is not available."""
    return _watch(parsed) if parsed.watch else _print_once(parsed)


def _print_once(parsed: argparse.Namespace) -> int:
    shown, errors = _collected(parsed)
    _print(shown)
    for error in errors:
        print(f"allenfs: {error}", file=sys.stderr)
    return _EXIT_FAILED if errors else 0


def _watch(parsed: argparse.Namespace) -> int:
    in_place = sys.stdout.isatty() and not parsed.json
    is_first = True
    try:
        while True:
            shown, errors = _collected(parsed)
            lines = [*shown, *(f"allenfs: {error}" for error in errors)]
            if in_place:
                _redraw(lines, is_first=is_first)
            else:
                _print(lines if is_first or parsed.json else ["", *lines])
            is_first = False
            time.sleep(parsed.interval)
    except KeyboardInterrupt:
        return 0


def _collected(parsed: argparse.Namespace) -> tuple[list[str], list[StatusError]]:
    """Return the lines to print, and the errors of mounts without a status.

    Raises
    ------
    StatusError
        There is no mount; or there is only one, and it has no status.
    """
    from allenfs.mount import mount_table  # noqa: PLC0415 - a light command line

    lines_of = _json_lines if parsed.json else _page_lines
    if parsed.mountpoint is not None:
        return lines_of(parsed.mountpoint), []
    places = mount_table.own_mounts()
    if not places:
        msg = "this user has no mounts: see allenfs mount"
        raise StatusError(msg)
    found = {place: _or_error(lines_of, place) for place in places}
    pages = [page for page in found.values() if isinstance(page, list)]
    errors = [
        error
        for place, error in found.items()
        # else it was unmounted just now
        if isinstance(error, StatusError) and mount_table.is_mounted(place)
    ]
    if not pages and len(errors) == 1:
        raise errors[0]
    if parsed.json:
        objects = [json.loads("\n".join(page)) for page in pages]
        return json.dumps(objects, indent=2).splitlines(), errors
    return [line for page in pages for line in ("", *page)][1:], errors


def _or_error(
    lines_of: Callable[[Path], list[str]], place: Path
) -> list[str] | StatusError:
    try:
        return lines_of(place)
    except StatusError as error:
        return error


def _page_lines(place: Path) -> list[str]:
    from allenfs.cli import status_page  # noqa: PLC0415
    from allenfs.mount import probe  # noqa: PLC0415

    return status_page.page(probe.status(place))


def _json_lines(place: Path) -> list[str]:
    """Return any JSON object as it is: it may come from a newer version."""
    from allenfs.filesystem.status import json_object  # noqa: PLC0415
    from allenfs.mount import probe  # noqa: PLC0415

    data = probe.status_json(place)
    try:
        json_object(data)
    except ValueError:
        raise probe.unreadable(place) from None
    return data.decode("ascii").splitlines()


def _print(lines: list[str]) -> None:
    print("".join(f"{line}\n" for line in lines), end="", flush=True)


def _redraw(lines: list[str], *, is_first: bool) -> None:
    columns, rows = shutil.get_terminal_size()
    if is_first:
        sys.stdout.write(_HOME + _CLEAR_BELOW)
    # keep the last row free for a final message
    shown = [f"{line[: columns - 1]}{_CLEAR_LINE}" for line in lines[: rows - 1]]
    sys.stdout.write(_HOME)
    _print(shown)
    sys.stdout.write(_CLEAR_BELOW)
    sys.stdout.flush()
