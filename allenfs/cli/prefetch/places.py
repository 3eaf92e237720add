"""The place of each path: the mount that it is in, or the tree without a mount."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import posixpath
import re
import select
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.assembly import assemble, on_sample
from allenfs.cli import arguments
from allenfs.cli.prefetch.place import Place
from allenfs.cli.prefetch.selection import Named
from allenfs.cli.prefetch.tree import Tree
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import AllenFSError, ConfigError, PathNotFoundError, UrlError
from allenfs.model.tree import ROOT_NAMES
from allenfs.mount import mount_table, probe
from allenfs.service.network import checked_proxy
from allenfs.store.directory import require_own
from allenfs.text import printable

if TYPE_CHECKING:
    Pattern = tuple[Place, str]

_STDIN = "-"
_POLL_S = 0.2
_CHUNK_BYTES = _MAX_LINE_BYTES = 2**16
# `find -print0` ends names with NUL, which no path contains.
_LINE_END = re.compile(rb"\r?\n|\0")
_MAX_LINKS = 40  # as many as the kernel follows
# Eviction must not make room for other images.
_ALL_BYTES = 2**62


class Places:
    """The mounts that the paths are in, and the tree without a mount.

    Resources are closed with `stack`; `stop` interrupts all waits.
    """

    def __init__(
        self,
        parsed: argparse.Namespace,
        stack: contextlib.ExitStack,
        stop: threading.Event,
    ) -> None:
        self._parsed = parsed
        self._stack = stack
        self._stop = stop
        self._places: dict[Path | None, Place | AllenFSError] = {}

    def patterns(self) -> Iterator[Pattern | Named]:
        """Yield the paths of the command line, then those of standard input.

        Raises AllenFSError if a mount does not answer (after 2 s if its process is
        stopped), its store cannot be used by this process, or an argument is invalid.
        """
        paths = self._parsed.paths
        # a list: all places are checked before the first is used
        yield from [
            self._pattern(text, PathNotFoundError) for text in paths if text != _STDIN
        ]
        if _STDIN in paths:
            yield from self._listed()

    def _listed(self) -> Iterator[Pattern | Named]:
        used: set[Place] = set()

        def is_ended() -> bool:
            is_given_up = bool(used) and all(place.reason for place in used)
            return self._stop.is_set() or is_given_up

        try:
            for line in _lines_of(sys.stdin.fileno(), is_ended):
                pattern = self._pattern(line, AllenFSError)
                if not isinstance(pattern, Named):
                    used.add(pattern[0])
                yield pattern
        except OSError as error:
            yield Named("standard input", AllenFSError(error.strerror))

    def _pattern(self, text: str, reported: type[AllenFSError]) -> Pattern | Named:
        """Return a path and its place, or an error of the class `reported`."""
        try:
            mountpoint, below = _located(text)
            return self._place(mountpoint), below
        except reported as error:
            return Named(text, error)

    def _place(self, mountpoint: Path | None) -> Place:
        if mountpoint not in self._places:
            try:
                self._places[mountpoint] = self._new_place(mountpoint)
            except AllenFSError as error:
                # a stopped mount takes 2 s: once, not for each line
                self._places[mountpoint] = error
        place = self._places[mountpoint]
        if isinstance(place, AllenFSError):
            raise place
        return place

    def _new_place(self, mountpoint: Path | None) -> Place:
        service, store = self._settings(mountpoint)
        if self._parsed.task == "evict":
            store = replace(store, capacity_bytes=_ALL_BYTES)
        tree = Tree(
            assemble(service, store),
            mountpoint,
            connections=service.connections,
            interrupted=self._stop.is_set,
        )
        return Place(tree, patience_s=self._parsed.patience)

    def _settings(
        self, mountpoint: Path | None
    ) -> tuple[ServiceSettings, StoreSettings]:
        if mountpoint is not None:
            return _mount_settings(mountpoint, self._parsed)
        try:
            service = arguments.service_settings(self._parsed)
        except UrlError as error:
            raise ConfigError(str(error)) from error
        name = arguments.service_name(self._parsed, service)
        store = arguments.store_settings(self._parsed, name)
        if self._parsed.sample:
            return self._stack.enter_context(on_sample(service, store))
        return service, store


def _lines_of(fd: int, is_ended: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines of a stream as they arrive, except blank ones.

    Reads the file descriptor: a thread that blocks in `sys.stdin` holds its lock, and
    Python then aborts at exit. `is_ended` is polled several times a second.

    Raises OSError if it cannot be read, has a line that is longer than any path, or was
    not read to its end.
    """
    rest, data = b"", b"more"
    while data:
        if is_ended():
            raise OSError(errno.ECANCELED, "not read to its end")
        if select.select([fd], [], [], _POLL_S)[0]:
            data = os.read(fd, _CHUNK_BYTES)
            *whole, rest = _LINE_END.split(rest + data)
            if len(rest) > _MAX_LINE_BYTES:
                raise OSError(errno.ENAMETOOLONG, "a line is longer than any path")
            lines = whole if data else [rest.removesuffix(b"\r")]
            yield from (os.fsdecode(line) for line in lines if line.strip())


