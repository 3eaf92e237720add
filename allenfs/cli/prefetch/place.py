"""A tree to download from, and when to stop because service or store has failed."""

from __future__ import annotations

import errno
import functools
from typing import TYPE_CHECKING

from allenfs.config import ServiceSettings
from allenfs.errors import AllenFSError, BrokenImageError, ServiceError
from allenfs.service.health import CircuitBreaker

if TYPE_CHECKING:
    from allenfs.cli.prefetch.tree import Tree

# Single images may fail although the service works.
_FAILURES_IN_A_ROW = 4
# Longer than failures are remembered; an earlier request gets the same failure.
_PAUSE_S = ServiceSettings("").failure_memory_s + 1
# A single image that is too large does not mean that the store is full.
_UNKEPT_IN_A_ROW = 4
# Possible failures of the whole service.
_OUTAGES = (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EIO)


class Place:
    """A tree, the state of its service and of its store. Safe from many threads.

    If the service does not answer, it is retried with one request at a time, every
    `pause_s` for `patience_s`.
    """

    def __init__(
        self, tree: Tree, *, patience_s: float, pause_s: float = _PAUSE_S
    ) -> None:
        self.tree = tree
        self.breaker = CircuitBreaker(
            pause_s, threshold=_FAILURES_IN_A_ROW, patience_s=patience_s
        )
        self.reason: str | None = None  # why nothing is downloaded any more
        self._first: str | None = None
        self._unkept = 0

    def verify(self, path: str) -> None:
        """Verify a local file, and mark it as recently used."""
        if path.endswith((".jpg", ".svg")):  # documents are not in this store
            self._first = self._first or path
        self.tree.fetch(path)

    def download(self, path: str) -> int | None:
        """Download a file and return its size; None if it was not tried."""
        if self._failure_at_first:
            self._give_up(f"the store cannot be written: {self._failure_at_first}")
        while True:
            with self.breaker.turn() as may_ask:
                if not may_ask:
                    return None
                try:
                    size_bytes = self.tree.fetch(path)
                except AllenFSError as error:
                    if self.is_outage(error) and self.reason is None:
                        continue
                    raise
                self.breaker.answered()
            self._require_kept(path)
            return size_bytes

    def is_outage(self, error: AllenFSError) -> bool:
        """Record a failure; return whether the service does not answer now."""
        if error.errno not in _OUTAGES or isinstance(error, BrokenImageError):
            if isinstance(error, ServiceError):
                self.breaker.answered()
            return False
        self.breaker.failed()
        if self.breaker.is_stopped:
            self._give_up(f"the service does not answer: {error}")
        return self.breaker.is_tripped

    @functools.cached_property
    def _failure_at_first(self) -> str | None:
        """Why the store cannot be written; checked once, before the first download."""
        return self.tree.store_failure()

    def _require_kept(self, path: str) -> None:
        """Check that the store has this image, and still has the first one."""
        no_room = "the store has no room for all images"
        self._first = self._first or path
        if self.tree.local_bytes(path) is not None:
            self._unkept = 0
            if self.tree.local_bytes(self._first) is None:
                self._give_up(no_room)
            return
        self._unkept += 1
        failure = self.tree.store_failure()
        if failure:
            self._give_up(f"the store cannot be written: {failure}")
        elif self._unkept >= _UNKEPT_IN_A_ROW:
            self._give_up(no_room)
        raise AllenFSError(
            f"downloaded, but not stored: {failure or 'the store has no room for it'}"
        )

    def _give_up(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.breaker.stop()
