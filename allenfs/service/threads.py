"""Start threads, and raise ProcessLimitError at the process limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.errors import ProcessLimitError

if TYPE_CHECKING:
    import threading


def start(thread: threading.Thread) -> None:
    """Start a thread, or raise ProcessLimitError."""
    try:
        thread.start()
    except RuntimeError as error:
        raise ProcessLimitError(str(error)) from error
