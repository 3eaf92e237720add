"""``status.json``: what a mount is and does, as one page of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from allenfs import __version__
from allenfs.catalog.documents import Document
from allenfs.text import iso_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sized
    from pathlib import Path

    from allenfs.config import ServiceSettings, StoreSettings
    from allenfs.fetch.downloads import Download
    from allenfs.fetch.metrics import Activity, Counts, Failure
    from allenfs.filesystem.recent_log import RecentLog
    from allenfs.service.slots import Turns
    from allenfs.store.health import Trouble

# 20 000 records take 170 ms.
_RECORDS_COUNTED_S = 10.0


@dataclass(frozen=True, slots=True)
class Mounted:
    """Where and of what a mount is.

    Attributes
    ----------
    is_sample : bool
        Its service is the embedded sample.
    log : RecentLog
        Its newest lines.
    log_file : Path or None
        Where they are written; None is stderr.
    log_failure : callable, optional
        Why they are not written, in words; None where they are.
    readahead_images : int
        How many images of a listing are downloaded ahead, at the most.
    """

    mountpoint: Path
    is_sample: bool
    log: RecentLog
    readahead_images: int = 0
    log_file: Path | None = None
    log_failure: Callable[[], str | None] | None = None


class Images(Protocol):
    """Where images are kept."""

    def catch_up(self) -> None:
        """Count what other processes have done, without waiting for them."""

    @property
    def used_bytes(self) -> int:
        """Bytes of disk that the images take."""

    @property
    def image_count(self) -> int:
        """Number of images."""


class Records(Protocol):
    """Where records are kept."""

    def usage(self) -> Iterable[tuple[int, int, object]]:
        """Go through their files: last use, bytes on disk, path."""


class Sources(NamedTuple):
    """Who knows what is told."""

    activity: Activity
    turns: Turns
    images: Images
    records: Records
    handles: Sized
    trouble: Trouble


class Status:
    """What is told of a mount. Safe to use from many threads.

    It asks nobody: neither the service, nor for a lock that a download holds.

    Parameters
    ----------
    mounted : Mounted
    service, store : settings
        As they were given.
    sources : Sources
    proxy : str or None
        What the service is asked through, without a password.
    clock, clock_ns : callable
        Monotonic seconds; nanoseconds since the epoch.
    """

    def __init__(
        self,
        mounted: Mounted,
        service: ServiceSettings,
        store: StoreSettings,
        sources: Sources,
        *,
        proxy: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._mounted = mounted
        self._service = service
        self._store = store
        self._sources = sources
        self._proxy = proxy
        self._clock = clock
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()
        # number, bytes, and until when they are not counted again
        self._records = 0, 0, -1.0

    def taken(self) -> Document:
        """Return the page as it is now."""
        # ASCII: the names of directories may be no UTF-8
        text = json.dumps(self.page(), indent=2) + "\n"
        return Document(text.encode("ascii"), self._clock_ns())

    def page(self) -> dict[str, Any]:
        """Return what ``status.json`` tells."""
        activity = self._sources.activity
        counts, downloads = activity.counts, activity.downloads
        return {
            "version": __version__,
            "pid": os.getpid(),
            "mountpoint": str(self._mounted.mountpoint),
            "started": iso_time(self._started_ns),
            "time": iso_time(self._clock_ns()),
            "service": self._service_page(counts),
            "store": self._store_page(),
            "images": {
                "hits": counts.hits,
                "misses": counts.misses,
                "failed": counts.failed,
                "read_bytes": counts.read_bytes,
                "downloads": counts.downloads,
                "downloaded_bytes": counts.downloaded_bytes,
            },
            "downloads": [_download_page(one) for one in downloads],
            "readahead": {
                "images": self._mounted.readahead_images,
                "downloaded": counts.ahead,
                "used": counts.ahead_used,
                "under_way": sum(one.is_ahead for one in downloads),
            },
            "failures": [_failure_page(one) for one in activity.failures],
            "open_files": len(self._sources.handles),
            "log": self._log_page(),
        }

    def _log_page(self) -> dict[str, Any]:
        file, failure = self._mounted.log_file, self._mounted.log_failure
        return {
            "file": None if file is None else str(file),
            "failure": None if failure is None else failure(),
        }

    def _service_page(self, counts: Counts) -> dict[str, Any]:
        contact, turns = self._sources.activity.contact, self._sources.turns
        return {
            "url": self._service.api_url,
            "name": self._store.service_name,
            "is_sample": self._mounted.is_sample,
            "proxy": self._proxy,
            "connections": self._service.connections,
            "connections_in_use": turns.taken,
            "waiting": turns.waiting,
            "reachable": contact.is_reachable,
            "last_answer": _time_or_none(contact.answered_ns),
            "last_failure": _time_or_none(contact.failed_ns),
            "last_failure_cause": contact.cause,
            "requests": counts.requests,
            "failed_requests": counts.failed_requests,
        }

    def _store_page(self) -> dict[str, Any]:
        self._sources.images.catch_up()
        records, records_bytes = self._counted_records()
        trouble = self._sources.trouble
        # the store may have recovered, with nothing stored since
        failure = trouble.failure and trouble.check(at_once=True)
        return {
            "directory": str(self._store.directory),
            "capacity_bytes": self._store.capacity_bytes,
            "used_bytes": self._sources.images.used_bytes + records_bytes,
            "images": self._sources.images.image_count,
            "images_bytes": self._sources.images.used_bytes,
            "records": records,
            "records_bytes": records_bytes,
            "failure": failure,
        }

    def _counted_records(self) -> tuple[int, int]:
        count, used_bytes, good_until_s = self._records
        if self._clock() >= good_until_s:
            with contextlib.suppress(OSError):  # unreadable: keep the last count
                usage = self._sources.records.usage()
                sizes = [size_bytes for _, size_bytes, _ in usage]
                count, used_bytes = len(sizes), sum(sizes)
            self._records = count, used_bytes, self._clock() + _RECORDS_COUNTED_S
        return count, used_bytes


def _download_page(download: Download) -> dict[str, Any]:
    return {
        "path": download.path,
        "url": download.url,
        "state": download.state,
        "attempt": download.attempt,
        "bytes": download.size_bytes,
        "total_bytes": download.total_bytes,
        "seconds": round(download.elapsed_s, 1),
        "ahead": download.is_ahead,
    }


def _failure_page(failure: Failure) -> dict[str, Any]:
    return {
        "time": iso_time(failure.time_ns),
        "path": failure.path,
        "url": failure.url or None,
        "cause": failure.cause,
        "errno": failure.errno_name,
    }


def _time_or_none(time_ns: int | None) -> str | None:
    return None if time_ns is None else iso_time(time_ns)
