"""The latest log lines, kept in memory and readable in the mount."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from allenfs.store.stored_file import Facts
from allenfs.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_BYTES = 256 * 1024
# Maximum of one record: a traceback of 100 calls has 10 kB.
_MAX_LINE_CHARS = 16 * 1024
_FOLLOWED_BYTES = 16 * 2**20
_GAP = b"(lines are missing here: there were more than could be kept)\n"


class _News(NamedTuple):
    data: bytes
    end: int
    modified_ns: int


class RecentLog(logging.Handler):
    """Keeps the latest 256 KiB of lines. Safe to use from many threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[bytes] = deque()
        self._ring_lock = threading.Lock()
        # Bytes since the start: before the first line kept, and in total.
        self._start = self._end = 0
        self._modified_ns = time.time_ns()
        self._reader: weakref.ref[LogReader] | None = None
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
        line = text.encode(errors="backslashreplace") + b"\n"
        with self._ring_lock:
            self._lines.append(line)
            self._end += len(line)
            while self._end - self._start > _KEPT_BYTES:
                self._start += len(self._lines.popleft())
            self._modified_ns = time.time_ns()

    def reader(self) -> LogReader:
        """Return a file of the lines, which can be read and followed."""
        with self._ring_lock:
            reader = self._reader() if self._reader is not None else None
        if reader is None:
            reader = LogReader(self)
            with self._ring_lock:
                # two concurrent callers each get their own
                self._reader = weakref.ref(reader)
        return reader

    def since(self, position: int | None) -> _News:
        """Return the lines since a position; all lines if it is None."""
        with self._ring_lock:
            if position == self._end:
                return _News(b"", position, self._modified_ns)
            data = b"".join(self._lines)
            if position is not None and position < self._start:
                data = _GAP + data
            elif position is not None:
                data = data[position - self._start :]
            return _News(data, self._end, self._modified_ns)


class LogReader:
    """The open log file, to which later lines are appended, so that `tail -f` works.

    All readers share one, because the kernel has one size for it. The bytes at an
    offset do not change until 16 MiB were written; then it starts over, like a rotated
    log.
    """

    def __init__(self, log: RecentLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        news = log.since(None)
        self._data, self._seen = bytearray(news.data), news.end
        self._modified_ns = news.modified_ns

    @property
    def facts(self) -> Facts:
        """Size so far, and the time of the last line."""
        with self._lock:
            self._catch_up()
            return Facts(len(self._data), "", self._modified_ns, self._modified_ns)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size), or fewer at the end."""
        with self._lock:
            self._catch_up()
            return bytes(self._data[offset : offset + size])

    def _catch_up(self) -> None:
        news = self._log.since(self._seen)
        self._data += news.data
        if len(self._data) > _FOLLOWED_BYTES:
            news = self._log.since(None)
            self._data = bytearray(news.data)
        self._seen, self._modified_ns = news.end, news.modified_ns
