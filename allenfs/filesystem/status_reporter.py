"""Collects the status of a mount from the objects that know it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allenfs import __version__
from allenfs.catalog.documents import Document
from allenfs.filesystem.status import (
    ImageCounts,
    LogStatus,
    MountStatus,
    ReadaheadStatus,
    ServiceStatus,
    StoreStatus,
)
from allenfs.text import utc_time

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sized
    from pathlib import Path

    from allenfs.config import ServiceSettings, StoreSettings
    from allenfs.fetch.metrics import Activity
    from allenfs.filesystem.recent_log import RecentLog
    from allenfs.service.slots import Slots
    from allenfs.store.directory import StoreDirectory
    from allenfs.store.image_files import ImageFiles
    from allenfs.store.record_files import RecordFiles

# Counting 20 000 records takes 170 ms.
_COUNT_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Mounted:
    """What the daemon knows about its mount.

    Attributes
    ----------
    is_sample : bool
        The service is the embedded sample.
    log : RecentLog
        The newest lines of the log.
    log_file : Path or None
        The file of the log; None is stderr.
    log_failure : callable, optional
        Returns why the log cannot be written, or None.
    readahead_images : int
        The largest read-ahead window.
    """

    mountpoint: Path
    is_sample: bool
    log: RecentLog
    readahead_images: int = 0
    log_file: Path | None = None
    log_failure: Callable[[], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """The objects that know parts of the status."""

    activity: Activity
    slots: Slots
    images: ImageFiles
    records: RecordFiles
    handles: Sized
    store_directory: StoreDirectory


class StatusReporter:
    """Collects the status of a mount. Safe to use from many threads.

    It makes no request, and waits for no lock that a download holds.
    """

    def __init__(
        self,
        mounted: Mounted,
        service: ServiceSettings,
        store: StoreSettings,
        sources: Sources,
        *,
        proxy: str | None = None,
    ) -> None:
        self._mounted = mounted
        self._service = service
        self._store = store
        self._sources = sources
        self._proxy = proxy
        self._started_ns = time.time_ns()
        # count and bytes of the records, and when to count again
        self._records = 0, 0, -1.0

    def document(self) -> Document:
        """Return ``status.json`` as of now."""
        return Document(self.status().to_json(), time.time_ns())

    def status(self) -> MountStatus:
        """Return the status as of now."""
        activity, mounted = self._sources.activity, self._mounted
        counts, downloads = activity.counts, activity.downloads
        return MountStatus(
            version=__version__,
            pid=os.getpid(),
            mountpoint=str(mounted.mountpoint),
            started=utc_time(self._started_ns),
            time=utc_time(time.time_ns()),
            service=self._service_status(counts.requests, counts.failed_requests),
            store=self._store_status(),
            images=ImageCounts(
                hits=counts.hits,
                misses=counts.misses,
                failed=counts.failed,
                read_bytes=counts.read_bytes,
                downloads=counts.downloads,
                downloaded_bytes=counts.downloaded_bytes,
            ),
            downloads=tuple(downloads),
            readahead=ReadaheadStatus(
                images=mounted.readahead_images,
                downloaded=counts.ahead,
                used=counts.ahead_used,
                under_way=sum(one.ahead for one in downloads),
            ),
            failures=tuple(activity.failures),
            open_files=len(self._sources.handles),
            log=LogStatus(
                file=None if mounted.log_file is None else str(mounted.log_file),
                failure=None if mounted.log_failure is None else mounted.log_failure(),
            ),
        )

    def _service_status(self, requests: int, failed_requests: int) -> ServiceStatus:
        contact, slots = self._sources.activity.contact, self._sources.slots
        return ServiceStatus(
            url=self._service.api_url,
            name=self._store.service_name,
            is_sample=self._mounted.is_sample,
            proxy=self._proxy,
            connections=self._service.connections,
            connections_in_use=slots.in_use,
            waiting=slots.waiting,
            reachable=contact.is_reachable,
            last_answer=_time_or_none(contact.answered_ns),
            last_failure=_time_or_none(contact.failed_ns),
            last_failure_cause=contact.cause,
            requests=requests,
            failed_requests=failed_requests,
        )

    def _store_status(self) -> StoreStatus:
        images, directory = self._sources.images, self._sources.store_directory
        images.catch_up()
        records, records_bytes = self._counted_records()
        # it may have recovered, with nothing stored since
        failure = directory.failure and directory.check(at_once=True)
        return StoreStatus(
            directory=str(self._store.directory),
            capacity_bytes=self._store.capacity_bytes,
            used_bytes=images.used_bytes + records_bytes,
            images=images.count,
            images_bytes=images.used_bytes,
            records=records,
            records_bytes=records_bytes,
            failure=failure,
        )

    def _counted_records(self) -> tuple[int, int]:
        count, used_bytes, valid_until_s = self._records
        if time.monotonic() >= valid_until_s:
            with contextlib.suppress(OSError):  # unreadable: keep the last count
                sizes = self._sources.records.sizes().values()
                count = sum(number for number, _ in sizes)
                used_bytes = sum(size_bytes for _, size_bytes in sizes)
            self._records = count, used_bytes, time.monotonic() + _COUNT_EVERY_S
        return count, used_bytes


def _time_or_none(time_ns: int | None) -> dt.datetime | None:
    return None if time_ns is None else utc_time(time_ns)
