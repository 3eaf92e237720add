"""Paths from standard input, one per line, while they are still being written."""

from __future__ import annotations

import errno
import os
import re
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_S = 0.2
_CHUNK_BYTES = 2**16
_MAX_LINE_BYTES = 2**16
# `find -print0` ends names with NUL, which no path contains.
_END = re.compile(rb"\r?\n|\0")


def lines(fd: int, is_ended: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines of a stream as they arrive, except blank ones.

    Reads the file descriptor: a thread that blocks in `sys.stdin` holds its lock, and
    Python then aborts at exit.

    Parameters
    ----------
    is_ended : callable
        Polled several times a second: whether to stop reading.

    Raises
    ------
    OSError
        It cannot be read, has a line that is longer than any path, or was not read to
        its end.
    """
    rest = b""
    while not is_ended():
        if not select.select([fd], [], [], _LOOK_S)[0]:
            continue
        data = os.read(fd, _CHUNK_BYTES)
        *whole, rest = _END.split(rest + data)
        if not data:
            whole.append(rest.removesuffix(b"\r"))
        elif len(rest) > _MAX_LINE_BYTES:
            msg = "a line is longer than any path, and the rest was not read"
            raise OSError(errno.ENAMETOOLONG, msg)
        yield from (os.fsdecode(line) for line in whole if line.strip())
        if not data:
            return
    raise OSError(errno.ECANCELED, "not read to its end")
