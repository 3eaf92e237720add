"""Paths that another program writes, one a line, while it still writes."""

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
# `find -print0` ends its names with NUL, which no path has in it.
_END = re.compile(rb"\r?\n|\0")


def lines(fd: int, is_ended: Callable[[], bool]) -> Iterator[str]:
    """Go through the lines of a stream as they come, but for blank ones.

    Reads the descriptor itself: a thread that waits in `sys.stdin` keeps its lock, and
    Python aborts when it exits.

    Parameters
    ----------
    is_ended : callable
        Looked at several times a second: whether to read no more.

    Raises
    ------
    OSError
        It cannot be read, or has a line that is longer than any path.
    """
    rest = b""
    while not is_ended():
        if not select.select([fd], [], [], _LOOK_S)[0]:
            continue
        data = os.read(fd, _CHUNK_BYTES)
        *whole, rest = _END.split(rest + data)
        if not data:
            whole.append(rest)
        elif len(rest) > _MAX_LINE_BYTES:
            raise OSError(errno.ENAMETOOLONG, "a line is longer than any path")
        yield from (os.fsdecode(line) for line in whole if line.strip())
        if not data:
            return
