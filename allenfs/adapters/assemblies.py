"""The assemblies of this process, one for each settings.

A forked child has copies of its parent's locks and downloads, but not the threads that
would release or finish them. So it starts with no assemblies. It also has copies of
unfinished imports, and would wait for them as long: so downloads import nothing.
"""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.adapters.settings import checked_store
from allenfs.assembly import assemble, sample_service, sample_settings

if TYPE_CHECKING:
    from allenfs.assembly import Assembly
    from allenfs.config import ServiceSettings, StoreSettings

# Also held by a thread that forks. Reentrant for signal handlers that fork.
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Settings:
    """What an assembly is built from; with `sample`, it uses the embedded service.

    If `readahead_images` is None, images are read ahead as in a mount, but not in a
    worker process of multiprocessing or dask: it opens a part of the images that all
    workers open, and whatever it read ahead beyond that part would be wasted.
    """

    service: ServiceSettings
    store: StoreSettings
    sample: bool
    readahead_images: int | None

    @property
    def window_images(self) -> int:
        """The largest read-ahead window in this process."""
        if self.readahead_images is not None:
            return self.readahead_images
        is_worker = multiprocessing.parent_process() is not None
        return 0 if is_worker else config.DEFAULT_READAHEAD_IMAGES


class _Assemblies:
    """Assemblies by their settings. Safe to use from many threads."""

    def __init__(self) -> None:
        self._running: dict[Settings, Assembly] = {}
        self._stop_samples: list[Callable[[], None]] = []

    def get(self, settings: Settings) -> Assembly:
        # without the lock: an assembly whose store is on a file system that hangs while
        # it starts does not stop the others
        if (running := self._running.get(settings)) is not None:
            return running
        with _lock:
            if settings not in self._running:
                _prepare()
                self._running[settings] = self._started(settings)
            return self._running[settings]

    def close(self) -> None:
        with _lock:
            while self._running:
                self._running.popitem()[1].close()
            while self._stop_samples:
                # not `close`, which cuts downloads: at the end of the process, threads
                # that wait for one would print its failure, after 3 s of retries
                self._stop_samples.pop()()

    def _started(self, settings: Settings) -> Assembly:
        service, store = settings.service, checked_store(settings.store)
        if settings.sample:
            sample = sample_service()
            sample.start()
            self._stop_samples.append(sample.stop_listening)
            service, store = sample_settings(sample, service, store)
        return assemble(service, store, readahead_images=settings.window_images)


_assemblies = _Assemblies()
# Kept: destroying them takes locks that threads of the parent may have held when it
# forked, such as those of urllib3's connection pools.
_inherited: list[_Assemblies] = []


def assembly_of(settings: Settings) -> Assembly:
    """Return the assembly of this process with these settings; start it if needed.

    Raises UnsafeStoreError, NetworkSettingError, or AllenFSError if the sample service
    cannot be started.
    """
    return _assemblies.get(settings)


def close() -> None:
    """Close idle connections, forget the assemblies, and stop the sample services.

    Downloads in progress go on. Runs by itself when the process ends.
    """
    _assemblies.close()


@functools.cache
def _prepare() -> None:
    atexit.register(close)
    # 30 ms and 5 MB; without it, 3 of 14 children hung that were forked while a first
    # chunk was read
    from allenfs.fetch import sheet_page, stack_page, tiles  # noqa: F401, PLC0415


def _start_afresh() -> None:
    global _assemblies  # noqa: PLW0603 - the state of this process
    try:
        _inherited.append(_assemblies)
        _assemblies = _Assemblies()
    finally:
        _lock.release()


# At import, not at the first use: see `store/open_files.py`.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_start_afresh
)
