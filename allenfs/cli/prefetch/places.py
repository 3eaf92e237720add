"""The places that the paths of a command line are in: mounts, or none of them."""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import os
import posixpath
import re
import select
import sys
import threading
import urllib.request
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.assembly import assemble, on_sample
from allenfs.cli import arguments
from allenfs.cli.prefetch.gathering import Gathering, Task
from allenfs.cli.prefetch.outage import Outage
from allenfs.cli.prefetch.tree import Tree
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import AllenFSError, ConfigError, PathNotFoundError, UrlError
from allenfs.model.tree import ROOT_NAMES
from allenfs.mount import mount_table, probe
from allenfs.service.network import checked_proxy
from allenfs.store import trust
from allenfs.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

_STDIN = "-"
_POLL_S = 0.2
_CHUNK_BYTES = 2**16
_MAX_LINE_BYTES = 2**16
# `find -print0` ends names with NUL, which no path contains.
_LINE_END = re.compile(rb"\r?\n|\0")
_LINKS = 40  # as many as the kernel follows
# Eviction must not make room for other images.
_ALL_BYTES = 2**62


class Places:
    """The mounts that the paths are in, and the tree without one; to be entered.

    Parameters
    ----------
    failed : callable
        Called with a path that cannot be used, and why, from any thread.

    Attributes
    ----------
    stop : Event
        Set to stop all work.
    """

    def __init__(
        self,
        parsed: argparse.Namespace,
        task: Task,
        failed: Callable[[str, str], None],
    ) -> None:
        self._parsed = parsed
        self._task = task
        self._failed = failed
        self._stack = contextlib.ExitStack()  # ends the sample service
        self._pause_s = ServiceSettings("").failure_memory_s + 1
        self._trees: dict[Path | None, tuple[Tree, Outage]] = {}
        self.stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._stack.close()

    def gatherings(self) -> Iterator[Gathering]:
        """Yield a gathering for the paths of each place, then for standard input.

        Raises AllenFSError if a mount does not answer (after 2 s if its process is
        stopped), its store cannot be used by this process, or an argument is invalid.
        """
        patterns: dict[Path | None, list[str]] = {}
        for text in self._parsed.paths:
            if text == _STDIN:
                continue
            try:
                mountpoint, below = _located(text)
            except PathNotFoundError as error:
                self._failed(text, str(error))
                continue
            patterns.setdefault(mountpoint, []).append(below)
        # each is checked before the first is used
        yield from [self._gathering(*place) for place in patterns.items()]
        if _STDIN in self._parsed.paths:
            yield from self._listed()

    def _listed(self) -> Iterator[Gathering]:
        """Yield a gathering for each run of lines of standard input in one place."""
        # the thread that finds the files consumes the group
        for mountpoint, group in itertools.groupby(self._lines(), lambda line: line[0]):
            try:
                gathering = self._gathering(mountpoint, (below for _, below in group))
            except AllenFSError as error:
                self._failed(str(mountpoint), str(error))
                continue
            yield gathering

    def _lines(self) -> Iterator[tuple[Path | None, str]]:
        used: set[Path | None] = set()

        def is_given_up(mountpoint: Path | None) -> bool:
            known = self._trees.get(mountpoint)
            return known is not None and known[1].reason is not None

        def is_ended() -> bool:
            return self.stop.is_set() or (bool(used) and all(map(is_given_up, used)))

        try:
            for line in _lines_of(sys.stdin.fileno(), is_ended):
                try:
                    mountpoint, below = _located(line)
                except AllenFSError as error:
                    self._failed(line, str(error))
                    continue
                used.add(mountpoint)
                yield mountpoint, below
        except OSError as error:
            if not self.stop.is_set():
                self._failed("standard input", error.strerror or str(error))

    def _gathering(self, mountpoint: Path | None, patterns: Iterable[str]) -> Gathering:
        if mountpoint not in self._trees:
            outage = Outage(pause_s=self._pause_s, patience_s=self._parsed.patience)
            self._trees[mountpoint] = self._tree(mountpoint), outage
        tree, outage = self._trees[mountpoint]
        return Gathering(
            tree,
            patterns,
            self._task,
            recursive=self._parsed.recursive,
            outage=outage,
            stop=self.stop,
        )

    def _tree(self, mountpoint: Path | None) -> Tree:
        if mountpoint is None:
            service, store = self._settings()
        else:
            service, store = _mount_settings(mountpoint, self._parsed)
        if self._task is Task.EVICT:
            store = replace(store, capacity_bytes=_ALL_BYTES)
        return Tree(
            assemble(service, store),
            mountpoint,
            connections=service.connections,
            interrupted=self.stop.is_set,
        )

    def _settings(self) -> tuple[ServiceSettings, StoreSettings]:
        try:
            service = arguments.service_settings(self._parsed)
        except UrlError as error:
            raise ConfigError(str(error)) from error
        name = config.service_name(service.api_url)
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
    rest = b""
    while not is_ended():
        if not select.select([fd], [], [], _POLL_S)[0]:
            continue
        data = os.read(fd, _CHUNK_BYTES)
        *whole, rest = _LINE_END.split(rest + data)
        if not data:
            whole.append(rest.removesuffix(b"\r"))
        elif len(rest) > _MAX_LINE_BYTES:
            msg = "a line is longer than any path, and the rest was not read"
            raise OSError(errno.ENAMETOOLONG, msg)
        yield from (os.fsdecode(line) for line in whole if line.strip())
        if not data:
            return
    raise OSError(errno.ECANCELED, "not read to its end")


