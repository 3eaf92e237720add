"""The status of a mount as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.text import duration, printable, size

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    from allenfs.filesystem.status import (
        DownloadStatus,
        FailureStatus,
        ImageCounts,
        LogStatus,
        MountStatus,
        ReadaheadStatus,
        ServiceStatus,
        StoreStatus,
    )

_SHOWN_DOWNLOADS = 10
_SHOWN_FAILURES = 5
_STATES = {
    "waiting": "waiting for a connection",
    "pausing": "waiting to retry",
    "storing": "being stored",
}
_INDENT = "  "
_MAX_CHARS = 300


def page(status: MountStatus) -> list[str]:
    """Return the lines; text from the mount is escaped, as it may be hostile."""
    service, store = status.service, status.store
    source = "the sample service" if service.is_sample else service.url
    rows = [
        ("service", _service(service, status.time)),
        *([("proxy", _plain(service.proxy))] if service.proxy else []),
        ("connections", _connections(service)),
        ("store", _store(store)),
        ("", _plain(store.directory)),
        ("opened", _opened(status.images)),
        ("downloaded", _downloaded(status.images)),
        ("read ahead", _readahead(status.readahead)),
        *([("log", _log(status.log))] if status.log else []),
        ("running", _running(status)),
    ]
    lines = [f"{_plain(status.mountpoint)}: {_plain(source)}", *_table(rows)]
    if status.downloads:
        lines += ["", "downloading", *_downloads(status.downloads)]
    if status.failures:
        lines += ["", "last failures", *_failures(status.failures, status.time)]
    return lines


def _service(service: ServiceStatus, now: dt.datetime) -> str:
    if service.reachable is None:
        return "no request yet"
    if service.reachable:
        text = f"reachable, last answer {_ago(service.last_answer, now)}"
    else:
        cause = _plain(service.last_failure_cause)
        text = f"NOT reachable, {_ago(service.last_failure, now)}: {cause}"
    failed = f", {service.failed_requests} failed" if service.failed_requests else ""
    return f"{text}; {_count(service.requests, 'request')}{failed}"


def _connections(service: ServiceStatus) -> str:
    text = f"{service.connections_in_use} of {service.connections} in use"
    waiting = service.waiting
    return f"{text}, {_count(waiting, 'request')} waiting" if waiting else text


def _store(store: StoreStatus) -> str:
    used, capacity = store.used_bytes, store.capacity_bytes
    text = f"{size(used)} of {size(capacity)} used ({_percent(used, capacity)})"
    text += f": {_count(store.images, 'image')}, {_count(store.records, 'record')}"
    if store.failure:
        return f"CANNOT BE WRITTEN: {_plain(store.failure)}; {text}"
    return text


def _opened(images: ImageCounts) -> str:
    text = _count(images.hits + images.misses, "image")
    text += f": {images.hits} from the store, {images.misses} after a download"
    return f"{text}; {images.failed} failed" if images.failed else text


def _downloaded(images: ImageCounts) -> str:
    return f"{_count(images.downloads, 'image')}, {size(images.downloaded_bytes)}"


def _readahead(readahead: ReadaheadStatus) -> str:
    if not readahead.images:
        return "off"
    text = f"{_count(readahead.downloaded, 'image')}, {readahead.used} used"
    running = readahead.under_way
    return f"{text}, {running} running" if running else text


def _log(log: LogStatus) -> str:
    file = _plain(log.file or "stderr")
    if log.failure is None:
        return file
    return f"{file} CANNOT BE WRITTEN: {_plain(log.failure)}"


def _running(status: MountStatus) -> str:
    for_s = (status.time - status.started).total_seconds()
    return (
        f"for {duration(for_s)}: process {status.pid}, allenfs {_plain(status.version)}"
    )


def _downloads(downloads: tuple[DownloadStatus, ...]) -> Iterator[str]:
    rows = [
        (_plain(one.path), _progress(one), duration(one.seconds), _notes(one))
        for one in downloads[:_SHOWN_DOWNLOADS]
    ]
    yield from _table(rows)
    yield from _more(len(downloads) - _SHOWN_DOWNLOADS)


def _progress(download: DownloadStatus) -> str:
    so_far, total = download.bytes, download.total_bytes
    if total:
        return f"{size(so_far)} of {size(total)} ({_percent(so_far, total)})"
    return size(so_far)


def _notes(download: DownloadStatus) -> str:
    notes = [_STATES[download.state]] if download.state in _STATES else []
    if download.attempt > 1:
        notes.append(f"attempt {download.attempt}")
    if download.ahead:
        notes.append("read ahead")
    return ", ".join(notes)


def _failures(failures: tuple[FailureStatus, ...], now: dt.datetime) -> Iterator[str]:
    rows = [
        (
            _ago(one.time, now),
            _plain(one.path),
            f"{_plain(one.cause)} ({_plain(one.errno)})",
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


def _ago(time: dt.datetime | None, now: dt.datetime) -> str:
    if time is None:
        return "at an unknown time"
    return f"{duration((now - time).total_seconds())} ago"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 100:.0f} %"


def _plain(text: object) -> str:
    return printable(str(text)[:_MAX_CHARS])
