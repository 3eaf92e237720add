"""``status.json`` as a page that a person reads."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from allenfs.text import duration, printable, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHOWN_DOWNLOADS = 10
_SHOWN_FAILURES = 5
_STATES = {
    "waiting": "waits for a connection",
    "pausing": "waits to be tried again",
    "storing": "is being stored",
}
_INDENT = "  "
_MAX_CHARS = 300


def page(status: dict[str, Any]) -> list[str]:
    """Return the lines; what a mount says cannot move a terminal's cursor.

    Parameters
    ----------
    status : dict
        As in ``status.json``; it may be somebody else's, and anything.

    Raises
    ------
    LookupError, TypeError, ValueError, ArithmeticError, AttributeError
        It is no status.
    """
    service, store = status["service"], status["store"]
    what = "the sample service" if service["is_sample"] else service["url"]
    rows = [
        ("service", _service(service, status["time"])),
        *([("proxy", _plain(service["proxy"]))] if service.get("proxy") else []),
        ("connections", _connections(service)),
        ("store", _store(store)),
        ("", _plain(store["directory"])),
        ("opened", _opened(status["images"])),
        ("downloaded", _downloaded(status["images"])),
        ("read ahead", _readahead(status["readahead"])),
        # absent in older versions
        *([("log", _log(status["log"]))] if status.get("log") else []),
        ("running", _running(status)),
    ]
    lines = [f"{_plain(status['mountpoint'])}: {_plain(what)}"]
    lines += _table(rows)
    downloads, failures = status["downloads"], status["failures"]
    if downloads:
        lines += ["", "downloading", *_downloads(downloads)]
    if failures:
        lines += ["", "last failures", *_failures(failures, status["time"])]
    return lines


def _service(service: dict[str, Any], now: str) -> str:
    if service["reachable"] is None:
        return "not asked yet"
    if service["reachable"]:
        words = f"reachable, last answer {_ago(service['last_answer'], now)}"
    else:
        cause = _plain(service["last_failure_cause"])
        words = f"NOT reachable, {_ago(service['last_failure'], now)}: {cause}"
    asked = _count(service["requests"], "request")
    failed = f", {service['failed_requests']:d} failed"
    return f"{words}; {asked}{failed if service['failed_requests'] else ''}"


def _connections(service: dict[str, Any]) -> str:
    words = f"{service['connections_in_use']:d} of {service['connections']:d} in use"
    waiting = service["waiting"]
    return f"{words}, {_count(waiting, 'request')} waiting" if waiting else words


def _store(store: dict[str, Any]) -> str:
    used, capacity = store["used_bytes"], store["capacity_bytes"]
    words = f"{size(used)} of {size(capacity)} used ({_percent(used, capacity)})"
    images = _count(store["images"], "image")
    words = f"{words}: {images}, {_count(store['records'], 'record')}"
    failure = store.get("failure")  # an older allenfs says nothing
    return f"CANNOT BE WRITTEN: {_plain(failure)}; {words}" if failure else words


def _opened(images: dict[str, Any]) -> str:
    hits, misses, failed = images["hits"], images["misses"], images["failed"]
    opened = _count(hits + misses, "image")
    words = f"{hits:d} at once, {misses:d} after a download"
    return f"{opened}: {words}" + (f"; {failed:d} failed" if failed else "")


def _downloaded(images: dict[str, Any]) -> str:
    return f"{_count(images['downloads'], 'image')}, {size(images['downloaded_bytes'])}"


def _readahead(readahead: dict[str, Any]) -> str:
    if not readahead["images"]:
        return "off"
    words = f"{_count(readahead['downloaded'], 'image')}, {readahead['used']:d} used"
    under_way = readahead["under_way"]
    return f"{words}, {under_way:d} under way" if under_way else words


def _log(log: dict[str, Any]) -> str:
    place = _plain(log["file"] or "stderr")
    failure = log["failure"]
    if failure is None:
        return place
    return f"{place} CANNOT BE WRITTEN: {_plain(failure)}"


def _running(status: dict[str, Any]) -> str:
    for_s = _seconds(status["started"], status["time"])
    return (
        f"for {duration(for_s)}: process {status['pid']:d}, "
        f"allenfs {_plain(status['version'])}"
    )


def _downloads(downloads: list[dict[str, Any]]) -> Iterator[str]:
    rows = [
        (_plain(one["path"]), _progress(one), duration(one["seconds"]), _notes(one))
        for one in downloads[:_SHOWN_DOWNLOADS]
    ]
    yield from _table(rows)
    yield from _more(len(downloads) - _SHOWN_DOWNLOADS)


def _progress(download: dict[str, Any]) -> str:
    so_far, total = download["bytes"], download["total_bytes"]
    if total:
        return f"{size(so_far)} of {size(total)} ({_percent(so_far, total)})"
    return size(so_far)


def _notes(download: dict[str, Any]) -> str:
    notes = [_STATES[download["state"]]] if download["state"] in _STATES else []
    if download["attempt"] > 1:
        notes.append(f"attempt {download['attempt']:d}")
    if download["ahead"]:
        notes.append("read ahead")
    return ", ".join(notes)


def _failures(failures: list[dict[str, Any]], now: str) -> Iterator[str]:
    rows = [
        (
            _ago(one["time"], now),
            _plain(one["path"]),
            f"{_plain(one['cause'])} ({_plain(one['errno'])})",
        )
        for one in failures[:_SHOWN_FAILURES]
    ]
    yield from _table(rows)
    yield from _more(len(failures) - _SHOWN_FAILURES)


def _more(count: int) -> list[str]:
    return [f"{_INDENT}and {count} more, see --json"] if count > 0 else []


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Align all columns but the last."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _INDENT
        + _INDENT.join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _ago(time: str, now: str) -> str:
    return f"{duration(_seconds(time, now))} ago"


def _seconds(start: str, end: str) -> float:
    # Python 3.10 does not read the Z
    moments = [
        dt.datetime.fromisoformat(time.replace("Z", "+00:00")) for time in (start, end)
    ]
    return (moments[1] - moments[0]).total_seconds()


def _count(number: int, what: str) -> str:
    return f"{number:d} {what}" if number == 1 else f"{number:d} {what}s"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


def _plain(text: object) -> str:
    return printable(str(text)[:_MAX_CHARS])
