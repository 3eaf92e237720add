"""What the options of a mount are to libfuse 2 and to libfuse 3.

libfuse 2 takes all of them as ``-o`` words. libfuse 3 has some of them in the
connection that it hands over once the kernel has answered, does by itself what
others ask for, and begins with settings of its own, which are set to what
libfuse 2 does: the promises are the same over both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allenfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Mapping

# FUSE_CAP_* of libfuse 3's fuse_common.h
_ASYNC_READ = 1 << 0
_AUTO_INVAL_DATA = 1 << 12
_READDIRPLUS = 1 << 13
_READDIRPLUS_AUTO = 1 << 14
# Pages are dropped when the size changes, and not for another time of the same
# image. A listing that brings sizes asks for each of them at every `ls`, and the
# kernel may leave aside what it was told so: see kernel_view.py.
_UNWANTED = _AUTO_INVAL_DATA | _READDIRPLUS | _READDIRPLUS_AUTO

# Of the connection in libfuse 3, and no words any more.
_NUMBERS = ("congestion_threshold", "max_background", "max_readahead")
# The kernel's word, which has to be the connection's number, too.
_MAX_READ = "max_read"
# async_read is what libfuse 3 does.
_READS = ("async_read", "sync_read")
# libfuse 3 mounts over anything: allenfs looks itself whether it may.
_NEEDLESS = ("nonempty",)

# Since 3.12 libfuse serves with ten threads, which as many stalled downloads would
# hold up; before it, and in libfuse 2, there is no limit.
_LIMITS_THREADS = (3, 12)
_THREADS = {"max_threads": "10000", "max_idle_threads": "10"}
# Since 3.17, and by some distributions before, libfuse refuses to hear of signals of
# who waits unless it may send one of its own to the thread: SIGUSR1, that does nothing.
_HAS_TO_BE_ASKED = (3, 15)
_INTERRUPTS: dict[str, str | bool] = {"intr": True}


@dataclass(frozen=True, slots=True)
class Connection:
    """What libfuse 3 is told when the kernel has answered.

    Attributes
    ----------
    numbers : mapping of str to int
        Fields of ``struct fuse_conn_info``.
    unwanted : int
        Bits that its field ``want`` shall not have.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    unwanted: int = 0

    def apply(self, info: Any) -> None:
        """Set the fields of a ``struct fuse_conn_info``."""
        for name, number in self.numbers.items():
            setattr(info, name, number)
        info.want &= ~self.unwanted


@dataclass(frozen=True, slots=True)
class FuseOptions:
    """Options as a libfuse takes them: ``-o`` words, and the connection's."""

    words: Mapping[str, str | bool]
    connection: Connection = Connection()


def for_libfuse(
    version: tuple[int, int], options: Mapping[str, str | bool]
) -> FuseOptions:
    """Sort options by where a libfuse of this version takes them.

    Raises
    ------
    MountError
        A number that is none.
    """
    numbers = {
        name: _number(name, options[name])
        for name in (*_NUMBERS, _MAX_READ)
        if name in options
    }
    if version < (3, 0):
        return FuseOptions(options)
    elsewhere = (*_NUMBERS, *_NEEDLESS, *_READS)
    words = {name: value for name, value in options.items() if name not in elsewhere}
    if version >= _LIMITS_THREADS:
        words |= _THREADS
    if version >= _HAS_TO_BE_ASKED:
        words |= _INTERRUPTS
    unwanted = _UNWANTED | (_ASYNC_READ if "sync_read" in options else 0)
    return FuseOptions(words, Connection(numbers, unwanted))


def _number(name: str, value: str | bool) -> int:  # noqa: FBT001 - a word without "="
    if isinstance(value, str) and value.isascii() and value.isdigit():
        number = int(value)
        if number < 2**32:
            return number
    msg = f"-o {name}: not a number below 2^32"
    raise MountError(msg)
