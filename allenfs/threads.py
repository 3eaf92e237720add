"""Threads, of which a user or a container may have only so many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.errors import ProcessLimitError

if TYPE_CHECKING:
    import threading


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises
    ------
    ProcessLimitError
        The limit is reached. Nothing was started.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise ProcessLimitError(str(error)) from error
