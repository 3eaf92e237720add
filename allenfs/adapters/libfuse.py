"""Which libfuse to mount with, and mount options translated for it.

libfuse 2 is used if it is installed, else libfuse 3; or the one set in the environment.

libfuse 2 takes all options after ``-o``. In libfuse 3 some are fields of the
connection, which it passes once the kernel has connected; others are always on. Where
its defaults differ, those of libfuse 2 are set, so that both behave the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from allenfs.errors import MountError

# 2 or 3, if both are installed
VERSION_VARIABLE = "ALLENFS_FUSE"
# Both bindings use it; without it they run a compiler to search for the library.
PATH_VARIABLE = "FUSE_LIBRARY_PATH"

# Names for the loader: that of libfuse 3 changed with 3.17.
_NAMES = {2: ("libfuse.so.2",), 3: ("libfuse3.so.3", "libfuse3.so.4")}
_PACKAGES = {
    2: "libfuse2 (libfuse2t64 since Debian 13 and Ubuntu 24.04, fuse-libs on Fedora, "
    "fuse2 on Arch)",
    3: "fuse3 (on Debian, Ubuntu, Fedora and Arch)",
}
# Both bindings have the right `struct stat` for these: tests compare it with the
# kernel's.
_MACHINES = ("x86_64", "aarch64")

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


class Libfuse(NamedTuple):
    """A libfuse that can be loaded: a path, or a name for the loader, and version."""

    path: str
    version: tuple[int, int]

    @property
    def major(self) -> int:
        """2 or 3."""
        return self.version[0]

    def __str__(self) -> str:
        return "libfuse {}.{}".format(*self.version)


def chosen(environ: Mapping[str, str]) -> Libfuse:
    """Return the libfuse to mount with.

    Raises MountError, which names the packages, if none is installed, or if the one
    chosen in `environ` is not.
    """
    wanted = environ.get(VERSION_VARIABLE) or ""
    if wanted not in ("", "2", "3"):
        raise MountError(
            f"{VERSION_VARIABLE} must be 2 or 3, the libfuse to use, not {wanted!r}"
        )
    majors = [int(wanted)] if wanted else [2, 3]
    path = environ.get(PATH_VARIABLE)
    if path:
        return _at_path(path, majors)
    for name in (name for major in majors for name in _NAMES[major]):
        with contextlib.suppress(OSError, AttributeError):
            return _loaded(name)
    either = " nor ".join(f"libfuse {major}" for major in majors)
    packages = " or ".join(_PACKAGES[major] for major in reversed(majors))
    raise MountError(
        f"this machine has {'no' if wanted else 'neither'} {either}: install the "
        f"package {packages}"
    )


def _at_path(path: str, majors: list[int]) -> Libfuse:
    try:
        found = _loaded(path)
    except (OSError, AttributeError) as error:
        raise MountError(
            f"{PATH_VARIABLE} is not a libfuse ({str(error)!r}): unset it, or "
            f"install the package {_PACKAGES[2]} or {_PACKAGES[3]}"
        ) from error
    if found.major not in majors:
        either = " or ".join(map(str, majors))
        raise MountError(
            f"{VERSION_VARIABLE} is {either}, but {PATH_VARIABLE} is {found}"
        )
    return found


def _loaded(path: str) -> Libfuse:
    number = int(ctypes.CDLL(path).fuse_version())
    # 29 is 2.9, and 314 is 3.14
    version = divmod(number, 10) if number < 100 else divmod(number, 100)
    return Libfuse(path, version)


@contextlib.contextmanager
def named_to_bindings(library: Libfuse) -> Iterator[None]:
    """Make a binding that is imported in the block load this library."""
    before = os.environ.get(PATH_VARIABLE)
    os.environ[PATH_VARIABLE] = library.path
    try:
        yield
    finally:
        del os.environ[PATH_VARIABLE]
        if before is not None:
            os.environ[PATH_VARIABLE] = before


def require_known_machine() -> None:
    """Refuse a processor for which the bindings have a wrong ``struct stat``.

    They treat any machine that they do not know as a 32-bit PC: files would have random
    modes and sizes.
    """
    machine, is_64_bit = os.uname().machine, sys.maxsize > 2**32
    if machine not in _MACHINES or not is_64_bit:
        bits = "" if is_64_bit else " with a 32-bit Python"
        raise MountError(
            f"the FUSE bindings of Python do not support {machine}{bits}: allenfs runs "
            f"on {' and '.join(_MACHINES)}"
        )


@dataclass(frozen=True, slots=True)
class FuseOptions:
    """Options for a libfuse: after ``-o``, and in the connection of libfuse 3."""

    words: Mapping[str, str | bool] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    unwanted: int = 0  # bits to clear

    def connect(self, info: Any) -> None:
        """Change a ``struct fuse_conn_info``, once the kernel has connected."""
        for name, number in self.numbers.items():
            setattr(info, name, number)
        info.want &= ~self.unwanted


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
    return FuseOptions(words, numbers, unwanted)


def _number(name: str, value: str | bool) -> int:  # noqa: FBT001 - True for an option without "="
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
        number = int(value)
        if number < 2**32:
            return number
    raise MountError(f"-o {name}: the value must be a number below 2^32")
