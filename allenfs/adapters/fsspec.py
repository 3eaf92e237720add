"""``allen://`` for fsspec: the tree for Python programs, without a mount.

Tree, store and promises are those of a mount. An open file is whole, local and checked;
`ls` and `info` never download an image.
"""

from __future__ import annotations

import datetime as dt
import errno
import functools
import posixpath
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from allenfs import config
from allenfs.adapters import settings
from allenfs.adapters.assemblies import Settings, assembly_of
from allenfs.adapters.interrupts import CALLER, shielded
from allenfs.adapters.local_file import LocalFile
from allenfs.adapters.translator import Translator
from allenfs.adapters.traversal import Traversal, is_absence, joined
from allenfs.catalog.entries import Folder, Link, Picture
from allenfs.errors import AllenFSError, ConfigError, NotADirError
from allenfs.model.pyramids import CHUNK_BYTES

if TYPE_CHECKING:
    from allenfs.catalog.entries import Readable
    from allenfs.filesystem.filesystem import Filesystem

_Details = dict[str, Any]
_Value = TypeVar("_Value")

_NS = 1e-9
_DIRECTORY_MODE, _FILE_MODE = stat.S_IFDIR | 0o555, stat.S_IFREG | 0o444
_DEFAULTS = config.ServiceSettings(config.DEFAULT_API_URL)
# Options that fsspec and the programs on top of it pass to every file system.
_FSSPEC_OPTIONS = frozenset(
    {
        *("asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths"),
        *("skip_instance_cache", "use_listings_cache"),
    }
)
_NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_translator = Translator()


def _parsed(parse: Callable[[str], _Value], option: str, value: object) -> _Value:
    try:
        return parse(str(value))
    except ConfigError as error:
        raise ValueError(f"{option}: {error}") from error


_size = functools.partial(_parsed, config.parse_size)
_duration = functools.partial(_parsed, config.parse_duration)


def _refused(_: AllenFileSystem, path: Any = "", *__: Any, **___: Any) -> NoReturn:
    raise OSError(errno.EROFS, "allen:// is read-only", str(path))


