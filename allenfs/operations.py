"""FUSE's operations over the filesystem: the only module that speaks FUSE.

fusepy's traps, and what stands against them here:

- An exception whose errno is None leaves a callback as success with no bytes:
  `_translated` wraps every operation and lets nothing but FuseOSError out.
- Names are decoded strictly, and a name that is not UTF-8 would be EINVAL:
  fusepy is given latin-1, which takes all bytes, and names are decoded here.
- Operations that only say yes cost a call each: they are left out (None), and
  the kernel stops asking.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import stat
from typing import TYPE_CHECKING, Any, ClassVar

import fuse

from allenfs.errors import AllenFSError, NoAttributeError, ReadOnlyError
from allenfs.interrupts import shall_stop_waiting
from allenfs.lasting import LastingThreads
from allenfs.mountpoint import PID_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from allenfs.entries import Attributes
    from allenfs.filesystem import Filesystem
    from allenfs.xattrs import ExtendedAttributes

log = logging.getLogger(__name__)

_TRANSPORT_ENCODING = "latin-1"
_BLOCK_BYTES = 4096
_NAME_MAX = 255
# Programs that go by st_blksize then read what the kernel asks at most at once.
_PREFERRED_READ_BYTES = 128 * 1024
_OWN_ATTRIBUTES = b"user.allenfs."
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT


def _translated(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an operation: only FuseOSError leaves it, whatever happens inside."""

    @functools.wraps(operation)
    def translated(*args: object) -> Any:
        try:
            return operation(*args)
        except fuse.FuseOSError:
            raise
        except AllenFSError as error:
            log.debug("%s %r: %s", operation.__name__, args[1:], error)
            raise fuse.FuseOSError(error.errno) from error
        except BaseException as error:
            log.exception("%s %r: a bug", operation.__name__, args[1:])
            raise fuse.FuseOSError(AllenFSError.errno) from error

    return translated


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(*_: object) -> None:
        raise ReadOnlyError(name)

    refuse.__name__ = name
    return _translated(refuse)


class Operations(fuse.Operations):
    """The operations of a read-only filesystem.

    Parameters
    ----------
    filesystem : Filesystem
        Answers them.
    attributes : ExtendedAttributes
        Of its paths.
    usage : callable
        Bytes that the store uses, and its capacity, for `df`.
    started : callable
        Called once the kernel has accepted the mount; threads may start then.

    Attributes
    ----------
    owner : tuple of int
        User and group of every file: the process's own.
    """

    use_ns = True  # times are int nanoseconds

    def __init__(
        self,
        filesystem: Filesystem,
        attributes: ExtendedAttributes,
        *,
        usage: Callable[[], tuple[int, int]],
        started: Callable[[], None],
    ) -> None:
        self._filesystem = filesystem
        self._attributes = attributes
        self._usage = usage
        self._started = started
        self.owner = os.getuid(), os.getgid()

    # The kernel does without these; see the module's docstring.
    access = bmap = flush = fsync = fsyncdir = ioctl = lock = None
    opendir = releasedir = None

    chmod = _refuse("chmod")
    chown = _refuse("chown")
    create = _refuse("create")
    link = _refuse("link")
    mkdir = _refuse("mkdir")
    mknod = _refuse("mknod")
    removexattr = _refuse("removexattr")
    rename = _refuse("rename")
    rmdir = _refuse("rmdir")
    setxattr = _refuse("setxattr")
    symlink = _refuse("symlink")
    truncate = _refuse("truncate")
    unlink = _refuse("unlink")
    utimens = _refuse("utimens")
    write = _refuse("write")

    @_translated
    def init(self, path: str) -> None:
        self._started()

    @_translated
    def destroy(self, path: str) -> None:
        log.info("unmounted")

    @_translated
    def getattr(self, path: str, info: Any = None) -> Attributes:
        handle = (info.fh or None) if info else None
        return self._filesystem.stat(
            _decoded(path), handle, interrupted=_interruption()
        )

    @_translated
    def readdir(self, path: str, info: object) -> list[str]:
        names = self._filesystem.names(_decoded(path), interrupted=_interruption())
        return [".", "..", *map(_encoded, names)]

    @_translated
    def open(self, path: str, info: Any) -> int:
        if info.flags & _WRITE_FLAGS:
            raise ReadOnlyError(path)
        opened = self._filesystem.open(
            _decoded(path),
            caller=_caller,
            past_cache=bool(info.flags & os.O_DIRECT),
            interrupted=_interruption(),
        )
        info.fh = opened.handle
        info.keep_cache = opened.keep_cache
        info.direct_io = opened.direct_io
        return 0

    @_translated
    def read(self, path: str, size: int, offset: int, info: Any) -> bytes:
        return self._filesystem.read(info.fh, offset, size)

    @_translated
    def release(self, path: str, info: Any) -> int:
        self._filesystem.release(info.fh)
        return 0

    @_translated
    def readlink(self, path: str) -> str:
        return _encoded(
            self._filesystem.target(_decoded(path), interrupted=_interruption())
        )

    @_translated
    def getxattr(self, path: str, name: str, *_: int) -> bytes:
        if (path, name) == ("/", PID_ATTRIBUTE):
            return str(os.getpid()).encode()
        return self._attributes.value(_decoded(path), name, _interruption())

    @_translated
    def listxattr(self, path: str) -> list[str]:
        own = [PID_ATTRIBUTE] if path == "/" else []
        return own + self._attributes.names(_decoded(path), _interruption())

    @_translated
    def statfs(self, path: str) -> dict[str, int]:
        used_bytes, capacity_bytes = self._usage()
        free_blocks = max(0, capacity_bytes - used_bytes) // _BLOCK_BYTES
        return {
            "f_bsize": _BLOCK_BYTES,
            "f_frsize": _BLOCK_BYTES,
            "f_blocks": capacity_bytes // _BLOCK_BYTES,
            "f_bfree": free_blocks,
            "f_bavail": free_blocks,
            "f_namemax": _NAME_MAX,
        }


