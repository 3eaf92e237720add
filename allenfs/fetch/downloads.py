"""The progress of a download in flight."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from allenfs.model.images import ImageRequest
    from allenfs.store.temp_file import TempFile

WAITING, DOWNLOADING = "waiting", "downloading"
PAUSING, STORING = "pausing", "storing"


class Download(NamedTuple):
    """An image that is being downloaded.

    Attributes
    ----------
    state : str
        `WAITING` for a connection, `DOWNLOADING`, `PAUSING` before it is tried
        again, or `STORING`.
    attempt : int
        From 1; 0 as long as it waits for the first.
    size_bytes : int
        So far, of this attempt.
    total_bytes : int or None
        As the service has promised.
    elapsed_s : float
        Since it was asked for.
    is_ahead : bool
        It was begun before anybody asked for it.
    """

    path: str
    url: str
    state: str
    attempt: int
    size_bytes: int
    total_bytes: int | None
    elapsed_s: float
    is_ahead: bool


class UnderWay:
    """One download; its own thread writes, others read."""

    def __init__(
        self,
        request: ImageRequest,
        temp_file: TempFile,
        *,
        started_s: float,
        is_ahead: bool,
    ) -> None:
        self.request = request
        self.is_ahead = is_ahead
        self._temp_file = temp_file
        self._started_s = started_s
        self._state = WAITING
        self._attempt = 0

    def told(self, api_url: str, now_s: float) -> Download:
        """Return how far it is."""
        return Download(
            self.request.path,
            self.request.url(api_url),
            self._state,
            self._attempt,
            self._temp_file.size_bytes,
            self._temp_file.promised_bytes,
            now_s - self._started_s,
            self.is_ahead,
        )

    def attempts(
        self, slot: AbstractContextManager[object], ended: Callable[[int], None]
    ) -> AbstractContextManager[object]:
        """Return what is entered for each attempt instead of `slot`.

        `ended` is told the bytes of each.
        """
        return _Attempts(self, slot, ended)

    def begin(self, slot: AbstractContextManager[object]) -> None:
        """Wait for a slot, and take it."""
        self._state = WAITING
        slot.__enter__()
        self._attempt += 1
        self._state = DOWNLOADING

    def end(self, *, has_failed: bool) -> int:
        """End an attempt; return its bytes."""
        self._state = PAUSING if has_failed else STORING
        return self._temp_file.size_bytes


class _Attempts(contextlib.AbstractContextManager[None]):
    def __init__(
        self,
        download: UnderWay,
        slot: AbstractContextManager[object],
        ended: Callable[[int], None],
    ) -> None:
        self._download = download
        self._slot = slot
        self._ended = ended

    def __enter__(self) -> None:
        self._download.begin(self._slot)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._ended(self._download.end(has_failed=error is not None))
        finally:
            self._slot.__exit__(kind, error, traceback)