class AllenFileSystem(Traversal):
    """The images of the Allen Brain Atlas as files; read-only.

    Options and environment variables are those of ``allenfs mount``. In a process, all
    instances with equal options share connections and memory.

    Parameters
    ----------
    api_url : str, optional
        Address of the service.
    cache_dir : str, optional
        Directory of the store, which can be shared with mounts and other processes.
    cache_size : str or int, optional
        Limit of the store: bytes, or text such as ``"10GiB"``.
    connections : int
        Simultaneous requests of all processes that share the store.
    sample : bool
        Use the embedded sample service, started in this process.
    service_name : str, optional
        Name of the service in the store; for a mirror, that of the mirrored service.
    readahead : int, optional
        Images to download ahead when images are opened in order; 0 for none. By
        default as in a mount, but 0 in worker processes of multiprocessing or dask.
    proxy : str, optional
        URL of a proxy; empty for none.
    ca_bundle : str, optional
        Certificates to trust as well: a PEM file, or a directory of hashed ones.
    max_image_size : str or int
        Limit of one image: bytes, or text such as ``"1GiB"``.
    connect_timeout, stall_timeout, deadline : str or float
        Limits of one image's download: seconds, or text such as ``"10m"``.
    catalog_ttl : str or float
        How long to use stored records: seconds, or text such as ``"7d"``.

    Raises
    ------
    ValueError
        An option has an invalid value.
    TypeError
        An unknown option.
    """

    protocol = "allen"

    def __init__(
        self,
        *,
        api_url: str | None = None,
        cache_dir: str | None = None,
        cache_size: str | int | None = None,
        connections: int = _DEFAULTS.connections,
        sample: bool = False,
        service_name: str | None = None,
        readahead: int | None = None,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        max_image_size: str | int = _DEFAULTS.max_image_bytes,
        connect_timeout: str | float = _DEFAULTS.connect_timeout_s,
        stall_timeout: str | float = _DEFAULTS.stall_timeout_s,
        deadline: str | float = _DEFAULTS.deadline_s,
        catalog_ttl: str | float = _DEFAULTS.catalog_ttl_s,
        **fsspec_options: Any,
    ) -> None:
        if unknown := fsspec_options.keys() - _FSSPEC_OPTIONS:
            raise TypeError(f"allen:// has no option {', '.join(sorted(unknown))}")
        if sample and api_url is not None:
            raise ValueError("sample and api_url cannot be used together")
        super().__init__(**fsspec_options)
        try:
            address = settings.service_address(
                api_url, sample=sample, proxy=proxy, ca_bundle=ca_bundle
            )
            service = replace(
                address,
                connections=_parsed(
                    config.parse_connections, "connections", connections
                ),
                max_image_bytes=_size("max_image_size", max_image_size),
                connect_timeout_s=_duration("connect_timeout", connect_timeout),
                stall_timeout_s=_duration("stall_timeout", stall_timeout),
                deadline_s=_duration("deadline", deadline),
                catalog_ttl_s=_duration("catalog_ttl", catalog_ttl),
            )
            store = settings.chosen_store(
                cache_dir,
                None if cache_size is None else _size("cache_size", cache_size),
                settings.service_name(service_name, service, sample=sample),
            )
            if readahead is not None:
                readahead = _parsed(config.parse_readahead, "readahead", readahead)
        except AllenFSError as error:
            raise ValueError(str(error)) from error
        self.settings = Settings(service, store, sample, readahead)

    def __reduce__(self) -> tuple[Any, ...]:
        # relative to the working directory, which another process may not share
        make, (cls, arguments, options) = super().__reduce__()
        if options.get("cache_dir"):
            options = options | {"cache_dir": str(self.settings.store.directory)}
        return make, (cls, arguments, options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, list):
            return stripped
        return "/".join(filter(None, stripped.split("/")))  # `a//b`, as the kernel does

    def info(self, path: Any, **_: Any) -> _Details:
        """Return details of a file or directory.

        `size` is in bytes, None unless known exactly. `local` tells whether a file is
        on this machine, `islink` whether a directory is a link to `destination`.
        `mtime` and `created` are seconds since the epoch. Raises OSError.
        """
        path = self._strip_protocol(path)
        return self._run("info", path, lambda filesystem: _info(filesystem, path))

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Any]:
        """Return the details (as `info`) or paths in a directory, or of a file."""
        path = self._strip_protocol(path)
        return self._run("ls", path, lambda filesystem: _ls(filesystem, path, detail))

    def exists(self, path: Any, **_: Any) -> bool:
        """Return whether a path exists; raises OSError if that cannot be determined."""
        return bool(self._type(path))

    def isdir(self, path: Any) -> bool:
        """Return whether a path is a directory or link; raises as `exists` does."""
        return self._type(path) == "directory"

    def isfile(self, path: Any) -> bool:
        """Return whether a path is a file; raises as `exists` does."""
        return self._type(path) == "file"

    def created(self, path: Any) -> dt.datetime:
        """Return the time of the download, UTC; before it, that of `modified`."""
        return dt.datetime.fromtimestamp(self.info(path)["created"], dt.timezone.utc)

    def modified(self, path: Any) -> dt.datetime:
        """Return the time that a mount shows, UTC: Last-Modified, if known."""
        return dt.datetime.fromtimestamp(self.info(path)["mtime"], dt.timezone.utc)

    def cat_file(
        self, path: Any, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return bytes [start, end) of a file, which is downloaded whole."""
        path = self._strip_protocol(path)

        def read(filesystem: Filesystem) -> bytes:
            content = _content(filesystem, path)
            size_bytes = content.facts.size_bytes
            first, last, _step = slice(start, end).indices(size_bytes)
            return content.read(first, max(0, last - first))

        return self._run("read", path, read)

    def cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", **_: Any
    ) -> Any:
        """Return the bytes of one file, or of several by their paths.

        `on_error` applies to missing files only; any other failure raises, because
        zarr 2 treats every returned error as an empty chunk.
        """
        handled = on_error if on_error == "raise" else "return"
        found = super().cat(path, recursive=recursive, on_error=handled)
        if isinstance(found, bytes):
            return found
        for one in found.values():
            if isinstance(one, Exception) and not isinstance(one, _NO_SUCH_FILE):
                raise one
        is_kept = bytes if on_error == "omit" else object
        return {one: data for one, data in found.items() if isinstance(data, is_kept)}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> LocalFile:
        if set(mode) & set("wax+"):
            _refused(self, path)
        if sorted(mode) != ["b", "r"]:
            raise ValueError(f"invalid mode: {mode!r}")
        content = self._run("open", path, lambda one: _content(one, path))
        return LocalFile(self, path, content)

    mkdir = makedirs = rmdir = rm = rm_file = _rm = touch = _refused
    cp_file = copy = mv = put = put_file = pipe_file = _refused

    def _type(self, path: Any) -> str:
        try:
            return str(self.info(path)["type"])
        except OSError as error:
            if is_absence(error):
                return ""
            raise

    def _run(
        self, operation: str, path: str, work: Callable[[Filesystem], _Value]
    ) -> _Value:
        with _translator.os_errors(operation, path):
            return shielded(lambda: work(assembly_of(self.settings).filesystem))


def _content(filesystem: Filesystem, path: str) -> Readable:
    return filesystem.content(filesystem.resolved(path, CALLER), CALLER)


def _info(filesystem: Filesystem, path: str) -> _Details:
    directory, _, name = path.rpartition("/")
    place = joined(filesystem.resolved(directory, CALLER), name)
    details = _details(filesystem, place, path)
    if details["islink"]:
        # raises if it does not exist
        filesystem.entry(details["destination"], CALLER)
    return details


def _ls(filesystem: Filesystem, path: str, detail: bool) -> list[Any]:
    place = filesystem.resolved(path, CALLER)
    try:
        names = filesystem.names(place, CALLER)
    except NotADirError:
        return [_details(filesystem, place, path) if detail else path]
    paths = [joined(path, name) for name in names]
    if not detail:
        return paths
    return [
        _details(filesystem, joined(place, name), one)
        for name, one in zip(names, paths, strict=True)
    ]


def _details(filesystem: Filesystem, place: str, path: str) -> _Details:
    """Return the details of `path`, whose links are resolved in `place`."""
    entry, started_s = filesystem.entry(place, CALLER), filesystem.started_ns * _NS
    details = {"name": path, "size": 0, "type": "directory", "islink": False}
    details |= {"mtime": started_s, "created": started_s, "mode": _DIRECTORY_MODE}
    match entry:
        case Folder():
            return details
        case Link(target):
            target = posixpath.join(posixpath.dirname(place), target)
            return details | {"islink": True, "destination": posixpath.normpath(target)}
    facts = filesystem.facts(entry)
    details |= {"size": None, "type": "file", "local": facts is not None}
    details["mode"] = _FILE_MODE
    if facts is not None:
        details |= {"size": facts.size_bytes, "mtime": facts.modified_ns * _NS}
        details["created"] = facts.fetched_ns * _NS
    if isinstance(entry, Picture) and entry.chunk is not None:
        details["size"] = CHUNK_BYTES
    return details