class _Fuse(fuse.FUSE):
    """fusepy, by a shorter way where the kernel asks most."""

    _threads: ClassVar = LastingThreads()

    @staticmethod
    def _wrapper(function: Callable[..., Any], *args: object) -> Any:
        _Fuse._threads.add_this()
        # fusepy calls every operation through it, and has no other way in
        return fuse.FUSE._wrapper(function, *args)  # noqa: SLF001

    def fgetattr(self, path: bytes, buffer: Any, info: Any) -> int:
        # fusepy's goes through a dictionary, and sets a field by its name
        attributes = self.operations.getattr(
            path.decode(_TRANSPORT_ENCODING), info.contents if info else None
        )
        _fill(buffer.contents, attributes, self.operations.owner)
        return 0

    def getxattr(self, path: bytes, name: bytes, *rest: Any) -> int:
        # `ls -l` asks for two of the system's of each file
        if not name.startswith(_OWN_ATTRIBUTES):
            return -NoAttributeError.errno
        return int(super().getxattr(path, name, *rest))


def _fill(fields: Any, attributes: Attributes, owner: tuple[int, int]) -> None:
    """Fill a ``struct stat``, which libfuse hands over as zeros."""
    if attributes.is_dir:
        fields.st_mode, fields.st_nlink = stat.S_IFDIR | 0o555, 2
    elif attributes.is_link:
        fields.st_mode, fields.st_nlink = stat.S_IFLNK | 0o777, 1
    else:
        fields.st_mode, fields.st_nlink = stat.S_IFREG | 0o444, 1
    fields.st_uid, fields.st_gid = owner
    fields.st_size = attributes.size_bytes
    fields.st_blocks = attributes.blocks
    fields.st_blksize = _PREFERRED_READ_BYTES
    seconds, nanoseconds = divmod(attributes.modified_ns, 10**9)
    for time in (fields.st_atimespec, fields.st_mtimespec, fields.st_ctimespec):
        time.tv_sec, time.tv_nsec = seconds, nanoseconds


def serve(
    operations: Operations, mountpoint: Path, options: Mapping[str, str | bool]
) -> None:
    """Mount, and answer the kernel until the filesystem is unmounted.

    SIGINT, SIGTERM and SIGHUP unmount. To be called from the main thread.

    Raises
    ------
    RuntimeError
        libfuse could not mount; it has said why on stderr.
    """
    _Fuse(
        operations,
        os.fsencode(mountpoint).decode(_TRANSPORT_ENCODING),
        encoding=_TRANSPORT_ENCODING,
        raw_fi=True,
        foreground=True,
        **options,
    )


def _caller() -> int:
    _, _, thread_id = fuse.fuse_get_context()
    return int(thread_id)


def _interruption() -> Callable[[], bool]:
    """Return a look at whether this thread's operation shall end.

    It shall when its caller got a signal, and when the filesystem is being
    unmounted.
    """
    # fusepy does not wrap these two functions of libfuse 2's fuse.h
    library = fuse._libfuse  # noqa: SLF001

    def shall_end() -> bool:
        # only who waits asks: most operations do not
        context = library.fuse_get_context().contents
        if library.fuse_exited(ctypes.c_void_p(context.fuse)):
            return True
        return bool(library.fuse_interrupted()) and shall_stop_waiting(context.pid)

    return shall_end


def _decoded(path: str) -> str:
    return os.fsdecode(path.encode(_TRANSPORT_ENCODING))


def _encoded(name: str) -> str:
    return os.fsencode(name).decode(_TRANSPORT_ENCODING)