def _located(text: str) -> tuple[Path | None, str]:
    """Return the mountpoint that a path is in (None without one), and the path there.

    Raises ConfigError as `arguments.absolute_path`, and PathNotFoundError if the path
    is neither in a mount nor one of the tree.
    """
    mountpoint = None
    try:
        mountpoint, below = _in_mount(arguments.absolute_path(text))
    except ConfigError:
        if not text or text.startswith("."):
            raise
        # the current directory no longer exists: it is in no mount
    if mountpoint is None:
        below = posixpath.normpath(text).lstrip("/")
    below = arguments.tree_path(below)
    if mountpoint is None and below.partition("/")[0] not in ROOT_NAMES:
        msg = "neither in an allenfs mount nor a path of its tree"
        raise PathNotFoundError(msg)
    return mountpoint, below


def _in_mount(path: Path) -> tuple[Path | None, str]:
    """Return the allenfs mount that an absolute path is in, and the path below it.

    Symbolic links on the way to the mountpoint are followed. The mount itself is not
    accessed, as it may be dead.
    """
    mounted = set(mount_table.mounted())
    names, links = deque(path.parts[1:]), 0
    here = Path(path.root)
    while here not in mounted:
        if not names or links > _LINKS:
            return None, ""
        name = names.popleft()
        if name == "..":
            here = here.parent
            continue
        here /= name
        if here in mounted:
            break
        with contextlib.suppress(OSError):
            target = Path(os.readlink(here))
            links += 1
            here = Path("/") if target.is_absolute() else here.parent
            names.extendleft(reversed(target.relative_to(target.anchor).parts))
    return here, posixpath.normpath("/".join(names))


def _mount_settings(
    mountpoint: Path, parsed: argparse.Namespace
) -> tuple[ServiceSettings, StoreSettings]:
    """Return the settings of a mount: its status, and the arguments for the rest."""
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
    advice = "run this command {}, or read the files instead, as with cp"
    store = f"the store of {printable(str(mountpoint))}"
    mount = mount_table.mount_at(mountpoint)
    owner = mount.owner if mount else None
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        if not _shares_namespace(process_id):
            msg = f"{store} is in another container: {advice.format('there')}"
            raise AllenFSError(msg) from None
    except OSError:  # inside a private directory
        pass
    if owner is not None and owner != os.geteuid():
        msg = f"{store} belongs to another user: {advice.format('as that user')}"
        raise AllenFSError(msg)
    trust.require_own(directory)


def _shares_namespace(process_id: int) -> bool:
    """Whether a process of this user sees the same file systems."""
    try:
        own, other = (
            os.readlink(f"/proc/{one}/ns/mnt") for one in ("self", process_id)
        )
    except OSError:
        return False
    return own == other
