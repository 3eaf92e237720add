"""The latest log lines, kept in memory and readable in the mount."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Iterator

from allenfs.store.stored_file import Facts
from allenfs.text import printable

KEPT_BYTES = 256 * 1024
# Maximum size of one record: a traceback of 100 calls takes 10 kB.
_MAX_LINE_CHARS = 16 * 1024
FOLLOWED_BYTES = 16 * 2**20


class RecentLog(logging.Handler):
    """Keeps the latest 256 KiB of lines. Safe to use from many threads.

    While the file is open, the bytes at an offset do not change, so that `tail -f`
    works, until it reaches 16 MiB; then it starts over, like a rotated log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()
        self._data_lock = threading.Lock()
        self._modified_ns = time.time_ns()
        self._readers: weakref.WeakSet[LogReader] = weakref.WeakSet()
        self.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        )

    @classmethod
    @contextlib.contextmanager
    def of(cls, logger: str) -> Iterator[RecentLog]:
        """Keep the lines of a logger during the block."""
        recent = cls()
        logging.getLogger(logger).addHandler(recent)
        try:
            yield recent
        finally:
            logging.getLogger(logger).removeHandler(recent)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with control characters escaped."""
        try:
            text = printable(self.format(record)[:_MAX_LINE_CHARS], keep="\n\t")
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)
            return
        with self._data_lock:
            self._data += text.encode(errors="backslashreplace") + b"\n"
            self._modified_ns = time.time_ns()
            if len(self._data) > (FOLLOWED_BYTES if self._readers else KEPT_BYTES):
                cut = self._data.index(b"\n", len(self._data) - KEPT_BYTES - 1) + 1
                del self._data[:cut]

    def reader(self) -> LogReader:
        """Return an open file of the lines."""
        reader = LogReader(self)
        with self._data_lock:
            self._readers.add(reader)
        return reader

    @property
    def facts(self) -> Facts:
        """Size so far, and the time of the last line."""
        with self._data_lock:
            return Facts(len(self._data), "", self._modified_ns, self._modified_ns)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size), or fewer at the end."""
        with self._data_lock:
            return bytes(self._data[offset : offset + size])


class LogReader:
    """The open log file; all readers see the same bytes, as the kernel has one size."""

    def __init__(self, log: RecentLog) -> None:
        self._log = log

    @property
    def facts(self) -> Facts:
        """Size so far, and the time of the last line."""
        return self._log.facts

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size), or fewer at the end."""
        return self._log.read(offset, size)
