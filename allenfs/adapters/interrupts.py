"""Ctrl-C in programs that use ``allen://``.

KeyboardInterrupt is raised in the main thread, between any two instructions. Just after
a lock was taken, that would leave it locked for ever, so another thread does the calls
of the main thread. Other threads are not interrupted, but Python waits for those of
pools, such as zarr's, before it ends: once Ctrl-C has ended the program, their calls
fail.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from allenfs.errors import InterruptedWaitError
from allenfs.service.single_flight import Caller

_Value = TypeVar("_Value")
_Job = tuple[Callable[[], Any], "SimpleQueue[tuple[Any, BaseException | None]]"]


class _Helper(threading.Thread):
    """Does the calls of the main thread; Ctrl-C interrupts only the wait for them."""


def _is_interrupted() -> bool:
    # No public function tells whether Python is ending before it waits for pools.
    is_ending: bool = getattr(threading, "_SHUTTING_DOWN", False)
    return (
        is_ending
        and getattr(sys, "last_type", None) is KeyboardInterrupt
        and threading.current_thread() is not threading.main_thread()
        and not isinstance(threading.current_thread(), _Helper)
    )


#: interrupted when Ctrl-C has ended the program, but not its pools of threads
CALLER: Final = Caller(is_interrupted=_is_interrupted)

# If another thread receives the signal, the main thread's wait is not interrupted.
_POLL_S: Final = 0.1
# The queues of idle helpers. No lock: each step is atomic, and a helper that is lost
# between two steps only stays idle.
_idle: list[SimpleQueue[_Job]] = []
os.register_at_fork(after_in_child=_idle.clear)


def shielded(work: Callable[[], _Value]) -> _Value:
    """Return what `work` returns, or raise what it raises.

    In the main thread, Ctrl-C ends the wait, but not the work: it is done in another
    thread. InterruptedWaitError in a thread of a program that Ctrl-C has ended.
    """
    if _is_interrupted():  # also ends what a pool has not started yet
        raise InterruptedWaitError("the program was interrupted")
    if threading.current_thread() is not threading.main_thread():
        return work()
    try:
        jobs = _idle.pop() if _idle else _started()
    except RuntimeError:  # no more threads, or none at the end of the program
        return work()
    answer: SimpleQueue[tuple[_Value, BaseException | None]] = SimpleQueue()
    jobs.put((work, answer))
    while True:
        with contextlib.suppress(Empty):
            value, error = answer.get(timeout=_POLL_S)
            break
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # refers to this frame


def _started() -> SimpleQueue[_Job]:
    jobs: SimpleQueue[_Job] = SimpleQueue()
    _Helper(target=_serve, args=[jobs], name="allen", daemon=True).start()
    return jobs


def _serve(jobs: SimpleQueue[_Job]) -> None:
    while True:
        _serve_one(jobs)  # its frame keeps nothing


def _serve_one(jobs: SimpleQueue[_Job]) -> None:
    work, answer = jobs.get()
    value, failure = None, None
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - raised in the main thread
        failure = error
    _idle.append(jobs)
    answer.put((value, failure))
    del value, failure
