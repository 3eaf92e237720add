"""FUSE on this machine: device, libfuse, and the helper for users."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from allenfs.cli.doctor.findings import Finding, fail, ok, warn
from allenfs.errors import MountError

_HELPERS = ("fusermount3", "fusermount")
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


def device(
    path: Path = Path("/dev/fuse"), kinds: Path = Path("/proc/filesystems")
) -> Finding:
    """Check that this user can open ``/dev/fuse``."""
    in_kernel = "\tfuse\n" in kinds.read_text()
    try:
        found = path.stat()
        if not stat.S_ISCHR(found.st_mode):
            return fail(f"{path} is not a device", f"rm {path}; modprobe fuse")
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return fail(
            f"{path} does not exist",
            "load the kernel module: sudo modprobe fuse; in a container, start it with "
            "--device /dev/fuse --cap-add SYS_ADMIN"
            + ("" if in_kernel else "; the kernel module fuse is not loaded"),
        )
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
            "load the kernel module: sudo modprobe fuse",
        )
    return ok(f"{path} can be opened")


def libfuse() -> Finding:
    """Check that libfuse and its Python binding can be loaded, as a mount loads them.

    A child process does it, as loading a broken library may crash.
    """
    done = _run(sys.executable, "-c", _LOAD)
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


def helper(
    search: str | None = None, status: Path = Path("/proc/self/status")
) -> Finding:
    """Check that this user can mount: other than root, with setuid fusermount."""
    found = {name: shutil.which(name, path=search) for name in _HELPERS}
    places = [place for place in found.values() if place]
    process = dict(re.findall(r"^(\w+):\s*(\w+)$", status.read_text(), re.MULTILINE))
    if os.geteuid() == 0:
        if not int(process["CapEff"], 16) >> _CAP_SYS_ADMIN & 1:
            return fail(
                "root cannot mount here (no CAP_SYS_ADMIN)",
                "start the container with --cap-add SYS_ADMIN --device /dev/fuse "
                "--security-opt apparmor=unconfined",
            )
        there = _version(places[0]) if places else "not installed"
        return ok(f"not needed by root ({there})")
    if not places:
        return fail("neither fusermount3 nor fusermount in PATH", _INSTALL_HELPER)
    if process.get("NoNewPrivs") == "1":
        return fail(
            f"{places[0]} cannot become root here (no_new_privs)",
            "mount from a session outside of this container or sandbox",
        )
    for place in places:
        if problem := _setuid_problem(Path(place)):
            return fail(
                f"{place} {problem}", f"sudo chmod u+s {place}, or reinstall it"
            )
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return fail(
            f"{places[0]} refuses user {os.getuid()}, who has no entry in passwd",
            "add one: sudo useradd --uid NUMBER NAME; or start the container as a "
            "user of its image",
        )
    if found["fusermount"] is None:
        return warn(
            f"{_version(places[0])}, but no fusermount, which libfuse 2 runs",
            f"sudo ln -s fusermount3 {Path(places[0]).with_name('fusermount')}",
        )
    return ok(f"{_version(places[0])}, setuid root")


def allow_other(path: Path = Path("/etc/fuse.conf")) -> Finding:
    """Report who can use ``--allow-other``."""
    if os.geteuid() == 0:
        return ok("allowed for root")
    try:
        lines = path.read_text(errors="replace").splitlines()
        mode = path.stat().st_mode
    except FileNotFoundError:
        lines, mode = [], 0
    except PermissionError:
        return warn(f"{path} cannot be read", f"sudo chmod 644 {path}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return warn(f"{path} is writable by other users", f"sudo chmod 644 {path}")
    if any(line.strip() == "user_allow_other" for line in lines):
        return ok(f"allowed for all users (user_allow_other in {path})")
    return ok(f"for root only: user_allow_other is not in {path}")


def _setuid_problem(place: Path) -> str:
    """Return why the program would not run as root, or an empty text."""
    found = place.stat()
    if found.st_uid != 0:
        return "is not owned by root"
    if not found.st_mode & stat.S_ISUID:
        try:
            os.getxattr(place, "security.capability")
        except OSError:
            return "is not setuid root"
    if os.statvfs(place).f_flag & os.ST_NOSUID:
        return "is on a file system mounted nosuid"
    return ""


def _version(place: str) -> str:
    try:
        done = _run(place, "--version")
    except OSError:
        return place
    number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return f"{place} {number[0]}" if number else place


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program; raises OSError, also if it does not end in time."""
    try:
        return subprocess.run(  # noqa: S603 - no shell
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_CHILD_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"not finished after {error.timeout:.0f} s"
        raise TimeoutError(msg) from error
