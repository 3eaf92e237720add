"""The FUSE operations of the filesystem; the only module that imports a binding.

libfuse 2 is used through fusepy, libfuse 3 through mfusepy, which has the same classes.
Their pitfalls, and how this module avoids them:

- fusepy reports an exception whose errno is None as success with no bytes, and a
  BaseException ends mfusepy. `_Fuse` turns every exception into an errno.
- The bindings decode UTF-8 differently, and some names would fail with EINVAL. So they
  pass names as latin-1, one character per byte.
- Python does not know the threads that libfuse creates, so ctypes creates an
  interpreter state for each call and destroys it afterwards. `ThreadStates` keeps it:
  without it, ``ls -l`` needs 25 to 50 % more CPU time per file (measured).
- Operations that always succeed would cost a call each: they are None, so that the
  kernel stops calling them.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from allenfs.adapters import libfuse, processes
from allenfs.adapters.translator import Translator
from allenfs.errors import NoAttributeError, ReadOnlyError, StaleSizeError
from allenfs.text import safe_logger

LIBFUSE = libfuse.chosen(os.environ)
with libfuse.named_to_bindings(LIBFUSE):
    _MAJOR = LIBFUSE.major
    if _MAJOR == 2:
        import fuse
    else:
        import mfusepy as fuse

if TYPE_CHECKING:
    from allenfs.catalog.entries import Attributes
    from allenfs.filesystem.filesystem import Filesystem
    from allenfs.filesystem.xattrs import ExtendedAttributes
    from allenfs.service.single_flight import Caller

log = safe_logger(__name__)

_OWN_ATTRIBUTES = b"user.allenfs."
# What fuse_main of libfuse 3 returns after a signal
_ENDED_WHILE_MOUNTED = 8
_ENCODING = "latin-1"
# Independent of the locale: an 8-bit locale cannot encode every gene.
_NAME_ENCODING = "utf-8", "surrogateescape"
# The largest request of the kernel by default; programs read in blocks of this size.
_PREFERRED_READ_BYTES = 128 * 1024
_BLOCK_BYTES = 4096
_NAME_MAX = 255
_ROOT_INODE, _OTHER_INODES = 1, 1 << 62
# Images in a listing: section number and ID. Chunks and directories of a pyramid.
_NUMBERED = re.compile(r"/([0-9]{4})_[^/]*$|\.zarr(?:/[0-9]+)*/([0-9]{1,4})$")
# libfuse ends idle threads above ten, and their kept states leak: some 20 kB each, at
# most 4 MB. Threads of a burst end after a call or two, so a state is kept only later.
_MAX_STATES, _MIN_CALLS = 200, 8
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT


def _refused(*_: object) -> None:
    raise ReadOnlyError


class Operations(fuse.Operations):
    """The operations of a read-only filesystem.

    Parameters
    ----------
    usage : callable
        Returns the bytes used in the store and its capacity, for `df`.
    started : callable
        Called once the kernel has accepted the mount; threads may start then.
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
        self.owner = os.getuid(), os.getgid()  # of every file
        self.options = libfuse.FuseOptions()

    # Not needed by the kernel: see the docstring of the module.
    access = bmap = flush = fsync = fsyncdir = ioctl = lock = None
    opendir = releasedir = None

    chmod = chown = link = symlink = rename = setxattr = removexattr = _refused
    create = mknod = mkdir = unlink = rmdir = truncate = utimens = write = _refused

    def init(self, path: str) -> None:
        self._started()

    def init_with_config(self, info: Any, config: object) -> None:
        # mfusepy calls this instead of init
        self.options.connect(info)
        self._started()

    def destroy(self, path: str) -> None:
        log.info("unmounted")

    def getattr(self, path: str, info: Any = None) -> Attributes:
        handle = (info.fh or None) if info else None
        return self._filesystem.stat(_decoded(path), handle, _caller())

    def readdir(self, path: str, info: object) -> list[tuple[str, dict[str, int], int]]:
        names = self._filesystem.names(_decoded(path), _caller())
        listed = [".", "..", *map(_encoded, names)]
        return [(name, {"st_ino": _inode(path, name)}, 0) for name in listed]

    def open(self, path: str, info: Any) -> int:
        if info.flags & _WRITE_FLAGS:
            raise ReadOnlyError(path)
        caller = _caller()
        opened = self._filesystem.open(
            _decoded(path),
            caller,
            is_final=lambda: processes.is_listener(caller.thread_id),
            past_cache=bool(info.flags & os.O_DIRECT),
        )
        info.fh = opened.handle
        info.keep_cache = opened.keep_cache
        info.direct_io = opened.direct_io
        return 0

    def read(self, path: str, size: int, offset: int, info: Any) -> bytes:
        return self._filesystem.read(info.fh, offset, size)

    def release(self, path: str, info: Any) -> int:
        self._filesystem.release(info.fh)
        return 0

    def readlink(self, path: str) -> str:
        return _encoded(self._filesystem.target(_decoded(path), _caller()))

    def getxattr(self, path: str, name: str, *_: int) -> bytes:
        if path == "/" and name in processes.ATTRIBUTES:
            return processes.attribute(name).encode()
        return self._attributes.value(_decoded(path), name, _caller())

    def listxattr(self, path: str) -> list[str]:
        own = processes.ATTRIBUTES if path == "/" else ()
        return [*own, *self._attributes.names(_decoded(path), _caller())]

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


