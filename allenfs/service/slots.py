"""Limit the requests in flight: in this process and in all that share a store."""

from __future__ import annotations

import bisect
import contextlib
import enum
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Release = Callable[[], None]
    TryLock = Callable[[str], Release | None]

# Processes poll for free slots, first after 1 ms, then less often. On average a slot is
# idle for 8 ms; a request to the live service takes half a second.
_FIRST_POLL_S, _MAX_POLL_S = 0.001, 0.016


class Priority(enum.IntEnum):
    """The lowest number goes first."""

    QUERY = 0
    IMAGE = 1
    READ_AHEAD = 2


def not_shared(_name: str) -> Release:
    """Acquire a lock that no other process uses."""
    return lambda: None


class Slots:
    """A limited number of slots, one per request. Safe to use from many threads.

    Within a process, waiting requests are ordered by priority, then by arrival. Queries
    come first: they are short, and listings wait for them. Read-ahead starts only when
    nothing else waits, and leaves one slot free for the next open until
    `let_read_ahead_fill`.

    Across processes, `try_lock` acquires one lock per slot. Each process uses the first
    `limit` of them, so that a process with a lower limit starts nothing while that
    many requests are in flight. A process that finds no free slot acquires the lock
    ``next-LIMIT``: no process with the same limit starts a request before it does.
    Otherwise a busy process would reuse its own slots before another one got any.
    Read-ahead gives way to each process that waits for one of the slots it could use,
    also to one with a lower limit.

    Parameters
    ----------
    try_lock : callable
        Acquires a lock by name and returns its release function; None if another
        process has it. By default, there are no other processes.
    patience_s : float
        If other processes have held all slots for this long, requests go ahead
        without one: the holder is not an active request any more.
    """

    def __init__(
        self,
        limit: int,
        try_lock: TryLock = not_shared,
        *,
        patience_s: float = 600,
    ) -> None:
        self.limit = limit
        self._try_lock = try_lock
        self._patience_s = patience_s
        self._locks: list[Release] = []  # of the slots in use
        self._waiting: list[tuple[Priority, int]] = []  # sorted, with arrival numbers
        self._tickets = itertools.count()
        self._changed = threading.Condition()
        self._next: Release | None = None
        self._stuck_since_s: float | None = None
        self._may_fill = False
        self._others = 0

    @property
    def is_one_free(self) -> bool:
        """Whether a request would not have to wait, or only for one read-ahead."""
        with self._changed:
            if self.waiting:
                return False
            if not self._free:
                return self._may_fill
            lock = self._lock_one(Priority.READ_AHEAD)
        if lock is not None:
            lock()
        return lock is not None

    @property
    def queue(self) -> list[Priority]:
        """The waiting requests, the next one first."""
        with self._changed:
            return [priority for priority, _ in self._waiting]

    @property
    def waiting(self) -> int:
        """How many requests wait, without read-ahead."""
        return sum(priority < Priority.READ_AHEAD for priority in self.queue)

    @property
    def in_use(self) -> int:
        """How many slots this process uses."""
        return len(self._locks)

    @property
    def others(self) -> int:
        """How many times anything but read-ahead has needed a slot.

        Of another process, only if it had to wait.
        """
        return self._others

    def let_read_ahead_fill(self, *, may_fill: bool = True) -> None:
        """Let read-ahead use all slots, or not, until anything else needs one."""
        with self._changed:
            if may_fill and not self._may_fill:
                self._changed.notify_all()
            self._may_fill = may_fill

    def at(self, priority: Priority) -> Slot:
        """Return a slot to be entered for each attempt of a request."""
        return Slot(self, priority)

    def reserve(self) -> Slot:
        """Acquire a slot for read-ahead; it is held until it is used or dropped."""
        self.acquire(Priority.READ_AHEAD)
        return Slot(self, Priority.IMAGE, is_reserved=True)

    def acquire(self, priority: Priority) -> None:
        """Wait for a slot."""
        with self._changed:
            request = priority, next(self._tickets)
            bisect.insort(self._waiting, request)
            if priority is not Priority.READ_AHEAD:
                self._keep_one_free()
            try:
                self._locks.append(self._wait(request))
            finally:
                self._waiting.remove(request)
                self._let_others_go_first()
                self._changed.notify_all()  # another request is first now

    def release(self) -> None:
        """Release a slot."""
        with self._changed:
            self._locks.pop()()
            self._changed.notify_all()

    def _wait(self, request: tuple[Priority, int]) -> Release:
        priority, poll_s = request[0], _FIRST_POLL_S
        is_ahead = priority is Priority.READ_AHEAD
        while True:
            while self._waiting[0] != request or self._free <= (
                is_ahead and not self._may_fill
            ):
                self._changed.wait()
            lock = self._lock_one(priority)
            if lock is not None:
                self._stuck_since_s = None
                return lock
            now_s = time.monotonic()
            self._stuck_since_s = self._stuck_since_s or now_s
            if now_s - self._stuck_since_s >= self._patience_s and not is_ahead:
                return not_shared("")
            self._changed.wait(poll_s)
            poll_s = min(2 * poll_s, _MAX_POLL_S)

    def _lock_one(self, priority: Priority) -> Release | None:
        """Try to lock a slot; if all are in use, this process is next."""
        if priority is Priority.READ_AHEAD:
            if self._is_another_next():
                self._keep_one_free()
                return None
        else:
            self._next = self._next or self._try_lock(f"next-{self.limit}")
            if self._next is None:
                return None
        names = map("slot-{}".format, range(self.limit))
        return next(filter(None, map(self._try_lock, names)), None)

    def _is_another_next(self) -> bool:
        """Whether a process with the same or a lower limit waits."""
        for limit in range(1, self.limit + 1):
            release = self._try_lock(f"next-{limit}")
            if release is None:
                return True
            release()
        return False

    @property
    def _free(self) -> int:
        return self.limit - self.in_use

    def _keep_one_free(self) -> None:
        self._may_fill = False
        self._others += 1

    def _let_others_go_first(self) -> None:
        if self._next is not None:
            self._next()
            self._next = None


@dataclass
class Slot(contextlib.AbstractContextManager[None]):
    """A slot for one request, held while it is entered.

    A reserved slot is already acquired; entering it the first time uses it.
    """

    slots: Slots
    priority: Priority
    is_reserved: bool = False

    def __enter__(self) -> None:
        if not self.is_reserved:
            self.slots.acquire(self.priority)
        self.is_reserved = False

    def __exit__(self, *_: object) -> None:
        self.slots.release()

    def drop(self) -> None:
        """Release a reserved slot that was not entered."""
        if self.is_reserved:
            self.is_reserved = False
            self.slots.release()
