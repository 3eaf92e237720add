"""The object graphs of this process: one for all who have equal settings.

A forked child has copies of its parent's locks and downloads, but not the threads that
would release and end them. So it begins without any.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allenfs.adapters.settings import checked_store
from allenfs.assembly import assemble, sample_service, sample_settings

if TYPE_CHECKING:
    from allenfs.assembly import Assembly
    from allenfs.config import ServiceSettings, StoreSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """What an assembly is built from; with `sample`, on the embedded sample service."""

    service: ServiceSettings
    store: StoreSettings
    sample: bool
    readahead_images: int


class _Assemblies:
    """Assemblies by their settings. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Settings, Assembly] = {}
        self._stop_samples: list[Callable[[], None]] = []

    def get(self, settings: Settings) -> Assembly:
        with self._lock:
            if settings not in self._running:
                _register()
                self._running[settings] = self._started(settings)
            return self._running[settings]

    def close(self) -> None:
        with self._lock:
            while self._running:
                self._running.popitem()[1].close()
            while self._stop_samples:
                # not `close`, which ends downloads: what waits for one at the end of
                # the process would print its failure, after 3 s of retries
                self._stop_samples.pop()()

    def _started(self, settings: Settings) -> Assembly:
        service, store = settings.service, checked_store(settings.store)
        if settings.sample:
            sample = sample_service()
            sample.start()
            self._stop_samples.append(sample.stop_listening)
            service, store = sample_settings(sample, service, store)
        return assemble(service, store, readahead_images=settings.readahead_images)


_assemblies = _Assemblies()
# Kept, because an object that is destroyed closes or deletes what is the parent's.
_inherited: list[_Assemblies] = []


def assembly_of(settings: Settings) -> Assembly:
    """Return the assembly of this process with these settings; start it if needed.

    Raises UnsafeStoreError, NetworkSettingError, or AllenFSError if the sample service
    cannot be started.
    """
    return _assemblies.get(settings)


def close() -> None:
    """Forget the assemblies, with their idle connections, and stop sample services.

    Downloads under way go on. At its end, a process does this itself.
    """
    _assemblies.close()


@functools.cache
def _register() -> None:
    os.register_at_fork(after_in_child=_begin_anew)
    atexit.register(close)


def _begin_anew() -> None:
    global _assemblies  # noqa: PLW0603 - the state of this process
    _inherited.append(_assemblies)
    _assemblies = _Assemblies()
