"""Collects the status of a mount from service, store, metrics and log."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, field, fields
from pathlib import Path
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

    `readahead_images` is the largest window. A `log_file` of None is stderr;
    `log_failure` returns why the log cannot be written, or None.
    """

    mountpoint: Path
    is_sample: bool
    log: RecentLog
    readahead_images: int = 0
    log_file: Path | None = None
    log_failure: Callable[[], str | None] | None = None


@dataclass(slots=True, kw_only=True)
class StatusReporter:
    """Collects the status of a mount. Safe to use from many threads.

    It makes no request, and needs no lock that a download holds.
    """

    mounted: Mounted
    service: ServiceSettings
    store: StoreSettings
    proxy: str | None
    activity: Activity
    slots: Slots
    images: ImageFiles
    records: RecordFiles
    handles: Sized
    store_directory: StoreDirectory
    _started_ns: int = field(default_factory=time.time_ns)
    # count and bytes of the records, and when to count again
    _counted: tuple[int, int, float] = (0, 0, -1.0)

    def document(self) -> Document:
        """Return ``status.json`` as of now."""
        return Document(self.status().to_json(), time.time_ns())

    def status(self) -> MountStatus:
        """Return the status as of now."""
        counts, mounted = self.activity.counts, self.mounted
        downloads = self.activity.downloads
        return MountStatus(
            version=__version__,
            pid=os.getpid(),
            mountpoint=str(mounted.mountpoint),
            started=utc_time(self._started_ns),
            time=utc_time(time.time_ns()),
            service=self._service_status(),
            store=self._store_status(),
            images=ImageCounts(
                **{one.name: getattr(counts, one.name) for one in fields(ImageCounts)}
            ),
            downloads=tuple(downloads),
            readahead=ReadaheadStatus(
                images=mounted.readahead_images,
                downloaded=counts.ahead,
                used=counts.ahead_used,
                under_way=sum(one.ahead for one in downloads),
            ),
            failures=tuple(self.activity.failures),
            open_files=len(self.handles),
            log=LogStatus(
                file=None if mounted.log_file is None else str(mounted.log_file),
                failure=None if mounted.log_failure is None else mounted.log_failure(),
            ),
        )

    def _service_status(self) -> ServiceStatus:
        contact, counts = self.activity.contact, self.activity.counts
        return ServiceStatus(
            url=self.service.api_url,
            name=self.store.service_name,
            is_sample=self.mounted.is_sample,
            proxy=self.proxy,
            connections=self.service.connections,
            connections_in_use=self.slots.in_use,
            waiting=self.slots.waiting,
            reachable=contact.is_reachable,
            last_answer=_time_or_none(contact.answered_ns),
            last_failure=_time_or_none(contact.failed_ns),
            last_failure_cause=contact.cause,
            requests=counts.requests,
            failed_requests=counts.failed_requests,
        )

    def _store_status(self) -> StoreStatus:
        images, directory = self.images, self.store_directory
        images.catch_up()
        records, records_bytes = self._counted_records()
        # it may have recovered without storing anything since
        failure = directory.failure and directory.check(at_once=True)
        return StoreStatus(
            directory=str(self.store.directory),
            capacity_bytes=self.store.capacity_bytes,
            used_bytes=images.used_bytes + records_bytes,
            images=images.count,
            images_bytes=images.used_bytes,
            records=records,
            records_bytes=records_bytes,
            failure=failure,
        )

    def _counted_records(self) -> tuple[int, int]:
        count, used_bytes, valid_until_s = self._counted
        if time.monotonic() >= valid_until_s:
            with contextlib.suppress(OSError):  # unreadable: keep the last count
                sizes = self.records.sizes().values()
                count = sum(number for number, _ in sizes)
                used_bytes = sum(size_bytes for _, size_bytes in sizes)
            self._counted = count, used_bytes, time.monotonic() + _COUNT_EVERY_S
        return count, used_bytes


def _time_or_none(time_ns: int | None) -> dt.datetime | None:
    return None if time_ns is None else utc_time(time_ns)
