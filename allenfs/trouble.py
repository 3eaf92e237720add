"""Whether a store's directory can be written; trouble with it is logged once."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from allenfs import safe_log
from allenfs.journal import Journal
from allenfs.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = safe_log.logger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What is tried; and what there must be room for, where there was none. That is more
# than nearly all images have: where small ones fit and others do not, it is not over.
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
        """Why nothing could be kept the last time; None where it could."""
        return None if self._error is None else reason_of(self._error)

    def check(self, *, at_once: bool = False) -> str | None:
        """Try whether something can be kept; return why not, None where it can.

        Unless `at_once`, it waits for the store's lock as whoever keeps something does.
        """
        lacked_room = self._error is not None and self._error.errno in NO_ROOM
        try:
            layout = Layout(self._directory, "")
            layout.try_out(_ROOM_BYTES if lacked_room else TRIED_BYTES)
            with self._journal.exclusive(at_once=at_once):
                pass
        except OSError as error:
            self.say(error)
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
    """Return what the system says, and of which file or directory."""
    if error.strerror is None or not isinstance(error.filename, str):
        return error.strerror or str(error)
    directory = os.path.dirname(error.filename)
    # downloads have random names
    is_download = os.path.basename(directory) == "incoming"
    return f"{error.strerror}: {directory if is_download else error.filename}"
