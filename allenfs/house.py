"""Everything behind the mount, put together: one service, one store, one tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from allenfs.activity import Activity
from allenfs.archive import Archive
from allenfs.catalog import Catalog
from allenfs.fetcher import Fetcher
from allenfs.filesystem import Filesystem
from allenfs.glance import Glance
from allenfs.handles import Handles
from allenfs.own_files import OwnFiles
from allenfs.readahead import ReadAhead
from allenfs.service import AllenService
from allenfs.sheet_maker import SheetMaker
from allenfs.shelf import Shelf
from allenfs.status import Sources, Status
from allenfs.store import Store
from allenfs.tree import LOG_FILE, STATUS_FILE
from allenfs.trouble import Trouble
from allenfs.turns import Turns
from allenfs.xattrs import ExtendedAttributes

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings, StoreSettings
    from allenfs.status import Mounted


@dataclass(frozen=True, slots=True)
class House:
    """What a mount serves from, and a command works with where nothing is mounted."""

    store: Store
    fetcher: Fetcher
    filesystem: Filesystem
    attributes: ExtendedAttributes
    trouble: Trouble


def assemble(
    service_settings: ServiceSettings,
    store_settings: StoreSettings,
    *,
    readahead_images: int = 0,
    mounted: Mounted | None = None,
) -> House:
    """Build the object graph: reads certificates and passwords, makes no requests.

    Only a mount has files about itself (`.allenfs`).

    Raises
    ------
    NetworkSettingError
        The proxy, a bundle of certificates or ``.netrc`` cannot be used.
    """
    activity, handles = Activity(service_settings.api_url), Handles()
    trouble = Trouble(store_settings.directory)
    store = Store(store_settings, trouble)
    service = AllenService(service_settings, heard=activity.heard)
    turns = Turns(service_settings.connections)
    fetcher = Fetcher(
        service,
        store,
        service_settings,
        turns=turns,
        activity=activity,
        sheets=SheetMaker(service_settings),
    )
    shelf = Shelf(store_settings, trouble)
    archive = Archive(service, shelf, service_settings, turns, told=activity.failed)
    catalog = Catalog(archive, Glance(archive, turns))
    readahead = ReadAhead(
        fetcher,
        catalog.series,
        turns,
        max_window=readahead_images,
        capacity_bytes=store.capacity_bytes,
        is_out_of_reach=archive.is_out_of_reach,
    )
    own_files = None
    if mounted is not None:
        sources = Sources(activity, turns, store, shelf, handles, trouble)
        status = Status(
            mounted, service_settings, store_settings, sources, proxy=service.proxy
        )
        own_files = OwnFiles({STATUS_FILE: status.taken, LOG_FILE: mounted.log.taken})
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
        filesystem, fetcher, catalog, api_url=service_settings.api_url
    )
    return House(store, fetcher, filesystem, attributes, trouble)
