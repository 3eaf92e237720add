"""Makes every logging call of a process raise."""

from __future__ import annotations

import logging

EXCEPTIONS: dict[str, BaseException] = {
    "OSError without errno": OSError("the log is gone"),
    "ValueError": ValueError("I/O operation on closed file"),
}


def break_logging(name: str) -> None:
    """Raise one of EXCEPTIONS wherever a record would be made; none for ``""``."""
    if not name:
        return

    def raise_it(*_: object, **__: object) -> logging.LogRecord:
        raise EXCEPTIONS[name]

    logging.getLogger("allenfs").setLevel(logging.DEBUG)  # every call shall be made
    logging.setLogRecordFactory(raise_it)
