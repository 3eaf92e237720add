"""Single flight: one thread does the work that many ask for, and all share it."""

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

# How long after a signal a waiting process dies: 0.2 s are promised. Polling 40 times
# a second costs a waiting thread about 0.1 % of a core.
_POLL_S = 0.025
# A longer time between two polls means that this process was stopped, or suspended.
_LONGEST_LOOK_S = 1.0


class SingleFlight(Generic[_Key, _Value]):
    """Work under way, by key. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[_Key, concurrent.futures.Future[_Value]] = {}
        self._unasked: set[_Key] = set()  # of those, the ones nobody waited for yet

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
            Done by one thread at a time for a key. It goes on when nobody waits for
            it any more; later callers join it.
        interrupted : callable
            Called by the waiting thread many times a second.

        Raises
        ------
        InterruptedWaitError
            `interrupted` returned True. The work goes on.
        """
        flight = self._flight(key, work)
        while not flight.done():
            concurrent.futures.wait([flight], timeout=_POLL_S)
            if interrupted() and not flight.done():
                msg = "the waiting process got a signal"
                raise InterruptedWaitError(msg)
        try:
            return flight.result()
        finally:
            # its error refers to this frame: the cycle would keep all callers' frames,
            # and the images in them, until the next garbage collection
            del flight

    def lead(self, key: _Key, work: Callable[[], _Value]) -> None:
        """Do `work` in this thread, unless it is under way.

        Nobody has asked for it yet. Callers of `run` join it meanwhile, and share its
        result or its error.
        """
        with self._lock:
            if key in self._flights:
                return
            flight = self._flights[key] = concurrent.futures.Future()
            self._unasked.add(key)
        self._work_on(key, work, flight)

    def abandon(self, key: _Key) -> bool:
        """End the work of `lead` if nobody has joined it; return whether that is so.

        For the work itself, before it gives up: nobody can join it afterwards.
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
            target=self._work_on, args=(key, work, flight), daemon=True
        )
        try:
            threads.start(thread)
        except ProcessLimitError as error:  # the next caller may try again
            self._end(key, flight)
            flight.set_exception(error)
        return flight

    def _work_on(
        self,
        key: _Key,
        work: Callable[[], _Value],
        flight: concurrent.futures.Future[_Value],
    ) -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - a waiter must not wait for ever
            self._end(key, flight)
            flight.set_exception(error)
        else:
            self._end(key, flight)
            flight.set_result(value)
        finally:
            del flight  # as in `run`

    def _end(self, key: _Key, flight: concurrent.futures.Future[_Value]) -> None:
        with self._lock:
            # after `abandon`, the key may belong to other work already
            if self._flights.get(key) is flight:
                del self._flights[key]
                self._unasked.discard(key)


class Patience:
    """A time limit that does not count while this process is stopped.

    Data that arrived meanwhile is still in its sockets, and has to be read first.

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
        """Whether the time is over; to be called many times a second."""
        now_s = self._clock()
        self._left_s -= min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        return self._left_s < 0
