"""The object graph of one service and one store, with or without the sample."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from allenfs.catalog.record_cache import RecordCache
from allenfs.catalog.repository import Repository
from allenfs.catalog.resolver import Catalog
from allenfs.errors import AllenFSError
from allenfs.fetch.fetcher import Fetcher
from allenfs.fetch.metrics import Activity
from allenfs.fetch.readahead import ReadAhead
from allenfs.filesystem.filesystem import Filesystem
from allenfs.filesystem.kernel_view import Handles
from allenfs.filesystem.status_reporter import StatusReporter
from allenfs.filesystem.xattrs import ExtendedAttributes
from allenfs.model.tree import LOG_FILE, STATUS_FILE
from allenfs.service.client import AllenService
from allenfs.service.slots import Slots
from allenfs.store.directory import StoreDirectory
from allenfs.store.image_files import ImageFiles
from allenfs.store.lock_files import LockFiles
from allenfs.store.record_files import RecordFiles

if TYPE_CHECKING:
    from allenfs.catalog.entries import Readable
    from allenfs.config import ServiceSettings, StoreSettings
    from allenfs.filesystem.status_reporter import Mounted
    from allenfs.sample.server import SampleService


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a mount serves from, and a command works with where nothing is mounted."""

    store: ImageFiles
    fetcher: Fetcher
    filesystem: Filesystem
    attributes: ExtendedAttributes
    store_directory: StoreDirectory
    service: AllenService

    def close(self) -> None:
        """Close idle connections.

        Downloads in progress go on: if they failed at the end of a program, the threads
        that wait for them would print errors.
        """
        self.service.close()


def assemble(
    service_settings: ServiceSettings,
    store_settings: StoreSettings,
    *,
    readahead_images: int = 0,
    mounted: Mounted | None = None,
) -> Assembly:
    """Build the object graph: reads certificates and passwords, makes no requests.

    Only a mount has status files (`.allenfs`). NetworkSettingError if the proxy,
    a bundle of certificates or ``.netrc`` cannot be used.
    """
    activity, handles = Activity(service_settings.api_url), Handles()
    store_directory = StoreDirectory(store_settings.directory)
    store = ImageFiles(store_settings, store_directory)
    service = AllenService(service_settings, on_attempt=activity.attempted)
    locks = LockFiles(store_settings, store_directory)
    slots = Slots(
        service_settings.connections,
        locks.try_lock,
        patience_s=service_settings.deadline_s,
    )
    fetcher = Fetcher(
        service,
        store,
        service_settings,
        slots=slots,
        try_lock=locks.try_lock,
        activity=activity,
    )
    records = RecordFiles(store_settings, store_directory)
    cache = RecordCache(records, service_settings)
    repository = Repository(
        service, cache, service_settings, slots, on_failure=activity.failed
    )
    catalog = Catalog(repository, cache)
    readahead = ReadAhead(
        fetcher,
        store,
        catalog.series,
        slots,
        max_window=readahead_images,
        is_out_of_reach=repository.is_out_of_reach,
    )
    own_files: dict[str, Callable[[], Readable]] = {}
    if mounted is not None:
        status = StatusReporter(
            mounted=mounted,
            service=service_settings,
            store=store_settings,
            proxy=service.proxy,
            activity=activity,
            slots=slots,
            images=store,
            records=records,
            handles=handles,
            store_directory=store_directory,
        )
        own_files = {STATUS_FILE: status.document, LOG_FILE: mounted.log.reader}
    filesystem = Filesystem(
        fetcher,
        catalog,
        max_image_bytes=service_settings.max_image_bytes,
        readahead=readahead,
        activity=activity,
        own_files=own_files,
        handles=handles,
    )
    attributes = ExtendedAttributes(
        filesystem, fetcher, repository, api_url=service_settings.api_url
    )
    return Assembly(store, fetcher, filesystem, attributes, store_directory, service)


def sample_service(port: int = 0) -> SampleService:
    """Return the service as a context manager; on any free port if `port` is 0.

    AllenFSError if an optional dependency is missing.
    """
    try:
        from allenfs.sample.server import SampleService  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise AllenFSError(
            f"the sample service needs allenfs[sample]: {error}"
        ) from error
    return SampleService(port=port)


def sample_settings(
    sample: SampleService, service: ServiceSettings, store: StoreSettings
) -> tuple[ServiceSettings, StoreSettings]:
    """Return the settings to connect to a running sample service."""
    from allenfs.sample.drawing import DRAWING_VERSION  # noqa: PLC0415 - an extra

    return (
        replace(service, api_url=sample.url, proxy=""),  # a proxy cannot reach it
        # "@": no host has this name
        replace(store, service_name=f"sample@{DRAWING_VERSION}"),
    )


@contextlib.contextmanager
def on_sample(
    service: ServiceSettings, store: StoreSettings
) -> Iterator[tuple[ServiceSettings, StoreSettings]]:
    """Run the sample service for the block; yield the settings to connect to it.

    AllenFSError if an optional dependency is missing.
    """
    with sample_service() as sample:
        yield sample_settings(sample, service, store)
