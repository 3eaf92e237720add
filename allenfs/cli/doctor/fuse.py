"""FUSE on this machine: device, libraries, bindings, and the helper for users.

Each library is loaded in a child process, as loading a broken one may crash.
"""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.cli.doctor.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARIES = ("libfuse.so.2", "libfuse3.so.3", "libfuse3.so.4")
# Which libfuse each binding takes, by its major version.
_BINDINGS = {"fusepy": ("2",), "mfusepy": ("2", "3")}
_HELPERS = ("fusermount3", "fusermount")
_CAP_SYS_ADMIN = 21
_CHILD_S = 4.0
_INSTALL = (
    "install libfuse 3 (apt install fuse3, which pulls in libfuse3-3 or libfuse3-4; "
    "dnf install fuse3; pacman -S fuse3) or libfuse 2 (apt install libfuse2t64, or "
    "libfuse2 before Debian 13 and Ubuntu 24.04; dnf install fuse-libs; pacman -S "
    "fuse2)"
)
_INSTALL_HELPER = "install it: apt install fuse3, dnf install fuse3, pacman -S fuse3"
_PRINT_VERSION = """
import ctypes, sys
digits = str(ctypes.CDLL(sys.argv[1]).fuse_version())  # 29 is 2.9, and 314 is 3.14
print(f"{digits[0]}.{digits[1:]}")
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


def libraries(names: Sequence[str] = LIBRARIES) -> Finding:
    """Check which libfuse can be loaded, and report the versions."""
    loaded, refused = loadable(names)
    if not loaded:
        return fail(f"no libfuse can be loaded ({'; '.join(refused)})", _INSTALL)
    return ok(", ".join(f"{version} ({name})" for name, version in loaded.items()))


def loadable(names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Load each in a child process; return versions by name, and errors."""
    chosen = os.environ.get("FUSE_LIBRARY_PATH")  # the bindings load this one
    loaded: dict[str, str] = {}
    refused: list[str] = []
    for name in [chosen] if chosen else names:
        try:
            done = _run(sys.executable, "-I", "-c", _PRINT_VERSION, name)
        except OSError as error:
            refused.append(f"{name}: {error}")
            continue
        if done.returncode == 0:
            loaded[name] = done.stdout.strip()
        elif done.returncode < 0:
            refused.append(f"{name}: signal {-done.returncode} while loading")
        else:
            last = (done.stderr.strip().splitlines() or ["?"])[-1]
            refused.append(last.removeprefix("OSError: "))
    return loaded, refused


def bindings(names: Sequence[str] = LIBRARIES) -> Finding:
    """Check that a Python binding is installed for the installed libfuse."""
    installed = {name: found for name in _BINDINGS if (found := _installed(name))}
    if not installed:
        return fail(
            "neither fusepy nor mfusepy is installed",
            f"{sys.executable} -m pip install fusepy",
        )
    listed = ", ".join(f"{name} {version}" for name, version in installed.items())
    majors = {version.partition(".")[0] for version in loadable(names)[0].values()}
    if majors and not any(majors & {*_BINDINGS[package]} for package in installed):
        wanted = "fusepy" if "2" in majors else "mfusepy"
        return fail(
            f"{listed}, which cannot use libfuse {', '.join(sorted(majors))}",
            f"{sys.executable} -m pip install {wanted}; or {_INSTALL}",
        )
    return ok(listed)


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


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
