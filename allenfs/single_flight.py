"""One thread does what many ask for, and they share what comes of it."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from allenfs.errors import InterruptedWaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_Key = TypeVar("_Key", bound="Hashable")
_Value = TypeVar("_Value")

# A waiting process dies this long after its signal: 0.2 s is promised, and 40
# looks a second cost a waiting thread about 0.1 % of a core.
_POLL_S = 0.025


class SingleFlight(Generic[_Key, _Value]):
    """Work under way, by key. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[_Key, concurrent.futures.Future[_Value]] = {}

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

    def _flight(
        self, key: _Key, work: Callable[[], _Value]
    ) -> concurrent.futures.Future[_Value]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight
            flight = self._flights[key] = concurrent.futures.Future()
        # A daemon thread: work under way must not keep the process of an
        # unmounted filesystem alive.
        thread = threading.Thread(
            target=self._fly, args=(key, work, flight), daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: the next one may try again
            self._land(key)
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
            self._land(key)
            flight.set_exception(error)
        else:
            self._land(key)
            flight.set_result(value)

    def _land(self, key: _Key) -> None:
        with self._lock:
            del self._flights[key]
