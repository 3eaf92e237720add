"""What else is on this machine: mounts, the log, crawlers, limits."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shlex
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.adapters.serving import PID_ATTRIBUTE
from allenfs.cli.doctor.findings import Finding, LateError, fail, ok, skip, warn, within
from allenfs.errors import ConfigError, ProcessLimitError
from allenfs.mount.mountpoint import SUBTYPE, mounted

if TYPE_CHECKING:
    from collections.abc import Callable

# Of a mount on this machine, which answers within a millisecond.
_ANSWER_S = 3.0
_AT_ONCE = 8
_FEW_FILES = 1024
# A download takes two threads of the daemon, and each waiting open one more.
_FEW_PROCESSES = 100
_SHOWN = 5


def mounts(places: Callable[[], list[Path]] = mounted) -> Finding:
    """Whether the mounts that there are answer."""
    found = places()
    if not found:
        return ok("none now")
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            states = dict(zip(found, pool.map(_state, found), strict=True))
    except RuntimeError as error:
        raise ProcessLimitError(str(error)) from error
    bad = [place for place in found if states[place] in ("dead", "silent")]
    if not bad:
        foreign = sum(state == "foreign" for state in states.values())
        others = f", {foreign} of other users" if foreign else ""
        return ok(f"{len(found)} mounted, all answer{others}")
    shown = ", ".join(f"{place} ({states[place]})" for place in bad[:_SHOWN])
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return fail(
        f"{len(bad)} of {len(found)} do not answer: {shown}{more}",
        "; ".join(f"allenfs umount {shlex.quote(str(one))}" for one in bad[:_SHOWN]),
    )


def _state(place: Path) -> str:
    try:
        within(_ANSWER_S, partial(os.getxattr, place, PID_ATTRIBUTE))
    except LateError:
        return "silent"
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return "dead"
        if error.errno == errno.EACCES:
            return "foreign"  # only who mounted it may look
    return "answers"


def log_file() -> Finding:
    """Whether a mount in the background can write its log."""
    try:
        path = config.default_log_file(os.environ)
    except ConfigError as error:
        return warn(str(error), "without it, a mount in the background writes no log")
    with contextlib.suppress(OSError):  # a folder above it cannot be read
        if path.exists():
            if os.access(path, os.W_OK) and path.is_file():
                return ok(f"{path}, {path.stat().st_size:,} bytes")
        elif os.access(existing(path), os.W_OK | os.X_OK):
            return ok(f"{path}, not there yet")
    return warn(
        f"{path} cannot be written: a mount in the background has no log",
        "make it writable, or mount with --log-file FILE",
    )


def existing(path: Path) -> Path:
    """Return `path`, or its nearest parent that exists.

    Raises
    ------
    OSError
        A folder on the way cannot be read, or its file system is dead.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return existing(path.parent)
    return path


def crawlers(path: Path = Path("/etc/updatedb.conf")) -> Finding:
    """Whether updatedb, which walks through everything at night, leaves mounts out."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return skip("no updatedb here")
    kind = f"fuse.{SUBTYPE}"
    pruned = re.findall(r"^\s*PRUNEFS\s*=\s*\"?([^\"\n]*)", text, re.MULTILINE)
    if kind in " ".join(pruned[-1:]).lower().split():
        return ok(f"updatedb leaves {kind} out")
    return warn(
        f"updatedb would walk through mounts that root sees: no {kind} in {path}",
        f"sudo sed -i 's/^\\s*PRUNEFS\\s*=\\s*\"/&{kind} /' {path}",
    )


def open_files() -> Finding:
    """Say how many images can be open at once: each takes a descriptor."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return ok("no limit")
    if most < _FEW_FILES:
        return warn(
            f"at most {most:,}, one for each image that is open",
            "raise it: ulimit -Hn 4096, or nofile in /etc/security/limits.conf",
        )
    return ok(f"at most {most:,}")


def processes() -> Finding:
    """Say how many processes, threads included, this user may have."""
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most == resource.RLIM_INFINITY or os.geteuid() == 0:
        return ok("no limit")
    if most < _FEW_PROCESSES:
        return warn(
            f"limit of {most:,} processes and threads: opening files may fail",
            "raise it: ulimit -u 1000, or nproc in /etc/security/limits.conf",
        )
    return ok(f"at most {most:,}")
