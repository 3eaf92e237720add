"""``status.json``: what a mount is and does, as one page of JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from allenfs import __version__
from allenfs.documents import Document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from allenfs.config import ServiceSettings, StoreSettings


@dataclass(frozen=True, slots=True)
class Mounted:
    """Where and of what a mount is.

    Attributes
    ----------
    is_sample : bool
        Its service is the embedded sample.
    """

    mountpoint: Path
    is_sample: bool


class Store(Protocol):
    """Where images are kept."""

    @property
    def used_bytes(self) -> int:
        """Bytes of disk that the images take."""


class Status:
    """What is told of a mount. Safe to use from many threads.

    It asks nobody: neither the service, nor for a lock that a download holds.

    Parameters
    ----------
    mounted : Mounted
    service, store : settings
        As they were given.
    images
        The store.
    clock_ns : callable
        Nanoseconds since the epoch.
    """

    def __init__(
        self,
        mounted: Mounted,
        service: ServiceSettings,
        store: StoreSettings,
        *,
        images: Store,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._mounted = mounted
        self._service = service
        self._store = store
        self._images = images
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()

    def taken(self) -> Document:
        """Return the page as it is now."""
        # ASCII: the names of directories may be no UTF-8
        text = json.dumps(self._page(), indent=2) + "\n"
        return Document(text.encode("ascii"), self._clock_ns())

    def _page(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "mountpoint": str(self._mounted.mountpoint),
            "started": iso_time(self._started_ns),
            "service": {
                "url": self._service.api_url,
                "name": self._store.service_name,
                "is_sample": self._mounted.is_sample,
                "connections": self._service.connections,
            },
            "store": {
                "directory": str(self._store.directory),
                "capacity_bytes": self._store.capacity_bytes,
                "used_bytes": self._images.used_bytes,
            },
        }


def iso_time(time_ns: int) -> str:
    """Return a time (nanoseconds since the epoch) as ISO 8601, UTC, to the second."""
    moment = dt.datetime.fromtimestamp(time_ns // 10**9, dt.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
