"""The log of a mount: to a file or stderr, with or without debug messages."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
from pathlib import Path

from allenfs.errors import ProcessLimitError
from allenfs.service.single_flight import start_thread
from allenfs.text import safe_logger

log = safe_logger(__name__)

# Writing a line takes microseconds. If the file system hangs, one caller waits this
# long; later lines are queued, and dropped when the queue is full.
_TIMEOUT_S, _QUEUE_LENGTH = 1.0, 1000

# Do not block on a pipe or acquire a controlling terminal.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_FLAGS |= os.O_NONBLOCK | os.O_NOCTTY
_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
_SWITCH = signal.SIGUSR2


class LogOutput(logging.Handler):
    """Writes each line immediately; drops lines that cannot be written. Never raises.

    Reopens a file that was renamed (logrotate) or removed. Recreates its directory, but
    no parents: they may be on a file system that is not mounted at the moment.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self.file = file  # None for stderr
        self.failure: str | None = None  # why the last line could not be written
        self._fd: int | None = None
        self._lines: queue.Queue[tuple[bytes, threading.Event]] = queue.Queue(
            _QUEUE_LENGTH
        )
        self._has_writer = False
        self._is_stuck = False
        self.setFormatter(logging.Formatter(_FORMAT))

    def prepare(self) -> None:
        """Create the file and its parent directories; raises OSError."""
        if self.file is not None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._opened(self.file)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; if that takes long, it continues in the background."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            written = threading.Event()
            self._lines.put_nowait((line, written))
            if not self._has_writer:
                self._start_writer()
            if not self._is_stuck and not written.wait(_TIMEOUT_S):
                self._is_stuck = True
                self.failure = "it does not respond"
        except queue.Full:
            pass  # stuck; `failure` is set
        except Exception as error:  # noqa: BLE001 - any message may fail to format
            self.failure = f"{type(error).__name__}: {error}"

    def _start_writer(self) -> None:
        try:
            # a daemon thread: a write that hangs must not keep the process alive
            start_thread(threading.Thread(target=self._write_all, daemon=True))
            self._has_writer = True
        except ProcessLimitError:
            self._write_next()  # in this thread; retry with the next line

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if not self._is_stuck:
            self._close()
        super().close()

    def _write_all(self) -> None:
        while True:
            self._write_next()

    def _write_next(self) -> None:
        line, written = self._lines.get()
        try:
            fd = self._opened(self.file) if self.file else sys.stderr.fileno()
            while line:
                line = line[os.write(fd, line) :]
            self.failure = None
        except Exception as error:  # noqa: BLE001 - the writer thread must not end
            reason = error.strerror if isinstance(error, OSError) else None
            self.failure = reason or str(error)
            self._close()  # reopen it next time: a network file system may be back
        self._is_stuck = False
        written.set()

    def _opened(self, file: Path) -> int:
        if self._fd is not None and _is_replaced(file, self._fd):
            self._close()
        if self._fd is None:
            with contextlib.suppress(FileExistsError):
                file.parent.mkdir(mode=0o700)
            self._fd = os.open(file, _FLAGS, 0o666)
        return self._fd

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)


def _is_replaced(file: Path, fd: int) -> bool:
    """Whether the name no longer refers to the open file."""
    try:
        return not os.path.samestat(os.stat(file), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # unknown: keep the open file


def block_switch() -> None:
    """Block SIGUSR2, in this thread and those that it starts, until `follow_switch`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {_SWITCH})


def follow_switch() -> None:
    """Switch debug messages on or off at each SIGUSR2 (``kill -USR2 PID``).

    Call it before other threads start. A thread waits for the signal: Python runs no
    signal handlers while the main thread is inside libfuse.
    """

    def follow() -> None:
        root = logging.getLogger("allenfs")
        while True:
            signal.sigwait({_SWITCH})
            is_quiet = root.getEffectiveLevel() > logging.DEBUG
            root.setLevel(logging.DEBUG if is_quiet else logging.INFO)
            log.info("log level is now %s", logging.getLevelName(root.level))

    block_switch()
    start_thread(threading.Thread(target=follow, daemon=True))
