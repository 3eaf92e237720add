"""``allenfs status``: the status of mounts, for people or as JSON."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli import arguments
from allenfs.errors import StatusError
from allenfs.text import duration, printable, size

if TYPE_CHECKING:
    import argparse
    import datetime as dt
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from allenfs.filesystem.status import (
        DownloadStatus,
        MountStatus,
        ServiceStatus,
        StoreStatus,
    )

SUMMARY = "show the status of mounts: service, store, downloads, failures"

_EXIT_FAILED = 1
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_SHOWN_DOWNLOADS = 10
_SHOWN_FAILURES = 5
_STATES = {
    "waiting": "waiting for a connection",
    "pausing": "waiting to retry",
    "storing": "being stored",
}
_INDENT = "  "
_MAX_CHARS = 500


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
        type=arguments.checked(config.parse_duration),
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
    if parsed.watch:
        return _watch(parsed)
    lines, errors = _collected(parsed)
    _print(lines)
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
    pages: list[list[str]] = []
    errors: list[StatusError] = []
    for place in places:
        try:
            pages.append(lines_of(place))
        except StatusError as error:  # noqa: PERF203 - each waits for a mount
            if mount_table.is_mounted(place):  # else it was unmounted just now
                errors.append(error)
    if not pages and len(errors) == 1:
        raise errors[0]
    if parsed.json:
        objects = [json.loads("\n".join(page)) for page in pages]
        return json.dumps(objects, indent=2).splitlines(), errors
    return [line for page in pages for line in ("", *page)][1:], errors


def _page_lines(place: Path) -> list[str]:
    from allenfs.mount import probe  # noqa: PLC0415 - as above

    return page(probe.status(place))


def _json_lines(place: Path) -> list[str]:
    """Return any JSON object as it is: it may come from a newer version."""
    from allenfs.filesystem.status import json_object  # noqa: PLC0415 - as above
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
    sys.stdout.write(_HOME)
    # keep the last row free for a final message
    _print([f"{line[: columns - 1]}{_CLEAR_LINE}" for line in lines[: rows - 1]])
    sys.stdout.write(_CLEAR_BELOW)
    sys.stdout.flush()


def page(status: MountStatus) -> list[str]:
    """Return the lines for people; escaped, as the mount may be hostile."""
    source = "the sample service" if status.service.is_sample else status.service.url
    lines = [f"{_plain(status.mountpoint)}: {_plain(source)}", *_table(_rows(status))]
    if status.downloads:
        shown = status.downloads[:_SHOWN_DOWNLOADS]
        lines += ["", "downloading", *_table(map(_download, shown))]
        lines += _more(len(status.downloads) - _SHOWN_DOWNLOADS)
    if status.failures:
        failures = [
            (_ago(one.time, status.time), one.path, f"{one.cause} ({one.errno})")
            for one in status.failures
        ]
        lines += ["", "last failures", *_table(failures[:_SHOWN_FAILURES])]
        lines += _more(len(failures) - _SHOWN_FAILURES)
    return lines


def _rows(status: MountStatus) -> Iterator[tuple[str, str]]:
    service, images, ahead = status.service, status.images, status.readahead
    yield "service", _reachable(service, status.time)
    if service.proxy:
        yield "proxy", service.proxy
    text = f"{service.connections_in_use} of {service.connections} in use"
    if service.waiting:
        text += f", {_count(service.waiting, 'request')} waiting"
    yield "connections", text
    yield "store", _usage(status.store)
    yield "", status.store.directory
    text = f"{_count(images.hits + images.misses, 'image')}: {images.hits} from the "
    text += f"store, {images.misses} after a download"
    yield "opened", f"{text}; {images.failed} failed" if images.failed else text
    yield (
        "downloaded",
        f"{_count(images.downloads, 'image')}, {size(images.downloaded_bytes)}",
    )
    text = f"{_count(ahead.downloaded, 'image')}, {ahead.used} used"
    if ahead.under_way:
        text += f", {ahead.under_way} running"
    yield "read ahead", text if ahead.images else "off"
    if status.log:
        failure = status.log.failure
        problem = "" if failure is None else f" CANNOT BE WRITTEN: {failure}"
        yield "log", f"{status.log.file or 'stderr'}{problem}"
    for_s = (status.time - status.started).total_seconds()
    text = f"for {duration(for_s)}: process {status.pid}, allenfs {status.version}"
    yield "running", text


def _reachable(service: ServiceStatus, now: dt.datetime) -> str:
    if service.reachable is None:
        return "no request yet"
    if service.reachable:
        text = f"reachable, last answer {_ago(service.last_answer, now)}"
    else:
        text = f"NOT reachable, {_ago(service.last_failure, now)}: "
        text += str(service.last_failure_cause)
    failed = f", {service.failed_requests} failed" if service.failed_requests else ""
    return f"{text}; {_count(service.requests, 'request')}{failed}"


def _usage(store: StoreStatus) -> str:
    used, capacity = store.used_bytes, store.capacity_bytes
    text = f"{size(used)} of {size(capacity)} used ({_percent(used, capacity)}): "
    text += f"{_count(store.images, 'image')}, {_count(store.records, 'record')}"
    return f"CANNOT BE WRITTEN: {store.failure}; {text}" if store.failure else text


def _download(one: DownloadStatus) -> tuple[str, ...]:
    progress = size(one.bytes)
    if one.total_bytes:
        percent = _percent(one.bytes, one.total_bytes)
        progress += f" of {size(one.total_bytes)} ({percent})"
    notes = [
        _STATES.get(one.state, ""),
        f"attempt {one.attempt}" if one.attempt > 1 else "",
        "read ahead" if one.ahead else "",
    ]
    return one.path, progress, duration(one.seconds), ", ".join(filter(None, notes))


def _more(count: int) -> list[str]:
    return [f"{_INDENT}and {count} more, see --json"] if count > 0 else []


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Align all columns but the last."""
    cells = [list(map(_plain, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        _INDENT + _INDENT.join(map(str.ljust, row, widths)).rstrip() for row in cells
    ]


def _ago(time: dt.datetime | None, now: dt.datetime) -> str:
    if time is None:
        return "at an unknown time"
    return f"{duration((now - time).total_seconds())} ago"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 100:.0f} %"


def _plain(text: str) -> str:
    return printable(text[:_MAX_CHARS])
