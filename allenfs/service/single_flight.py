"""Single flight: one thread does the work, and all callers share the result."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, NamedTuple, TypeVar

from allenfs.errors import InterruptedWaitError, ProcessLimitError, WaitTimeoutError

_Key = TypeVar("_Key", bound="Hashable")
_Value = TypeVar("_Value")

# How long after a signal a waiting process dies: 0.2 s are promised. Polling 40 times
# a second costs a waiting thread about 0.1 % of a core.
_POLL_S = 0.025
# A longer time between two polls means that this process was stopped or suspended.
_LONGEST_LOOK_S = 1.0


def _never() -> bool:
    return False


class Caller(NamedTuple):
    """The thread of a program that waits for an operation.

    Attributes
    ----------
    thread_id : int
        As the kernel reports it; 0 if there is none.
    is_interrupted : callable
        Whether it got a signal; polled by the thread that serves the operation.
    """

    thread_id: int = 0
    is_interrupted: Callable[[], bool] = _never


NOT_INTERRUPTED = Caller()


def start_thread(thread: threading.Thread) -> None:
    """Start a thread, or raise ProcessLimitError."""
    try:
        thread.start()
    except RuntimeError as error:
        raise ProcessLimitError(str(error)) from error


class SingleFlight(Generic[_Key, _Value]):
    """Work in progress, by key. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._flights: dict[_Key, Future[_Value]] = {}
        self._not_joined: set[_Key] = set()  # of `lead`

    def run(
        self,
        key: _Key,
        work: Callable[[], _Value],
        caller: Caller,
        patience_s: float = math.inf,
    ) -> _Value:
        """Return what `work` returns, or raise what it raises.

        One thread at a time works for a key. It goes on when no caller waits any more;
        later callers join it.

        `patience_s` is the longest time to wait. Time while this process is stopped
        does not count: data that arrived meanwhile is still in socket buffers, and read
        first. After InterruptedWaitError and WaitTimeoutError, the work goes on.
        """
        flight = self.start(key, work)
        left_s, looked_s = patience_s, self._clock()
        while not flight.done():
            wait([flight], timeout=_POLL_S)
            if caller.is_interrupted() and not flight.done():
                raise InterruptedWaitError("the waiting process got a signal")
            now_s = self._clock()
            left_s -= min(now_s - looked_s, _LONGEST_LOOK_S)
            looked_s = now_s
            if left_s < 0 and not flight.done():
                raise WaitTimeoutError(f"still in progress after {patience_s} s")
        try:
            return flight.result()
        finally:
            # its error refers to this frame: the cycle would keep all callers' frames,
            # and the images in them, until the next garbage collection
            del flight

    def start(self, key: _Key, work: Callable[[], _Value]) -> Future[_Value]:
        """Return the work in progress, or start it in a new thread.

        Without a thread, its exception is ProcessLimitError.
        """
        with self._lock:
            if key in self._flights:
                self._not_joined.discard(key)
                return self._flights[key]
            flight = self._flights[key] = Future()
        work_on = functools.partial(self._work_on, key, work, flight)
        try:
            # a daemon thread does not keep the process alive after unmounting
            start_thread(threading.Thread(target=work_on, daemon=True))
        except ProcessLimitError as error:  # the next caller may retry
            self._end(key, flight)
            flight.set_exception(error)
        return flight

    def lead(self, key: _Key, work: Callable[[], _Value]) -> BaseException | None:
        """Do `work` in this thread, unless it is already in progress.

        Callers of `run` can join it, and share its result or its error, which is
        returned here.
        """
        with self._lock:
            if key in self._flights:
                return None
            flight = self._flights[key] = Future()
            self._not_joined.add(key)
        self._work_on(key, work, flight)
        return flight.exception()

    def abandon(self, key: _Key) -> bool:
        """End the work of `lead` unless a caller joined it; return whether it ended.

        To be called by the work, before it gives up: no caller can join it afterwards.
        """
        with self._lock:
            if key not in self._not_joined:
                return False
            self._not_joined.remove(key)
            del self._flights[key]
            return True

    def _work_on(
        self, key: _Key, work: Callable[[], _Value], flight: Future[_Value]
    ) -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - nobody must wait for ever
            self._end(key, flight)
            flight.set_exception(error)
        else:
            self._end(key, flight)
            flight.set_result(value)
        finally:
            del flight  # as in `run`

    def _end(self, key: _Key, flight: Future[_Value]) -> None:
        with self._lock:
            # after `abandon`, the key may belong to other work already
            if self._flights.get(key) is flight:
                del self._flights[key]
                self._not_joined.discard(key)
