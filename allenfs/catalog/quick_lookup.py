"""Optional records for listings: requested only if that is cheap.

A section's directory lists `info.json`, `nissl` and the like beside its images, for
people. Crawlers read thousands of such directories, and a listing of images must not
wait for a service that is slow, busy or unreachable.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from cachetools import TTLCache

from allenfs.errors import ProcessLimitError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.queries import Question
    from allenfs.catalog.repository import Repository
    from allenfs.service.single_flight import Caller
    from allenfs.service.slots import Slots

_Record = TypeVar("_Record")

# The live service answers in about half a second; a directory needs up to four answers.
_PATIENCE_S = 5.0
# More than a person opens; further listings of a crawler omit the optional names.
_DIRECTORIES, _AN_HOUR_S = 300, 3600.0


class QuickLookup:
    """Looks up optional records. Safe to use from many threads.

    Queries the service only if it is idle, waits 5 s at most, queries for at most 300
    directories an hour, and for none for a while after the service was unreachable.
    """

    def __init__(
        self,
        repository: Repository,
        slots: Slots,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._slots = slots
        self._lock = threading.Lock()
        self._queried: TTLCache[int, None, float] = TTLCache(
            _DIRECTORIES, _AN_HOUR_S, timer=clock
        )

    def at(
        self, question: Question[_Record], image_id: int, caller: Caller
    ) -> _Record | None:
        """Return a record of any age for an image's directory; None without one."""
        cache = self._repository.cache
        cached = cache.any(question)
        if (cached is None or not cache.is_fresh(cached)) and self._may_query(image_id):
            # without it, the listing omits names
            with contextlib.suppress(ServiceError, ProcessLimitError):
                cached = self._repository.get(question, caller, _PATIENCE_S)
        return None if cached is None else cached.record

    def _may_query(self, image_id: int) -> bool:
        if self._repository.is_out_of_reach() or not self._slots.is_one_free:
            return False
        with self._lock:
            if image_id not in self._queried and len(self._queried) >= _DIRECTORIES:
                return False
            self._queried[image_id] = None
        return True
