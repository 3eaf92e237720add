"""Whether a store's directory can be written; trouble with it is logged once."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from allenfs.store.journal import Journal
from allenfs.store.layout import Layout
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = safe_logger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Written as a check; the larger one after a lack of room, which does not end as long as
# small images fit and others do not. Nearly all images are smaller.
TRIED_BYTES, _ROOM_BYTES = 64 * 2**10, 16 * 2**20
# On a disk that is almost full small images fit and large ones do not: a success
# between two failures is no end of it.
_OVER_S = 60.0


class Trouble:
    """Warns once of each trouble, until it is over."""

    def __init__(
        self, directory: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._journal = Journal(directory, 0)  # only for the store's lock
        self._error: OSError | None = None
        self._last_s: dict[int | None, float] = {}

    @property
    def failure(self) -> str | None:
        """Why the store could not be written last time; None if it could."""
        error = self._error
        return None if error is None else reason_of(error)

    def check(self, *, at_once: bool = False) -> str | None:
        """Check that the store can be written; return why not, None if it can.

        Waits for the store's lock as long as a download would, unless `at_once`.
        """
        error = self._error
        lacked_room = error is not None and error.errno in NO_ROOM
        try:
            layout = Layout(self._directory, "")
            layout.try_out(_ROOM_BYTES if lacked_room else TRIED_BYTES)
            with self._journal.exclusive(at_once=at_once):
                pass
        except OSError as failure:
            # while this mount or another one writes, nothing new is known
            if not (at_once and isinstance(failure, BlockingIOError)):
                self.say(failure)
        else:
            self.over()
        return self.failure

    def say(self, error: OSError) -> None:
        """Warn of `error`, if it is the first one, and was not there a minute ago."""
        now_s = self._clock()
        last_s = self._last_s.get(error.errno)
        is_on = self._error is not None
        if not is_on and (last_s is None or now_s - last_s >= _OVER_S):
            log.warning("trouble with the store %s: %s", self._directory, error)
        self._error = error
        self._last_s[error.errno] = now_s

    def over(self) -> None:
        """Take note that something was kept."""
        self._error = None


def reason_of(error: OSError) -> str:
    """Return the system's message and the file or directory that it is about."""
    if error.strerror is None or not isinstance(error.filename, str):
        return error.strerror or str(error)
    directory = os.path.dirname(error.filename)
    # the names of downloads are random
    is_download = os.path.basename(directory) == "incoming"
    return f"{error.strerror}: {directory if is_download else error.filename}"
