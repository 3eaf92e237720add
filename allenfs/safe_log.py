"""Loggers whose calls raise nothing: a log that fails must fail nothing else."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # no generic type before Python 3.11


class SafeLogger(_Adapter):
    """Passes everything on to a logger, and drops what that raises.

    Without it, an exception of a handler would replace the one that is being
    logged, and an operation would fail with the wrong errno.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log; `debug` to `critical` and `exception` all come here."""
        with contextlib.suppress(Exception):
            super().log(level, msg, *args, **kwargs)


def logger(name: str) -> SafeLogger:
    """Return the logger of a module."""
    return SafeLogger(logging.getLogger(name))
