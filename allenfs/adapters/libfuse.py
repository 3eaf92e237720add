"""Choose a libfuse: 2 if installed, else 3; or the one set in the environment."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, NamedTuple

from allenfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    Raises
    ------
    MountError
        None is installed, or not the one in `environ`; names the packages.
    """
    wanted = environ.get(VERSION_VARIABLE) or ""
    if wanted not in ("", "2", "3"):
        msg = f"{VERSION_VARIABLE} must be 2 or 3, the libfuse to use, not {wanted!r}"
        raise MountError(msg)
    majors = [int(wanted)] if wanted else [2, 3]
    path = environ.get(PATH_VARIABLE)
    if path:
        return _at_path(path, majors)
    for name in (name for major in majors for name in _NAMES[major]):
        with contextlib.suppress(OSError, AttributeError):
            return _loaded(name)
    either = " nor ".join(f"libfuse {major}" for major in majors)
    packages = " or ".join(_PACKAGES[major] for major in reversed(majors))
    msg = f"this machine has {'no' if wanted else 'neither'} {either}: install the "
    raise MountError(msg + f"package {packages}")


def _at_path(path: str, majors: list[int]) -> Libfuse:
    try:
        found = _loaded(path)
    except (OSError, AttributeError) as error:
        msg = (
            f"{PATH_VARIABLE} is not a libfuse ({str(error)!r}): unset it, or "
            f"install the package {_PACKAGES[2]} or {_PACKAGES[3]}"
        )
        raise MountError(msg) from error
    if found.major not in majors:
        either = " or ".join(map(str, majors))
        msg = f"{VERSION_VARIABLE} is {either}, but {PATH_VARIABLE} is {found}"
        raise MountError(msg)
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
        if before is None:
            del os.environ[PATH_VARIABLE]
        else:
            os.environ[PATH_VARIABLE] = before
