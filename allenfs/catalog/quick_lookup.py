"""Optional records for listings: requested only if that is cheap.

A section's directory lists `info.json`, `nissl` and the like beside its images, for
people. Crawlers read thousands of such directories, and a listing of images must not
wait for a service that is slow, busy or unreachable.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from cachetools import TTLCache

from allenfs.errors import InterruptedWaitError, ProcessLimitError, ServiceError
from allenfs.service.single_flight import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.queries import Question
    from allenfs.catalog.record_cache import Held
    from allenfs.catalog.repository import Repository
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

    Parameters
    ----------
    repository : Repository
    slots : Slots
        Whether the service is idle.
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
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: TTLCache[int, None, float] = TTLCache(
            _DIRECTORIES, _AN_HOUR_S, timer=clock
        )

    def at(
        self,
        question: Question[_Record],
        image_id: int,
        interrupted: Callable[[], bool],
    ) -> _Record | None:
        """Return a record of any age; None if none is available.

        Parameters
        ----------
        image_id : int
            The image whose directory is listed.

        Raises
        ------
        InterruptedWaitError
        """
        cache = self._repository.cache
        held = cache.any(question)
        if (held is None or not cache.is_fresh(held)) and self._may_ask(image_id):
            held = self._asked_in_time(question, interrupted) or held
        return None if held is None else held.record

    def _asked_in_time(
        self, question: Question[_Record], interrupted: Callable[[], bool]
    ) -> Held[_Record] | None:
        patience = Patience(_PATIENCE_S, self._clock)
        try:
            return self._repository.get(
                question, lambda: interrupted() or patience.is_over()
            )
        except InterruptedWaitError:
            if interrupted():
                raise
            self._repository.set_out_of_reach()
        except (ServiceError, ProcessLimitError):
            pass  # the listing omits it
        return None

    def _may_ask(self, image_id: int) -> bool:
        if self._repository.is_out_of_reach() or not self._slots.is_one_free:
            return False
        with self._lock:
            if image_id not in self._asked and len(self._asked) >= _DIRECTORIES:
                return False
            self._asked[image_id] = None
        return True
