"""The log of a mount: a file or stderr. It never raises, and never blocks for long."""

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

# A line takes microseconds. A file system that hangs, as a network one may, costs one
# caller this long; then lines wait for it, and of too many the newest are lost.
_PATIENCE_S, _WAITING = 1.0, 1000

# Neither block on a pipe nor acquire a controlling terminal.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_FLAGS |= os.O_NONBLOCK | os.O_NOCTTY


class LogOutput(logging.Handler):
    """Writes each line at once; drops lines that cannot be written.

    Reopens a file that was renamed (logrotate) or removed, and recreates its
    directory, but no directory above: an unmounted home must not get a copy below its
    mountpoint.

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
        self._lines: queue.Queue[tuple[bytes, threading.Event]] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None
        self._is_stuck = False
        self.setFormatter(
            logging.Formatter(
                "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
            )
        )

    def prepare(self) -> None:
        """Make the file and all directories above it; raises OSError."""
        if self.file is not None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._opened()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; where that takes long, let it be written in the background."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            written = threading.Event()
            self._lines.put_nowait((line, written))
            self._start_writer()
            if not self._is_stuck and not written.wait(_PATIENCE_S):
                self._is_stuck = True
                self.failure = "it does not respond"
        except queue.Full:
            pass  # it is stuck, and `failure` is set
        except Exception as error:  # noqa: BLE001 - any message may fail to format
            self.failure = f"{type(error).__name__}: {error}"

    def _start_writer(self) -> None:
        if self._writer is None:
            # a daemon: a write that hangs must not keep the process alive
            writer = threading.Thread(target=self._write_all, daemon=True)
            try:
                threads.start(writer)
            except ProcessLimitError:
                self._write_next()  # here; the next line may find a thread
            else:
                self._writer = writer

    def _write_all(self) -> None:
        while True:
            self._write_next()

    def _write_next(self) -> None:
        line, written = self._lines.get()
        try:
            self._write(line)
        except Exception as error:  # noqa: BLE001 - the thread that writes must not end
            reason = error.strerror if isinstance(error, OSError) else None
            self.failure = reason or str(error)
            self._close()  # a network file system may have come back
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
        if self._fd is not None and self._has_gone():
            self._close()
        if self._fd is None:
            assert self.file is not None
            with contextlib.suppress(FileExistsError):
                self.file.parent.mkdir(mode=0o700)
            self._fd = os.open(self.file, _FLAGS, 0o666)
        return self._fd

    def _has_gone(self) -> bool:
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
