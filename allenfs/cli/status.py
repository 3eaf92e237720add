"""``allenfs status``: the status of mounts, for people or as JSON."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli import arguments
from allenfs.errors import StatusError
from allenfs.text import duration, printable, size

if TYPE_CHECKING:
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
    text, errors = _collected(parsed)
    print(text, end="")
    for error in errors:
        print(f"allenfs: {error}", file=sys.stderr)
    return _EXIT_FAILED if errors else 0


def _watch(parsed: argparse.Namespace) -> int:
    in_place = sys.stdout.isatty() and not parsed.json
    if in_place:
        print(_HOME + _CLEAR_BELOW, end="")
    try:
        while True:
            text, errors = _collected(parsed)
            text += "".join(f"allenfs: {error}\n" for error in errors)
            if in_place:
                text = _in_place(text)
            print(text, end="" if in_place or parsed.json else "\n", flush=True)
            time.sleep(parsed.interval)
    except KeyboardInterrupt:
        return 0


def _in_place(text: str) -> str:
    """Return a text that overwrites the previous one, cut to fit the terminal."""
    columns, rows = shutil.get_terminal_size()
    # keep the last row free for a final message
    lines = [f"{line[: columns - 1]}{_CLEAR_LINE}\n" for line in text.splitlines()]
    return "".join([_HOME, *lines[: rows - 1], _CLEAR_BELOW])


def _collected(parsed: argparse.Namespace) -> tuple[str, list[StatusError]]:
    """Return the text to print, and the errors of mounts without a status.

    Raises StatusError if there is no mount, or the one that was named has no status.
    """
    from allenfs.mount import mount_table

    if parsed.mountpoint is not None:
        return _text(parsed.mountpoint, as_json=parsed.json), []
    places = mount_table.own_mounts()
    if not places:
        raise StatusError("this user has no mounts: see allenfs mount")
    texts: list[str] = []
    errors: list[StatusError] = []
    for place in places:
        try:
            texts.append(_text(place, as_json=parsed.json))
        except StatusError as error:  # noqa: PERF203 - each waits for a mount
            if mount_table.is_mounted(place):  # otherwise it has just been unmounted
                errors.append(error)
    if parsed.json:
        return json.dumps([json.loads(text) for text in texts], indent=2) + "\n", errors
    return "\n".join(texts), errors


def _text(place: Path, *, as_json: bool) -> str:
    """Return a page for people, or the unchanged JSON: other versions' keys differ."""
    from allenfs.filesystem.status import MountStatus, json_object
    from allenfs.mount import probe

    data = probe.status_json(place)
    try:
        if as_json:
            json_object(data)
            return data.decode("ascii")
        return "".join(f"{line}\n" for line in page(MountStatus.from_json(data)))
    except ValueError:
        raise probe.unreadable(place) from None


def page(status: MountStatus) -> list[str]:
    """Return the lines for people; escaped, as the mount may be hostile."""
    source = "the sample service" if status.service.is_sample else status.service.url
    lines = [printable(f"{status.mountpoint}: {source}"), *_table(_rows(status))]
    failures = [
        (_ago(one.time, status.time), one.path, f"{one.cause} ({one.errno})")
        for one in status.failures
    ]
    for title, rows, most in (
        ("downloading", [*map(_download, status.downloads)], _SHOWN_DOWNLOADS),
        ("last failures", failures, _SHOWN_FAILURES),
    ):
        if rows:
            lines += ["", title, *_table(rows[:most])]
        if len(rows) > most:
            lines.append(f"{_INDENT}and {len(rows) - most} more, see --json")
    return lines


def _rows(status: MountStatus) -> Iterator[tuple[str, str]]:
    service, images, ahead = status.service, status.images, status.readahead
    yield "service", _reachable(service, status.time)
    if service.proxy:
        yield "proxy", service.proxy
    requests = _count(service.waiting, "request")
    waiting = f", {requests} waiting" if service.waiting else ""
    used = f"{service.connections_in_use} of {service.connections} in use"
    yield "connections", f"{used}{waiting}"
    yield "store", _usage(status.store)
    yield "", status.store.directory
    opened = _count(images.hits + images.misses, "image")
    failed = f"; {images.failed} failed" if images.failed else ""
    yield (
        "opened",
        f"{opened}: {images.hits} from the store, {images.misses} after a download"
        + failed,
    )
    downloaded = _count(images.downloads, "image")
    yield "downloaded", f"{downloaded}, {size(images.downloaded_bytes)}"
    running = f", {ahead.under_way} running" if ahead.under_way else ""
    text = f"{_count(ahead.downloaded, 'image')}, {ahead.used} used{running}"
    yield "read ahead", text if ahead.images else "off"
    if log := status.log:
        problem = f" CANNOT BE WRITTEN: {log.failure}" if log.failure else ""
        yield "log", f"{log.file or 'stderr'}{problem}"
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
    share = used / (capacity or used or 1)
    text = f"{size(used)} of {size(capacity)} used ({share:.0%}): "
    text += f"{_count(store.images, 'image')}, {_count(store.records, 'record')}"
    return f"CANNOT BE WRITTEN: {store.failure}; {text}" if store.failure else text


def _download(one: DownloadStatus) -> tuple[str, ...]:
    progress = size(one.bytes)
    if one.total_bytes:
        progress += f" of {size(one.total_bytes)} ({one.bytes / one.total_bytes:.0%})"
    notes = [
        _STATES.get(one.state, ""),
        f"attempt {one.attempt}" if one.attempt > 1 else "",
        "read ahead" if one.ahead else "",
    ]
    return one.path, progress, duration(one.seconds), ", ".join(filter(None, notes))


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Align all columns but the last."""
    cells = [list(map(printable, row)) for row in rows]
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
