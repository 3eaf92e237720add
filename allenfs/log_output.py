"""Where a mount writes its log: a file, or stderr. It raises nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Not to wait for a reader of a pipe, nor become the terminal of the process.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_FLAGS |= os.O_NONBLOCK | os.O_NOCTTY


class LogOutput(logging.Handler):
    """Writes each line at once; a line that cannot be written is lost.

    Each line goes to the file that has the name at that moment: a log that was
    renamed (logrotate) or removed, alone or with its directory, begins anew.
    Directories above that one are not made again: a home that is not mounted must
    not get a double below its mountpoint.

    Parameters
    ----------
    file : Path or None
        None for stderr.

    Attributes
    ----------
    file : Path or None
    failure : str or None
        Why the last line could not be written; None where it was.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self.file = file
        self.failure: str | None = None
        self._fd: int | None = None
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
        """Write a line, or note why it cannot be written."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            self._write(line)
        except OSError as error:
            self.failure = error.strerror or str(error)
            self._close()  # a network file system may be back under the same name
        except Exception as error:  # noqa: BLE001 - whatever a message is made of
            self.failure = f"{type(error).__name__}: {error}"
        else:
            self.failure = None

    def close(self) -> None:
        """Close the file; the next line opens it again."""
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
        """Whether the name does not lead to the open file any more."""
        assert self.file is not None
        assert self._fd is not None
        try:
            return not os.path.samestat(os.stat(self.file), os.fstat(self._fd))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # it cannot be told, and what is open may be good

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)
