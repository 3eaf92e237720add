"""``mount.allenfs``: what mount(8) and a line of fstab(5) run.

It is called as ``mount.allenfs SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS]
[-t TYPE]``, with the options of mount(8), of libfuse and of ``allenfs mount`` mixed
in one list. The first are dropped, the others become its command line.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import pwd
import re
import sys
from typing import TYPE_CHECKING, NoReturn

from allenfs import config
from allenfs.cli import arguments, mount
from allenfs.errors import AllenFSError, ConfigError, MountError
from allenfs.mount import mountpoint
from allenfs.text import printable, without_user

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAM = "mount.allenfs"
SAMPLE = "sample"
DEFAULTS = ("default", "none", "allenfs")
SOURCES = (
    f'"{SAMPLE}" for the embedded sample service, a URL, '
    f'"{config.SOURCE_PREFIX}HOST" (https), or "default" for '
    f"{config.DEFAULT_API_URL}"
)
SETUID = "setuid"

# as the manual of mount(8) has them
_EXIT_USAGE, _EXIT_SYSTEM, _EXIT_FAILED = 1, 2, 32
_EXIT_INTERRUPTED = 8

# Of mount(8) and systemd, for them alone, or without a meaning where nothing is
# written. mount(8) says rw where fstab says nothing: the mount is read-only all the
# same, and never has devices or set-user-id programs.
_DROPPED = frozenset(
    {
        *("defaults", "auto", "noauto", "user", "nouser", "users", "group", "owner"),
        *("rw", "suid", "dev", "sync", "async", "dirsync", "silent", "loud"),
        *("atime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime"),
        *("nostrictatime", "lazytime", "nolazytime", "iversion", "noiversion"),
        *("mand", "nomand", "nofail", "_netdev", "comment", "nosymfollow"),
        *("helper", "uhelper"),
    }
)
_DROPPED_PREFIXES = ("x-", "X-")
# The whole of it is for the command line, or is said in another way here.
NO_OPTIONS = frozenset({"help", "foreground"})
# Commas within double quotes are part of a value: mount(8), "COMMAND-LINE OPTIONS"
_OPTION = re.compile(r'(?:[^,"]|"[^"]*"?)+')
_CLONE_NEWNS = 0x20000  # setns(2)


class _Parser(argparse.ArgumentParser):
    """One line for a wrong command line, as all that goes wrong has."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parser() -> argparse.ArgumentParser:
    """Return the parser of what mount(8) says."""
    top = _Parser(
        prog=PROGRAM,
        description="The helper of mount(8): mounts the image services of the "
        "Allen Brain Atlas on a directory.",
        allow_abbrev=False,
    )
    top.add_argument("source", metavar="SOURCE", help=SOURCES)
    arguments.add_mountpoint(top)
    top.add_argument(
        "-o",
        dest="options",
        action="append",
        default=[],
        metavar="OPTIONS",
        help="options, separated by commas",
    )
    top.add_argument(
        "-s", dest="sloppy", action="store_true", help="leave out what nobody knows"
    )
    top.add_argument("-f", dest="fake", action="store_true", help="all but mounting")
    top.add_argument("-n", action="store_true", help="changes nothing")
    top.add_argument("-v", dest="verbose", action="store_true", help="say what is done")
    top.add_argument(
        "-N",
        dest="namespace",
        metavar="NAMESPACE",
        help="mount in this mount namespace, as /proc/PID/ns/mnt",
    )
    top.add_argument("-t", dest="kind", metavar="TYPE", help="changes nothing")
    return top


def mount_parser() -> argparse.ArgumentParser:
    """Return the parser of ``allenfs mount``: each of its flags is an option."""
    flags = _Parser(prog=PROGRAM, allow_abbrev=False, add_help=False)
    mount.add_arguments(flags)
    return flags


def is_call(argv: Sequence[str]) -> bool:
    """Whether these are not arguments of ``allenfs``, but of a helper of mount(8).

    mount.fuse, where no helper of this name is installed, runs the program `allenfs`.
    """
    return len(argv) > 2 and argv[2] == "-o" and not argv[0].startswith("-")


def main(argv: Sequence[str] | None = None) -> int:
    """Mount; return the exit code that mount(8) asks for.

    0, or 1 for a wrong command line, 2 for a system error, 32 for a mount that
    failed, with one line on stderr.
    """
    try:
        _run(parser().parse_args(argv))
    except ConfigError as error:
        return _say(error, _EXIT_USAGE)
    except AllenFSError as error:
        return _say(error, _EXIT_FAILED)
    except OSError as error:
        return _say(error, _EXIT_SYSTEM)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    return 0


