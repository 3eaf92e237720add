"""Mount options, translated for libfuse 2 and libfuse 3.

libfuse 2 takes all of them as ``-o`` options. libfuse 3 takes some as fields of the
connection, which it passes once the kernel has connected; others are always on. Its
different defaults are set to those of libfuse 2, so that both behave the same.
"""

from __future__ import annotations

import re
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
# Keep pages when only the time changes: the image is the same. readdirplus would make
# every `ls` fetch all sizes, which the kernel may then ignore: see kernel_view.py.
_UNWANTED = _AUTO_INVAL_DATA | _READDIRPLUS | _READDIRPLUS_AUTO

# Fields of the connection in libfuse 3, no longer -o options.
_NUMBERS = ("congestion_threshold", "max_background", "max_readahead")
# libfuse 3 reads asynchronously by default, and mounts on any directory; allenfs itself
# checks that it is empty.
_NO_WORDS_OF_3 = {*_NUMBERS, "async_read", "sync_read", "nonempty"}

# Since 3.12 libfuse uses at most ten threads by default, so ten stalled downloads would
# block the mount. Older versions and libfuse 2 have no limit.
_LIMITS_THREADS = (3, 12)
_THREADS = {"max_threads": "10000", "max_idle_threads": "10"}
# Since 3.17, and earlier in some distributions, libfuse reports interrupts only with
# `intr`, which also sends SIGUSR1 to the thread; its handler does nothing.
_NEEDS_INTR = (3, 15)


@dataclass(frozen=True, slots=True)
class Connection:
    """Settings for libfuse 3 once the kernel has connected.

    They are fields of ``struct fuse_conn_info``, and bits to clear in its field `want`.
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
    """Options for a libfuse: for ``-o``, and for the connection."""

    words: Mapping[str, str | bool]
    connection: Connection = Connection()


def for_libfuse(
    version: tuple[int, int], options: Mapping[str, str | bool]
) -> FuseOptions:
    """Translate options; raises MountError if a number is invalid."""
    numbers = {
        name: _number(name, options[name])
        for name in (*_NUMBERS, "max_read")
        if name in options
    }
    if version < (3, 0):
        return FuseOptions(options)
    words = {
        name: value for name, value in options.items() if name not in _NO_WORDS_OF_3
    }
    if version >= _LIMITS_THREADS:
        words |= _THREADS
    if version >= _NEEDS_INTR:
        words["intr"] = True
    unwanted = _UNWANTED | (_ASYNC_READ if "sync_read" in options else 0)
    return FuseOptions(words, Connection(numbers, unwanted))


def _number(name: str, value: str | bool) -> int:  # noqa: FBT001 - True for an option without "="
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
        number = int(value)
        if number < 2**32:
            return number
    msg = f"-o {name}: the value must be a number below 2^32"
    raise MountError(msg)
