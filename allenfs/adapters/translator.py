"""Translate exceptions of operations into errnos, and log them."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator

from allenfs.errors import AllenFSError, ProcessLimitError
from allenfs.text import safe_logger

log = safe_logger(__name__)

# At a resource limit many operations fail at the same time: log only one.
_LIMIT_WARNING_EVERY_S = 60.0


class Translator:
    """Turns any exception into an errno. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_warning_s = -math.inf

    def errno_of(self, error: BaseException, operation: str, path: object) -> int:
        """Return the errno for `error`, and log it; never raises."""
        # an exception that escapes becomes a success with no bytes
        with contextlib.suppress(BaseException):
            self._log(error, operation, path)
        return error.errno if isinstance(error, AllenFSError) else AllenFSError.errno

    @contextlib.contextmanager
    def os_errors(self, operation: str, path: str) -> Iterator[None]:
        """Turn any exception in the block into an OSError with the reason as its text.

        Exceptions that end a program, such as KeyboardInterrupt, pass unchanged.
        """
        try:
            yield
        except Exception as error:
            is_bug = not isinstance(error, AllenFSError)
            reason = f"a bug in allenfs: {error!r}" if is_bug else str(error)
            number = self.errno_of(error, operation, path)
            raise OSError(number, reason, path) from error

    def _log(self, error: BaseException, operation: str, path: object) -> None:
        is_limit = isinstance(error, ProcessLimitError)
        if is_limit and self._clock() >= self._next_warning_s:
            self._next_warning_s = self._clock() + _LIMIT_WARNING_EVERY_S
            log.warning("%s", error)
            return
        path = os.fsdecode(path) if isinstance(path, bytes) else path
        if isinstance(error, AllenFSError):
            log.debug("%s %r: %s", operation, path, error)
        else:
            log.error("%s %r: a bug", operation, path, exc_info=error)
