"""The rest of this machine: mounts, the log, crawlers, limits."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli.doctor.findings import Finding, fail, ok, skip, warn
from allenfs.errors import ConfigError, ProcessLimitError
from allenfs.mount.mount_table import SUBTYPE, mounted
from allenfs.mount.probe import Liveness, liveness

if TYPE_CHECKING:
    from collections.abc import Callable

_BAD = {Liveness.DEAD: "dead", Liveness.SILENT: "silent"}
_AT_ONCE = 8
_FEW_FILES = 1024
# A download takes two threads of the daemon, and each waiting open another one.
_FEW_PROCESSES = 100
_SHOWN = 5


def mounts(places: Callable[[], list[Path]] = mounted) -> Finding:
    """Check that all mounts answer."""
    found = places()
    if not found:
        return ok("none")
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            states = dict(zip(found, pool.map(liveness, found), strict=True))
    except RuntimeError as error:
        raise ProcessLimitError(str(error)) from error
    bad = [place for place in found if states[place] in _BAD]
    if not bad:
        foreign = list(states.values()).count(Liveness.FOREIGN)
        others = f", {foreign} owned by other users" if foreign else ""
        return ok(f"{len(found)} mounted, all answer{others}")
    shown = ", ".join(f"{place} ({_BAD[states[place]]})" for place in bad[:_SHOWN])
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return fail(
        f"{len(bad)} of {len(found)} do not answer: {shown}{more}",
        "; ".join(f"allenfs umount {shlex.quote(str(one))}" for one in bad[:_SHOWN]),
    )


def log_file() -> Finding:
    """Check that a background mount can write its log."""
    try:
        path = config.default_log_file(os.environ)
    except ConfigError as error:
        return warn(str(error), "without it, a background mount writes no log")
    with contextlib.suppress(OSError):  # a parent directory cannot be read
        if path.exists():
            if os.access(path, os.W_OK) and path.is_file():
                return ok(f"{path}, {path.stat().st_size:,} bytes")
        elif os.access(existing(path), os.W_OK | os.X_OK):
            return ok(f"{path}, not created yet")
    return warn(
        f"{path} is not writable: a background mount writes no log",
        "make it writable, or mount with --log-file FILE",
    )


def existing(path: Path) -> Path:
    """Return `path`, or its nearest parent that exists; raises other OSErrors."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return existing(path.parent)
    return path


def crawlers(path: Path = Path("/etc/updatedb.conf")) -> Finding:
    """Check that updatedb, which scans all file systems daily, skips the mounts."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return skip("updatedb is not installed")
    kind = f"fuse.{SUBTYPE}"
    pruned = re.findall(r"^\s*PRUNEFS\s*=\s*\"?([^\"\n]*)", text, re.MULTILINE)
    if kind in " ".join(pruned[-1:]).lower().split():
        return ok(f"updatedb skips {kind}")
    return warn(
        f"updatedb scans mounts that root can access: {kind} is not in {path}",
        f"sudo sed -i 's/^\\s*PRUNEFS\\s*=\\s*\"/&{kind} /' {path}",
    )


def open_files() -> Finding:
    """Check how many images can be open at once: each takes a file descriptor."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _limit(
        most,
        _FEW_FILES,
        "open files; each open image takes one",
        "raise it: ulimit -Hn 4096, or nofile in /etc/security/limits.conf",
    )


def processes() -> Finding:
    """Check how many processes and threads this user may have."""
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return _limit(
        resource.RLIM_INFINITY if os.geteuid() == 0 else most,
        _FEW_PROCESSES,
        "processes and threads: opening files may fail",
        "raise it: ulimit -u 1000, or nproc in /etc/security/limits.conf",
    )


def _limit(most: int, few: int, meaning: str, advice: str) -> Finding:
    if most == resource.RLIM_INFINITY:
        return ok("no limit")
    if most < few:
        return warn(f"limit of {most:,} {meaning}", advice)
    return ok(f"at most {most:,}")
