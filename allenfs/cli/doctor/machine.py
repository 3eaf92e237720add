"""FUSE, the mounts, the log, and crawlers on this machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from allenfs import config
from allenfs.cli.doctor.findings import Finding, fail, ok, warn
from allenfs.errors import ConfigError, MountError
from allenfs.mount.daemon import python_path
from allenfs.mount.mount_table import SUBTYPE, mounted
from allenfs.mount.probe import Liveness, liveness

_CAP_SYS_ADMIN = 21
_CHILD_S = 6.0
_INSTALL = (
    "install libfuse 3 (apt install fuse3, which pulls in libfuse3-3 or libfuse3-4; "
    "dnf install fuse3; pacman -S fuse3) or libfuse 2 (apt install libfuse2t64, or "
    "libfuse2 before Debian 13 and Ubuntu 24.04; dnf install fuse-libs; pacman -S "
    "fuse2)"
)
_INSTALL_HELPER = "install it: apt install fuse3, dnf install fuse3, pacman -S fuse3"
_LOAD = """
from allenfs.adapters import fuse_operations
print(fuse_operations.versions())
"""


def device(path: Path = Path("/dev/fuse")) -> Finding:
    """Check that this user can open ``/dev/fuse``."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        mode = stat.filemode(path.stat().st_mode)
        return fail(
            f"no permission to open {path} ({mode}): {error.strerror}",
            f"sudo chmod 666 {path}, as udev does; start a container with "
            "--device /dev/fuse",
        )
    except OSError as error:
        return fail(
            f"{path} cannot be opened: {error.strerror}",
            "load the kernel module: sudo modprobe fuse; in a container, start it with "
            "--device /dev/fuse --cap-add SYS_ADMIN",
        )
    return ok(f"{path} can be opened")


def libfuse() -> Finding:
    """Check that libfuse and its Python binding can be loaded, as a mount loads them.

    A child process does it, as loading a broken library may crash; like a mount, it
    imports nothing from the current directory.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [sys.executable, "-c", _LOAD],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_CHILD_S,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": python_path()},
        )
    except subprocess.TimeoutExpired as error:
        return fail(f"not loaded after {error.timeout:.0f} s", _INSTALL)
    if done.returncode == 0:
        return ok(done.stdout.strip())
    if done.returncode < 0:
        return fail(f"signal {-done.returncode} while loading libfuse", _INSTALL)
    lines = done.stderr.strip().splitlines() or ["?"]
    kind, _, message = lines[-1].partition(": ")
    if kind.endswith(MountError.__name__):
        return fail(message, _INSTALL)
    return fail(
        f"a Python binding cannot be loaded ({lines[-1]})",
        f"{sys.executable} -m pip install --force-reinstall fusepy mfusepy, in an "
        "environment without python-fuse",
    )


def fusermount(
    search: str | None = None, status: Path = Path("/proc/self/status")
) -> Finding:
    """Check that this user can mount: other than root, with setuid fusermount."""
    process = dict(re.findall(r"^(\w+):\s*(\w+)$", status.read_text(), re.MULTILINE))
    if os.geteuid() == 0:
        if int(process["CapEff"], 16) >> _CAP_SYS_ADMIN & 1:
            return ok("not needed by root")
        return fail(
            "root cannot mount here (no CAP_SYS_ADMIN)",
            "start the container with --cap-add SYS_ADMIN --device /dev/fuse "
            "--security-opt apparmor=unconfined",
        )
    # libfuse 3 runs fusermount3, libfuse 2 fusermount
    both = [shutil.which(name, path=search) for name in ("fusermount3", "fusermount")]
    programs = [program for program in both if program]
    if not programs:
        return fail("neither fusermount3 nor fusermount in PATH", _INSTALL_HELPER)
    shown = " and ".join(programs)
    if process.get("NoNewPrivs") == "1":
        return fail(
            f"{shown} cannot become root here (no_new_privs)",
            "mount from a session outside of this container or sandbox",
        )
    for program in programs:
        found = os.stat(program)
        is_privileged = (
            found.st_mode & stat.S_ISUID
            or "security.capability" in os.listxattr(program)
        )
        if found.st_uid != 0 or not is_privileged:
            return fail(
                f"{program} is not setuid root",
                f"sudo chown root {program}; sudo chmod u+s {program}; or reinstall it",
            )
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return fail(
            f"{shown} refuses user {os.getuid()}, who has no entry in passwd",
            "add one: sudo useradd --uid NUMBER NAME; or start the container as a "
            "user of its image",
        )
    if both[1] is None:
        return warn(
            f"{shown}, but no fusermount, which libfuse 2 runs",
            f"sudo ln -s fusermount3 {Path(shown).with_name('fusermount')}",
        )
    return ok(f"{shown}, setuid root")


def allow_other(path: Path = Path("/etc/fuse.conf")) -> Finding:
    """Report who can use ``--allow-other``."""
    if os.geteuid() == 0:
        return ok("allowed for root")
    with contextlib.suppress(OSError):
        if re.search(r"(?m)^\s*user_allow_other\s*$", path.read_text(errors="replace")):
            return ok(f"allowed for all users (user_allow_other in {path})")
    return ok(f"for root only: user_allow_other is not in {path}")


def mounts(places: Callable[[], list[Path]] = mounted) -> Finding:
    """Check that no mount is dead or silent; takes 2 s for each silent one."""
    found = places()
    states = {place: liveness(place) for place in found}
    words = {Liveness.DEAD: "dead", Liveness.SILENT: "silent"}
    bad = {place: words[state] for place, state in states.items() if state in words}
    if not bad:
        return ok(f"{len(found)} mounted, none is dead or silent" if found else "none")
    return fail(
        f"{len(bad)} of {len(found)} do not answer: "
        + ", ".join(f"{place} ({word})" for place, word in bad.items()),
        "; ".join(f"allenfs umount {shlex.quote(str(place))}" for place in bad),
    )


def log_file() -> Finding:
    """Check that a background mount can write its log."""
    try:
        path = config.default_log_file(os.environ)
    except ConfigError as error:
        return warn(str(error), "without it, a background mount writes no log")
    with contextlib.suppress(OSError):  # a parent directory cannot be read
        place = existing(path)
        if place != path and os.access(place, os.W_OK | os.X_OK):
            return ok(f"{path}, not created yet")
        if path.is_file() and os.access(path, os.W_OK):
            return ok(f"{path}, {path.stat().st_size:,} bytes")
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
        return ok("updatedb is not installed")
    kind = f"fuse.{SUBTYPE}"
    pruned = re.findall(r"^\s*PRUNEFS\s*=\s*\"?([^\"\n]*)", text, re.MULTILINE)
    if kind in " ".join(pruned[-1:]).lower().split():
        return ok(f"updatedb skips {kind}")
    return warn(
        f"updatedb scans mounts that root can access: {kind} is not in {path}",
        f"sudo sed -i 's/^\\s*PRUNEFS\\s*=\\s*\"/&{kind} /' {path}",
    )


CHECKS: dict[str, Callable[[], Finding]] = {
    "device": device,
    "libfuse": libfuse,
    "fusermount": fusermount,
    "allow-other": allow_other,
    "mounts": mounts,
    "crawlers": crawlers,
    "log": log_file,
}
