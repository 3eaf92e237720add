"""Translate exceptions of operations into errnos, and log them."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

from allenfs.errors import AllenFSError, ProcessLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.text import SafeLogger

# A limit affects many operations at the same time.
_LIMIT_WARNING_EVERY_S = 60.0


class Translator:
    """Turns any exception into an errno. Safe to use from many threads."""

    def __init__(
        self, log: SafeLogger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        self._next_warning_s = -math.inf

    def errno_of(
        self, error: BaseException, operation: str, arguments: tuple[object, ...]
    ) -> int:
        """Return the errno for `error`, and log it; never raises."""
        # an exception that escapes becomes a success with no bytes
        with contextlib.suppress(BaseException):
            self._log_error(error, operation, arguments)
        return error.errno if isinstance(error, AllenFSError) else AllenFSError.errno

    def _log_error(
        self, error: BaseException, operation: str, arguments: tuple[object, ...]
    ) -> None:
        is_limit = isinstance(error, ProcessLimitError)
        if is_limit and self._clock() >= self._next_warning_s:
            self._next_warning_s = self._clock() + _LIMIT_WARNING_EVERY_S
            self._log.warning("%s", error)
        elif isinstance(error, AllenFSError):
            self._log.debug("%s %r: %s", operation, arguments, error)
        else:
            self._log.error("%s %r: a bug", operation, arguments, exc_info=error)