class ThreadStates:
    """Counts the calls of each thread, and keeps the states of those that stay."""

    def __init__(self) -> None:
        self._states = 0
        self._calls: dict[int, int] = {}  # by thread
        # Thread-local, because a new thread may get the ID of one that ended.
        self._local = threading.local()

    def count_call(self) -> None:
        """Count a call that the current thread serves."""
        if getattr(self._local, "is_kept", False):
            return
        thread = threading.get_ident()
        calls = self._calls[thread] = self._calls.get(thread, 0) + 1
        if calls >= _MIN_CALLS and self._states < _MAX_STATES:
            self._states += 1
            self._calls[thread] = 0
            self._local.is_kept = True
            # never released, so the state survives the end of the call
            ctypes.pythonapi.PyGILState_Ensure()


class _Fuse(fuse.FUSE):
    """The binding, with shortcuts for the most frequent calls."""

    _threads: ClassVar = ThreadStates()
    _translator: ClassVar = Translator()

    @staticmethod
    def _wrapper(function: Callable[..., Any], *args: Any) -> Any:
        # every call passes here; the bindings' version lets some exceptions through
        try:
            _Fuse._threads.count_call()
            return function(*args) or 0
        except (StaleSizeError, fuse.FuseOSError) as error:
            # ESTALE, the usual result of the first open, or an error of the bindings
            return -error.errno
        except BaseException as error:
            operation = function.__name__.partition("_fuse_")[0]  # of mfusepy
            return -_Fuse._translator.errno_of(error, operation, args[0])

    def fgetattr(self, path: bytes, buffer: Any, info: Any) -> int:
        # faster than the binding's, which fills a dictionary and sets fields by name
        decoded = path.decode(_ENCODING)
        attributes = self.operations.getattr(decoded, info.contents if info else None)
        fill(buffer.contents, attributes, self.operations.owner)
        buffer.contents.st_ino = _inode(decoded)
        return 0

    def getxattr(self, path: bytes, name: bytes, *rest: Any) -> int:
        # `ls -l` asks for two system attributes of each file
        if not name.startswith(_OWN_ATTRIBUTES):
            return -NoAttributeError.errno
        return int(super().getxattr(path, name, *rest))


def versions() -> str:
    """Return the versions in use, such as ``fusepy 3.0.1, libfuse 2.9``."""
    binding = "fusepy" if _MAJOR == 2 else "mfusepy"
    return f"{binding} {metadata.version(binding)}, {LIBFUSE}"


def serve(
    operations: Operations, mountpoint: Path, options: Mapping[str, str | bool]
) -> None:
    """Mount, and serve the kernel until the filesystem is unmounted.

    SIGINT, SIGTERM and SIGHUP unmount. Call it in the main thread.

    Raises
    ------
    RuntimeError
        libfuse could not mount; it printed the reason to stderr.
    MountError
        An option has a wrong value, or the machine is not supported.
    """
    libfuse.require_known_machine()
    operations.options = libfuse.for_libfuse(LIBFUSE.version, options)
    words = {
        name: _from_system(value) if isinstance(value, str) else value
        for name, value in operations.options.words.items()
    }
    try:
        _Fuse(
            operations,
            _from_system(str(mountpoint)),
            encoding=_ENCODING,
            raw_fi=True,
            foreground=True,
            **words,
        )
    except RuntimeError as error:
        # libfuse 3 also ends with this after a signal
        if _MAJOR == 2 or error.args != (_ENDED_WHILE_MOUNTED,):
            raise


def _decoded(path: str) -> str:
    return path.encode(_ENCODING).decode(*_NAME_ENCODING)


def _encoded(name: str) -> str:
    return name.encode(*_NAME_ENCODING).decode(_ENCODING)


def _from_system(text: str) -> str:
    """Encode for the bindings a text that Python decoded with the locale."""
    return os.fsencode(text).decode(_ENCODING)


def _caller() -> Caller:
    return processes.current_caller(fuse._libfuse, _MAJOR)  # noqa: SLF001


def fill(fields: Any, attributes: Attributes, owner: tuple[int, int]) -> None:
    """Fill a ``struct stat``, which libfuse passes zeroed."""
    fields.st_mode, fields.st_nlink = stat.S_IFREG | 0o444, 1
    if attributes.is_dir:
        fields.st_mode, fields.st_nlink = stat.S_IFDIR | 0o555, 2
    elif attributes.is_link:
        fields.st_mode = stat.S_IFLNK | 0o777
    fields.st_uid, fields.st_gid = owner
    fields.st_size = attributes.size_bytes
    fields.st_blocks = attributes.blocks
    fields.st_blksize = _PREFERRED_READ_BYTES
    seconds, nanoseconds = divmod(attributes.modified_ns, 10**9)
    for time in (fields.st_atimespec, fields.st_mtimespec, fields.st_ctimespec):
        time.tv_sec, time.tv_nsec = seconds, nanoseconds


def _inode(path: str, name: str = ".") -> int:
    """Return the inode number of a path from the kernel, or of a name in it.

    It depends only on the path, so it survives the kernel's caches and a remount:
    backup programs read a file again if its number has changed.

    `cp -r` and file managers open the files of a directory in inode order, and
    read-ahead needs files opened in listing order. So the images of a listing, and the
    chunks of a row, have ascending numbers, below those of all other names.
    """
    directory, last = os.path.split(os.path.normpath(os.path.join(path, name)))
    if not last:
        return _ROOT_INODE
    whole = os.path.join(directory, last)
    numbered = _NUMBERED.search(whole)
    if numbered is None:
        return _OTHER_INODES | _digest(whole, bits=62)
    # also 62 bits; up to 63 are positive in programs that use a signed number
    number = int(numbered[1] or numbered[2]) << 17 | _digest(last, bits=17)
    return max(_ROOT_INODE + 1, _digest(directory, bits=31) << 31 | number)


def _digest(text: str, *, bits: int) -> int:
    digest = hashlib.blake2b(text.encode("latin-1"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 64 - bits
