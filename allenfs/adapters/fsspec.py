"""The tree for Python programs, without a mount: ``allen://`` of fsspec.

The same tree, store and promises as in a mount. What is opened is whole, local and
checked; listing and asking for details never download an image.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from allenfs import config
from allenfs.adapters import settings
from allenfs.adapters.assemblies import Settings, assembly_of
from allenfs.adapters.local_file import LocalFile
from allenfs.adapters.translator import Translator
from allenfs.adapters.traversal import Traversal, is_absence, joined
from allenfs.catalog.entries import Folder, Link, Picture
from allenfs.errors import AllenFSError, NotADirError
from allenfs.model.pyramids import CHUNK_BYTES

if TYPE_CHECKING:
    from allenfs.filesystem.filesystem import Filesystem

_Details = dict[str, Any]

_NS = 1e-9
_DIRECTORY_MODE, _FILE_MODE = stat.S_IFDIR | 0o555, stat.S_IFREG | 0o444
_MAX_CONNECTIONS = 999
_DEFAULTS = config.ServiceSettings(config.DEFAULT_API_URL)
# What fsspec itself and those who use it may pass to any file system.
_FSSPEC_OPTIONS = frozenset(
    {
        *("asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths"),
        *("skip_instance_cache", "use_listings_cache"),
    }
)
_NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_translator = Translator()


def _refused(_: AllenFileSystem, path: Any = "", *__: Any, **___: Any) -> NoReturn:
    raise OSError(errno.EROFS, "allen:// is read-only", str(path))


class AllenFileSystem(Traversal):
    """The images of the Allen Brain Atlas as files; read-only.

    The options are those of ``allenfs mount``, and so are the environment variables.
    All instances of a process with equal options share connections and memory.

    Parameters
    ----------
    api_url : str, optional
        Address of the service.
    cache_dir : str, optional
        Directory of the store, which mounts and other processes can share.
    cache_size : str or int, optional
        Limit of the store: bytes, or text such as ``"10GiB"``.
    connections : int
        Simultaneous requests of all processes that share the store.
    sample : bool
        Run the embedded sample service in this process, and use it.
    service_name : str, optional
        Name of the service in the store; for a mirror, that of the service itself.
    readahead : int
        Images to download ahead of those that are opened in order; 0 for none.
    proxy, ca_bundle : str, optional
        How to reach the service.
    max_image_size : str or int
        Limit of one image.
    connect_timeout, stall_timeout, deadline, catalog_ttl : str or float
        Seconds, or text such as ``"7d"``.

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
        readahead: int = config.DEFAULT_READAHEAD_IMAGES,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        max_image_size: str | int = _DEFAULTS.max_image_bytes,
        connect_timeout: str | float = _DEFAULTS.connect_timeout_s,
        stall_timeout: str | float = _DEFAULTS.stall_timeout_s,
        deadline: str | float = _DEFAULTS.deadline_s,
        catalog_ttl: str | float = _DEFAULTS.catalog_ttl_s,
        **of_fsspec: Any,
    ) -> None:
        if unknown := of_fsspec.keys() - _FSSPEC_OPTIONS:
            raise TypeError(f"allen:// has no option {', '.join(sorted(unknown))}")
        if sample and api_url is not None:
            raise ValueError("sample and api_url exclude each other")
        super().__init__(**of_fsspec)
        try:
            address = settings.service_address(
                api_url, sample=sample, proxy=proxy, ca_bundle=ca_bundle
            )
            service = replace(
                address,
                connections=config.parse_number(str(connections), 1, _MAX_CONNECTIONS),
                max_image_bytes=config.parse_size(str(max_image_size)),
                connect_timeout_s=config.parse_duration(str(connect_timeout)),
                stall_timeout_s=config.parse_duration(str(stall_timeout)),
                deadline_s=config.parse_duration(str(deadline)),
                catalog_ttl_s=config.parse_duration(str(catalog_ttl)),
            )
            store = settings.chosen_store(
                cache_dir,
                None if cache_size is None else config.parse_size(str(cache_size)),
                settings.service_name(service_name, service, sample=sample),
            )
            readahead = config.parse_number(str(readahead), 0, 999_999)
        except AllenFSError as error:
            raise ValueError(str(error)) from error
        self._settings = Settings(service, store, sample, readahead)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return stripped if isinstance(stripped, list) else stripped.lstrip("/")

    def info(self, path: Any, **_: Any) -> _Details:
        """Return details of a file or directory.

        `size` is None while it is not known exactly. `local` says whether a file is
        here already, and `islink` whether a directory is a link to `destination`.
        `mtime` and `created` are in seconds since the epoch.
        """
        path = self._strip_protocol(path)
        with self._filesystem("info", path) as filesystem:
            directory, _, name = path.rpartition("/")
            place = joined(filesystem.resolved(directory), name)
            details = _details(filesystem, place, path)
            if details["islink"]:
                filesystem.entry(details["destination"])  # is it there?
            return details

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Any]:
        """Return what a directory lists: details as of `info`, or paths; no images."""
        path = self._strip_protocol(path)
        with self._filesystem("ls", path) as filesystem:
            place = filesystem.resolved(path)
            try:
                names = filesystem.names(place)
            except NotADirError:
                return [_details(filesystem, place, path) if detail else path]
            paths = [joined(path, name) for name in names]
            if not detail:
                return paths
            return [
                _details(filesystem, joined(place, name), one)
                for name, one in zip(names, paths, strict=True)
            ]

    def exists(self, path: Any, **_: Any) -> bool:
        """Return whether a path exists; raises OSError if that is not known."""
        return bool(self._type(path))

    def isdir(self, path: Any) -> bool:
        """Return whether a path is a directory, or a link to one; as `exists`."""
        return self._type(path) == "directory"

    def isfile(self, path: Any) -> bool:
        """Return whether a path is a file; raises as `exists` does."""
        return self._type(path) == "file"

    def created(self, path: Any) -> dt.datetime:
        """Return the time of the download; if there was none, that of `modified`."""
        return dt.datetime.fromtimestamp(self.info(path)["created"], dt.timezone.utc)

    def modified(self, path: Any) -> dt.datetime:
        """Return the time that a mount shows: of the image at the service, if known."""
        return dt.datetime.fromtimestamp(self.info(path)["mtime"], dt.timezone.utc)

    def cat_file(
        self, path: Any, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return the bytes of a file, or some of them; it is downloaded whole."""
        path = self._strip_protocol(path)
        with self._filesystem("read", path) as filesystem:
            content = filesystem.content(filesystem.resolved(path))
            size_bytes = content.facts.size_bytes
            first, last, _step = slice(start, end).indices(size_bytes)
            return content.read(first, max(0, last - first))

    def cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", **_: Any
    ) -> Any:
        """Return the bytes of one file, or of several by their paths.

        `on_error` is only for what does not exist; any other failure raises, because
        zarr 2 takes each error that is returned for an empty chunk.
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
        with self._filesystem("open", path) as filesystem:
            content = filesystem.content(filesystem.resolved(path))
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

    @contextlib.contextmanager
    def _filesystem(self, operation: str, path: str) -> Iterator[Filesystem]:
        with _translator.os_errors(operation, path):
            yield assembly_of(self._settings).filesystem


def _details(filesystem: Filesystem, place: str, path: str) -> _Details:
    """Return the details of a place without links, which `path` leads to."""
    entry, started_s = filesystem.entry(place), filesystem.started_ns * _NS
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
