"""The log of a mount, to a file or stderr. It never raises or blocks for long."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING

from allenfs.errors import ProcessLimitError
from allenfs.service import threads

if TYPE_CHECKING:
    from pathlib import Path

# Writing a line takes microseconds. If the file system hangs, one caller waits this
# long; later lines are queued, and dropped when the queue is full.
_TIMEOUT_S, _QUEUE_LENGTH = 1.0, 1000

# Do not block on a pipe or acquire a controlling terminal.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_FLAGS |= os.O_NONBLOCK | os.O_NOCTTY


class LogOutput(logging.Handler):
    """Writes each line immediately; drops lines that cannot be written.

    Reopens a file that was renamed (logrotate) or removed. Recreates its directory, but
    no parents: they may be on a file system that is not mounted at the moment.

    Parameters
    ----------
    file : Path or None
        None for stderr.

    Attributes
    ----------
    file : Path or None
    failure : str or None
        Why the last line could not be written, or None.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self.file = file
        self.failure: str | None = None
        self._fd: int | None = None
        self._lines: queue.Queue[tuple[bytes, threading.Event]] = queue.Queue(
            _QUEUE_LENGTH
        )
        self._writer: threading.Thread | None = None
        self._is_stuck = False
        self.setFormatter(
            logging.Formatter(
                "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
            )
        )

    def prepare(self) -> None:
        """Create the file and its parent directories; raises OSError."""
        if self.file is not None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._opened()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; if that takes long, it continues in the background."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            written = threading.Event()
            self._lines.put_nowait((line, written))
            self._start_writer()
            if not self._is_stuck and not written.wait(_TIMEOUT_S):
                self._is_stuck = True
                self.failure = "it does not respond"
        except queue.Full:
            pass  # stuck; `failure` is set
        except Exception as error:  # noqa: BLE001 - any message may fail to format
            self.failure = f"{type(error).__name__}: {error}"

    def _start_writer(self) -> None:
        if self._writer is None:
            # a daemon thread: a write that hangs must not keep the process alive
            writer = threading.Thread(target=self._write_all, daemon=True)
            try:
                threads.start(writer)
            except ProcessLimitError:
                self._write_next()  # in this thread; retry with the next line
            else:
                self._writer = writer

    def _write_all(self) -> None:
        while True:
            self._write_next()

    def _write_next(self) -> None:
        line, written = self._lines.get()
        try:
            self._write(line)
        except Exception as error:  # noqa: BLE001 - the writer thread must not end
            reason = error.strerror if isinstance(error, OSError) else None
            self.failure = reason or str(error)
            self._close()  # reopen it next time: a network file system may be back
        else:
            self.failure = None
        self._is_stuck = False
        written.set()

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if not self._is_stuck:
            self._close()
        super().close()

    def _write(self, line: bytes) -> None:
        fd = sys.stderr.fileno() if self.file is None else self._opened()
        while line:
            line = line[os.write(fd, line) :]

    def _opened(self) -> int:
        if self._fd is not None and self._is_replaced():
            self._close()
        if self._fd is None:
            assert self.file is not None
            with contextlib.suppress(FileExistsError):
                self.file.parent.mkdir(mode=0o700)
            self._fd = os.open(self.file, _FLAGS, 0o666)
        return self._fd

    def _is_replaced(self) -> bool:
        """Whether the name no longer refers to the open file."""
        assert self.file is not None
        assert self._fd is not None
        try:
            return not os.path.samestat(os.stat(self.file), os.fstat(self._fd))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # unknown: keep the open file

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)
