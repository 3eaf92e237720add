"""The newest lines of the log, kept in memory to be read from the mount."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import VanishedError
from allenfs.labels import without_controls
from allenfs.sealed import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_BYTES = 256 * 1024
# Of one line: a traceback of 100 calls has 10 kB.
_MAX_LINE_CHARS = 16 * 1024
# Who follows the log for days can go back so far.
_FOLLOWED_BYTES = 4 * _KEPT_BYTES
_GAP = b"(lines are missing here: there were more than could be kept)\n"


class _News(NamedTuple):
    data: bytes
    end: int
    modified_ns: int


class RecentLog(logging.Handler):
    """Keeps the newest lines, 256 KiB of them. Safe to use from many threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[bytes] = deque()
        self._ring_lock = threading.Lock()
        # Bytes since the beginning: up to the first line that is kept, and in all.
        self._start = self._end = 0
        self._modified_ns = time.time_ns()
        self.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        )

    @classmethod
    @contextlib.contextmanager
    def of(cls, logger: str) -> Iterator[RecentLog]:
        """Keep the lines of a logger for the block."""
        kept = cls()
        logging.getLogger(logger).addHandler(kept)
        try:
            yield kept
        finally:
            logging.getLogger(logger).removeHandler(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; others' words in it cannot move a terminal's cursor."""
        try:
            text = without_controls(self.format(record)[:_MAX_LINE_CHARS])
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

    def taken(self) -> LogReader:
        """Return the lines as they are now, to be read, and followed."""
        return LogReader(self)

    def since(self, position: int | None) -> _News:
        """Return what came since a position; all that is kept where it is None."""
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
    """The log, as somebody who opened it reads it: what comes later is behind it.

    The bytes at an offset are always the same ones; `tail -f` works.
    """

    def __init__(self, log: RecentLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        news = log.since(None)
        self._data, self._seen = bytearray(news.data), news.end
        self._dropped_bytes = 0
        self._modified_ns = news.modified_ns

    @property
    def facts(self) -> Facts:
        """Size so far, and the time of the last line."""
        with self._lock:
            self._catch_up()
            size_bytes = self._dropped_bytes + len(self._data)
            return Facts(size_bytes, "", self._modified_ns, self._modified_ns)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size), as far as there are some.

        Raises
        ------
        VanishedError
            They are long gone: four times what is kept has come since.
        """
        with self._lock:
            self._catch_up()
            start = offset - self._dropped_bytes
            if start < 0:
                msg = f"the log's bytes before {self._dropped_bytes}"
                raise VanishedError(msg)
            return bytes(self._data[start : start + size])

    def _catch_up(self) -> None:
        news = self._log.since(self._seen)
        self._data += news.data
        self._seen, self._modified_ns = news.end, news.modified_ns
        late_bytes = len(self._data) - _FOLLOWED_BYTES
        if late_bytes > 0:
            del self._data[:late_bytes]
            self._dropped_bytes += late_bytes
