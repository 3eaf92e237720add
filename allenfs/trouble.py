"""Trouble with a store's directory, said once."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

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
        self._is_on = False
        self._last_s: dict[int | None, float] = {}

    def say(self, error: OSError) -> None:
        """Warn of `error`, if it is the first one, and was not there a minute ago."""
        now_s = self._clock()
        last_s = self._last_s.get(error.errno)
        if not self._is_on and (last_s is None or now_s - last_s >= _OVER_S):
            log.warning("trouble with the store %s: %s", self._directory, error)
        self._is_on = True
        self._last_s[error.errno] = now_s

    def over(self) -> None:
        """Take note that something was kept."""
        self._is_on = False
