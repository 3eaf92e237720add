"""The libfuse of this machine: 2 where it is there, else 3, or the one asked for."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# 2 or 3: for whoever has both
VERSION_VARIABLE = "ALLENFS_FUSE"
# Both bindings go by it; without it they start a compiler or two to look around.
PATH_VARIABLE = "FUSE_LIBRARY_PATH"

# By the loader's names: 3.17 has changed that of libfuse 3.
_NAMES = {2: ("libfuse.so.2",), 3: ("libfuse3.so.3", "libfuse3.so.4")}
_PACKAGES = {
    2: "libfuse2 (libfuse2t64 since Debian 13 and Ubuntu 24.04, fuse-libs on Fedora, "
    "fuse2 on Arch)",
    3: "fuse3 (on Debian, Ubuntu, Fedora and Arch)",
}


class Libfuse(NamedTuple):
    """A libfuse that can be loaded.

    Attributes
    ----------
    path : str
        What the loader takes.
    version : tuple of int
        Major and minor.
    """

    path: str
    version: tuple[int, int]

    @property
    def major(self) -> int:
        """2 or 3."""
        return self.version[0]

    def __str__(self) -> str:
        return "libfuse {}.{}".format(*self.version)


def chosen(environ: Mapping[str, str]) -> Libfuse:
    """Return the one to mount with.

    Raises
    ------
    MountError
        There is none, or not the one that `environ` asks for; it names packages.
    """
    wanted = environ.get(VERSION_VARIABLE) or ""
    if wanted not in ("", "2", "3"):
        msg = f"{VERSION_VARIABLE} is 2 or 3, the libfuse to mount with, not {wanted!r}"
        raise MountError(msg)
    majors = [int(wanted)] if wanted else [2, 3]
    path = environ.get(PATH_VARIABLE)
    if path:
        found = _named(path)
        if found.major not in majors:
            msg = f"{VERSION_VARIABLE} asks for libfuse {wanted}, and {PATH_VARIABLE} "
            raise MountError(msg + f"names {found}")
        return found
    for name in (name for major in majors for name in _NAMES[major]):
        with contextlib.suppress(OSError, AttributeError):
            return _loaded(name)
    either = " nor ".join(f"libfuse {major}" for major in majors)
    packages = " or ".join(_PACKAGES[major] for major in reversed(majors))
    msg = f"this machine has {'no' if wanted else 'neither'} {either}: install the "
    raise MountError(msg + f"package {packages}")


def _named(path: str) -> Libfuse:
    try:
        found = _loaded(path)
    except (OSError, AttributeError) as error:
        msg = (
            f"{PATH_VARIABLE} names no libfuse ({str(error)!r}): unset it, or "
            f"install the package {_PACKAGES[2]} or {_PACKAGES[3]}"
        )
        raise MountError(msg) from error
    if found.major in _NAMES:
        return found
    msg = f"{PATH_VARIABLE} names {found}: allenfs mounts with 2 and 3"
    raise MountError(msg)


def _loaded(path: str) -> Libfuse:
    said = int(ctypes.CDLL(path).fuse_version())
    # 29 is 2.9, and 314 is 3.14
    version = divmod(said, 10) if said < 100 else divmod(said, 100)
    return Libfuse(path, version)


@contextlib.contextmanager
def named_to_bindings(library: Libfuse) -> Iterator[None]:
    """Have a binding that is imported in the block load this very library."""
    before = os.environ.get(PATH_VARIABLE)
    os.environ[PATH_VARIABLE] = library.path
    try:
        yield
    finally:
        if before is None:
            del os.environ[PATH_VARIABLE]
        else:
            os.environ[PATH_VARIABLE] = before