def _located(text: str) -> tuple[Path | None, str]:
    """Return the mountpoint that a path is in (None without one), and the path there.

    Raises ConfigError as `arguments.absolute_path`, and PathNotFoundError if the path
    is neither in a mount nor one of the tree.
    """
    mountpoint, below = _in_mount(arguments.absolute_path(text))
    if mountpoint is not None:
        return mountpoint, arguments.tree_path(below)
    below = arguments.tree_path(posixpath.normpath(text).lstrip("/"))
    if below.partition("/")[0] not in ROOT_NAMES:
        raise PathNotFoundError("neither in an allenfs mount nor a path of its tree")
    return None, below


def _in_mount(path: Path, max_links: int = _MAX_LINKS) -> tuple[Path | None, str]:
    """Return the allenfs mount that an absolute path is in, and the path below it.

    Symbolic links on the way to the mountpoint are followed. The mount itself is not
    accessed, as it may be dead.
    """
    mounted, here = mount_table.mounted(), Path(path.root)
    for depth, name in enumerate(path.parts[1:], 2):
        here = here.parent if name == ".." else here / name
        rest = path.parts[depth:]
        if here in mounted:
            return here, posixpath.normpath("/".join(rest))
        with contextlib.suppress(OSError):
            target = here.parent.joinpath(os.readlink(here), *rest)
            return _in_mount(target, max_links - 1) if max_links else (None, "")
    return None, ""


def _mount_settings(
    mountpoint: Path, parsed: argparse.Namespace
) -> tuple[ServiceSettings, StoreSettings]:
    """Return the settings of a mount: from its status, otherwise from the arguments."""
    status = probe.status(mountpoint)
    directory = Path(status.store.directory)
    _require_usable(mountpoint, directory, status.pid)
    flags = argparse.Namespace(**vars(parsed))
    flags.sample, flags.api_url = False, status.service.url
    flags.connections = max(1, status.service.connections)
    service = arguments.service_settings(flags)
    if service.proxy is None:
        service = replace(service, proxy=_proxy_like(status.service.proxy))
    return service, StoreSettings(
        directory, status.store.capacity_bytes, status.service.name
    )


def _proxy_like(shown: str | None) -> str:
    """Return the URL of a mount's proxy, with the password that the environment has.

    The status shows neither user nor password.
    """
    host = (shown or "").partition("://")[2]
    for url in urllib.request.getproxies().values():
        if host and url.rpartition("://")[2].rpartition("@")[2].rstrip("/") == host:
            return checked_proxy(url, "the environment")
    return shown or ""


def _require_usable(mountpoint: Path, directory: Path, process_id: int) -> None:
    """Raise if a mount's store belongs to another user, or is in another container."""
    mount = mount_table.mount_at(mountpoint)
    owner = mount.owner if mount else None
    problem = ""
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        if _mount_namespace("self") != _mount_namespace(process_id):
            problem = "is in another container: run this command there"
    except OSError:  # inside another user's private directory
        pass
    if owner not in (None, os.geteuid()):
        problem = problem or "belongs to another user: run this command as that user"
    if problem:
        raise AllenFSError(
            f"the store of {printable(str(mountpoint))} {problem}, "
            "or read the files instead, as with cp"
        )
    require_own(directory)


def _mount_namespace(process: int | str) -> str | None:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{process}/ns/mnt")
    return None
