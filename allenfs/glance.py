"""Records for listings that can do without: asked for only where it costs little.

A section's directory lists `info.json`, `nissl` and the like beside its images,
for people. A crawler goes through thousands of such directories, and a listing
of images must not wait for a service that is slow, busy or away.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from cachetools import TTLCache

from allenfs.errors import InterruptedWaitError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.archive import Archive, Held
    from allenfs.questions import Question
    from allenfs.shelf import Key
    from allenfs.turns import Turns

_Record = TypeVar("_Record")

# A live answer takes about half a second, and a directory needs up to four.
_PATIENCE_S = 5.0
_ASKING, _ASKING_S = 30, 60.0


class Glance:
    """Looks at records in passing. Safe to use from many threads.

    Asks only a service that is idle, waits 5 s at most, asks 30 questions a
    minute, and none for a while after the service was away.

    Parameters
    ----------
    archive : Archive
    turns : Turns
        Whether the service is idle.
    """

    def __init__(
        self,
        archive: Archive,
        turns: Turns,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._archive = archive
        self._turns = turns
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: TTLCache[Key, None, float] = TTLCache(
            _ASKING, _ASKING_S, timer=clock
        )

    def at(
        self, question: Question[_Record], interrupted: Callable[[], bool]
    ) -> _Record | None:
        """Return a record, however old; None where there is none at hand.

        Raises
        ------
        InterruptedWaitError
        """
        held = self._archive.kept(question)
        is_good = held is not None and self._clock() < held.good_until_s
        if not is_good and self._may_ask(question.key):
            held = self._asked_in_time(question, interrupted) or held
        return None if held is None else held.record

    def _asked_in_time(
        self, question: Question[_Record], interrupted: Callable[[], bool]
    ) -> Held[_Record] | None:
        ends_s = self._clock() + _PATIENCE_S
        try:
            return self._archive.get(
                question, lambda: interrupted() or self._clock() > ends_s
            )
        except InterruptedWaitError:
            if interrupted():
                raise
            self._archive.set_out_of_reach()
        except ServiceError:
            pass  # logged, and kept for `last_failure`
        return None

    def _may_ask(self, key: Key) -> bool:
        if self._archive.is_out_of_reach() or not self._turns.is_one_free:
            return False
        with self._lock:
            if key not in self._asked and len(self._asked) >= _ASKING:
                return False
            self._asked[key] = None
        return True