def command_line(
    source: str, place: Path, options: Sequence[str], *, sloppy: bool = False
) -> list[str]:
    """Return the arguments of ``allenfs mount``.

    Parameters
    ----------
    sloppy : bool
        Leave out what nobody knows.

    Raises
    ------
    ConfigError
        An option that there is not.
    """
    flags = {
        name[2:]: action
        for action in mount_parser()._actions  # noqa: SLF001 - argparse has no other way
        for name in action.option_strings
        if name.startswith("--") and name[2:] not in NO_OPTIONS
    }
    said = _source_arguments(source)
    for option in options:
        name, equals, value = option.partition("=")
        flag = name.replace("_", "-")
        if name in _DROPPED or name.startswith(_DROPPED_PREFIXES):
            continue
        if name == "remount":
            msg = f"{place}: no option can be changed while it is mounted: unmount it"
            raise ConfigError(msg)
        if flag in flags and flags[flag].nargs == 0:
            if equals:
                msg = f"-o {name}: it takes no value"
                raise ConfigError(msg)
            said.append(f"--{flag}")
        elif flag in flags:
            said.append(f"--{flag}={value}")
        elif not sloppy or _is_fuse_option(option):
            said.append(f"-o{option}")
    return [*said, "--", str(place)]


def _run(parsed: argparse.Namespace) -> None:
    options = _split(parsed.options)
    user = _taken(options, SETUID)
    mounting = mount_parser().parse_args(
        command_line(parsed.source, parsed.mountpoint, options, sloppy=parsed.sloppy)
    )
    if parsed.namespace is not None:
        _enter(parsed.namespace)
    if user is not None:
        _become(user)
    settings = mount.settings_of(mounting)
    place = settings.mountpoint
    # `mount -a` once more: mount(8) compares with the source that fstab says
    is_there = _is_there(place, settings.source)
    if not (is_there or parsed.fake):
        try:
            mount.run(mounting)
        except MountError:
            # somebody else just did, or an automount that was there
            if not _is_there(place, settings.source):
                raise
    if parsed.verbose:
        already = " already" if is_there else ""
        print(f"{PROGRAM}: {settings.source} on {place}{already}")


def _is_there(place: Path, source: str) -> bool:
    return mount_table.source(place) == source and liveness(place) is not Liveness.DEAD


def _say(error: Exception, exit_code: int) -> int:
    print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
    return exit_code


def _source_arguments(source: str) -> list[str]:
    name = source.removeprefix(config.SOURCE_PREFIX)
    if name == SAMPLE:
        return ["--sample"]
    if name in DEFAULTS:
        return []
    if "://" not in source and not source.startswith(config.SOURCE_PREFIX):
        msg = f"not a source: {without_user(source)!r} (there are {SOURCES})"
        raise ConfigError(msg)
    return ["--api-url", name if "://" in name else f"https://{name}"]


def _split(texts: Sequence[str]) -> list[str]:
    return [
        found[0].replace('"', "") for text in texts for found in _OPTION.finditer(text)
    ]


def _taken(options: list[str], name: str) -> str | None:
    """Take ``name=value`` out of the options; the last one counts."""
    value = None
    for option in [one for one in options if one.partition("=")[0] == name]:
        options.remove(option)
        value = option.partition("=")[2]
    return value


def _is_fuse_option(option: str) -> bool:
    with contextlib.suppress(ConfigError):
        return bool(config.parse_fuse_options([option]))
    return False


def _enter(namespace: str) -> None:
    """Go over to another mount namespace, by a file of ``/proc/PID/ns/mnt``."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(namespace, "rb") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNS) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), namespace)


def _become(name: str) -> None:
    """Go over to another user for good, with a home of his own.

    Raises
    ------
    ConfigError
        There is no such user.
    MountError
        The caller may not.
    """
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as error:
        msg = f"-o {SETUID}: no such user: {name!r}"
        raise ConfigError(msg) from error
    if user.pw_uid == os.geteuid():
        return
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except PermissionError as error:
        msg = f"-o {SETUID}={name}: only root can"
        raise MountError(msg) from error
    if not os.access(sys.executable, os.X_OK):
        msg = f"-o {SETUID}={name}: {name} may not run {sys.executable}"
        raise MountError(msg)
    for variable in [one for one in os.environ if one.startswith("XDG_")]:
        del os.environ[variable]
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


if __name__ == "__main__":
    sys.exit(main())
