"""One thread does what many ask for, and they share what comes of it."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from allenfs.errors import InterruptedWaitError, ProcessLimitError
from allenfs.service import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_Key = TypeVar("_Key", bound="Hashable")
_Value = TypeVar("_Value")

# A waiting process dies this long after its signal: 0.2 s is promised, and 40
# looks a second cost a waiting thread about 0.1 % of a core.
_POLL_S = 0.025
# Longer between two looks, the process itself was stopped, or suspended.
_LONGEST_LOOK_S = 1.0


class SingleFlight(Generic[_Key, _Value]):
    """Work under way, by key. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[_Key, concurrent.futures.Future[_Value]] = {}
        self._unasked: set[_Key] = set()  # of those, what nobody has waited for

    def run(
        self,
        key: _Key,
        work: Callable[[], _Value],
        interrupted: Callable[[], bool],
    ) -> _Value:
        """Return what `work` returns, or raise what it raises.

        Parameters
        ----------
        work : callable
            Done by one thread at a time for a key. It goes on when nobody waits
            any more; who comes later joins it.
        interrupted : callable
            Looked at, by the waiting thread, many times a second.

        Raises
        ------
        InterruptedWaitError
            `interrupted` said so. The work goes on.
        """
        flight = self._flight(key, work)
        while not flight.done():
            concurrent.futures.wait([flight], timeout=_POLL_S)
            if interrupted() and not flight.done():
                msg = "the waiting process got a signal"
                raise InterruptedWaitError(msg)
        return flight.result()

    def lead(self, key: _Key, work: Callable[[], _Value]) -> None:
        """Do `work` in this thread, unless it is under way.

        Nobody has asked for it yet; who does meanwhile joins it, and gets what it
        raises.
        """
        with self._lock:
            if key in self._flights:
                return
            flight = self._flights[key] = concurrent.futures.Future()
            self._unasked.add(key)
        self._fly(key, work, flight)

    def abandon(self, key: _Key) -> bool:
        """Whether nobody has asked for the work that `lead` does; nobody joins it then.

        To be called by the work itself, which may then give up.
        """
        with self._lock:
            if key not in self._unasked:
                return False
            self._unasked.remove(key)
            del self._flights[key]
            return True

    def _flight(
        self, key: _Key, work: Callable[[], _Value]
    ) -> concurrent.futures.Future[_Value]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                self._unasked.discard(key)
                return flight
            flight = self._flights[key] = concurrent.futures.Future()
        # A daemon thread: work under way must not keep the process of an
        # unmounted filesystem alive.
        thread = threading.Thread(
            target=self._fly, args=(key, work, flight), daemon=True
        )
        try:
            threads.start(thread)
        except ProcessLimitError as error:  # the next one may try again
            self._land(key, flight)
            flight.set_exception(error)
        return flight

    def _fly(
        self,
        key: _Key,
        work: Callable[[], _Value],
        flight: concurrent.futures.Future[_Value],
    ) -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - a waiter must not wait for ever
            self._land(key, flight)
            flight.set_exception(error)
        else:
            self._land(key, flight)
            flight.set_result(value)

    def _land(self, key: _Key, flight: concurrent.futures.Future[_Value]) -> None:
        with self._lock:
            # what was abandoned may be under way again, asked for
            if self._flights.get(key) is flight:
                del self._flights[key]
                self._unasked.discard(key)


class Patience:
    """How long somebody waits, not counting what this process was stopped for.

    What came meanwhile lies in its sockets, and is to be looked at first.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, patience_s: float, clock: Callable[[], float]) -> None:
        self._left_s = patience_s
        self._clock = clock
        self._looked_s = clock()

    def is_over(self) -> bool:
        """Look; to be called many times a second."""
        now_s = self._clock()
        self._left_s -= min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        return self._left_s < 0
