"""Loggers that never raise."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # no generic type before Python 3.11


class SafeLogger(_Adapter):
    """Suppresses the exceptions of a logger and its handlers.

    Otherwise they would replace the error that is being logged, and change the errno.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log; `debug` to `critical` and `exception` all come here."""
        with contextlib.suppress(Exception):
            super().log(level, msg, *args, **kwargs)


def logger(name: str) -> SafeLogger:
    """Return the logger of a module."""
    return SafeLogger(logging.getLogger(name))
