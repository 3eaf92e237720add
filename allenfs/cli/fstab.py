"""``mount.allenfs``: the helper that mount(8) runs, also for a line of fstab(5).

It is called as ``mount.allenfs SOURCE DIRECTORY [-sfnv] [-o OPTIONS] [-t TYPE]``, with
the options of mount(8), of libfuse and of ``allenfs mount`` in one list. It drops those
of mount(8), and passes the others on to ``allenfs mount``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from allenfs import config
from allenfs.cli import arguments, mount
from allenfs.errors import AllenFSError, ConfigError, MountError
from allenfs.mount import mount_table
from allenfs.mount.probe import Liveness, liveness
from allenfs.text import printable, without_user

PROGRAM = "mount.allenfs"
SAMPLE = "sample"
DEFAULTS = ("default", "none", "allenfs")
SOURCES = (
    f'"{SAMPLE}" for the embedded sample service, a URL, '
    f'"{config.SOURCE_PREFIX}HOST" (https), or "default" for '
    f"{config.DEFAULT_API_URL}"
)

# The exit codes that mount(8) documents.
_EXIT_USAGE, _EXIT_SYSTEM, _EXIT_INTERRUPTED, _EXIT_FAILED = 1, 2, 8, 32

# Options that only mount(8) and systemd use, or that mean nothing on a read-only file
# system. mount(8) passes rw by default; the mount is ro,nosuid,nodev regardless.
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
# Commas within double quotes are part of a value: mount(8), "COMMAND-LINE OPTIONS"
_OPTION = re.compile(r'(?:[^,"]|"[^"]*"?)+')


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as ConfigError, in one line like all errors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments that mount(8) passes."""
    top = _Parser(
        prog=PROGRAM,
        description="The helper of mount(8): mounts the image services of the "
        "Allen Brain Atlas.",
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
    for flag, name, text in (
        ("-s", "sloppy", "ignore unknown options"),
        ("-f", "fake", "check everything, but do not mount"),
        ("-n", "no_mtab", "ignored"),
        ("-v", "verbose", "print what was mounted"),
    ):
        top.add_argument(flag, dest=name, action="store_true", help=text)
    top.add_argument("-t", dest="kind", metavar="TYPE", help="ignored")
    return top


def _mount_parser() -> argparse.ArgumentParser:
    flags = _Parser(prog=PROGRAM, allow_abbrev=False, add_help=False)
    mount.add_arguments(flags)
    flags.add_argument(
        "--setuid",
        metavar="USER",
        help="mount as this user, who owns the mount, the images and the log",
    )
    return flags


def mount_flags() -> dict[str, argparse.Action]:
    """Return the flags of ``allenfs mount`` that are options here, without dashes."""
    return {
        name.removeprefix("--"): action
        for action in _mount_parser()._actions  # noqa: SLF001 - argparse has no other way
        for name in action.option_strings
        if name.startswith("--") and name != "--foreground"
    }


def is_call(argv: Sequence[str]) -> bool:
    """Whether mount.fuse(8) runs ``allenfs`` with the arguments of a mount helper.

    It does so if ``mount.allenfs`` is not installed.
    """
    return len(argv) > 2 and argv[2] == "-o" and not argv[0].startswith("-")


def main(argv: Sequence[str] | None = None) -> int:
    """Mount; return the exit code that mount(8) expects.

    0, or 1 for a wrong command line, 2 for a system error, 32 for a failed mount, each
    with one line on stderr.
    """
    try:
        _run(parser().parse_args(argv))
    except (AllenFSError, OSError) as error:
        print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
        if isinstance(error, ConfigError):
            return _EXIT_USAGE
        return _EXIT_SYSTEM if isinstance(error, OSError) else _EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    return 0


def _run(parsed: argparse.Namespace) -> None:
    options = [
        found.replace('"', "")
        for text in parsed.options
        for found in _OPTION.findall(text)
    ]
    mounting = _mount_parser().parse_args(
        command_line(parsed.source, parsed.mountpoint, options, sloppy=parsed.sloppy)
    )
    if mounting.setuid is not None:
        _become(mounting.setuid)
    settings = mount.settings_of(mounting)
    place = settings.mountpoint
    # a repeated `mount -a`: mount(8) itself compares the source with that of fstab
    is_mounted = _is_mounted(place, settings.source)
    if not (is_mounted or parsed.fake):
        try:
            mount.run(mounting)
        except MountError:
            # another process has just mounted it, perhaps an automount
            if not _is_mounted(place, settings.source):
                raise
    if parsed.verbose:
        already = " already" if is_mounted else ""
        print(f"{PROGRAM}: {settings.source} on {place}{already}")


def _is_mounted(place: Path, source: str) -> bool:
    return mount_table.source(place) == source and liveness(place) is not Liveness.DEAD


def command_line(
    source: str, place: Path, options: Sequence[str], *, sloppy: bool = False
) -> list[str]:
    """Return the arguments of ``allenfs mount``; without unknown options if `sloppy`.

    Raises ConfigError for an unknown source, or a remount with other options.
    """
    flags = mount_flags()
    translated = _source_arguments(source)
    for option in options:
        name, equals, value = option.partition("=")
        flag = name.replace("_", "-")
        if name in _DROPPED or name.startswith(_DROPPED_PREFIXES):
            continue
        if name == "remount":
            raise ConfigError(
                f"{place}: options cannot be changed while mounted: unmount it first"
            )
        if flag in flags:
            # without a value, `--flag=` would be rejected by a flag that takes none
            takes_value = flags[flag].nargs != 0
            translated.append(f"--{flag}{'=' if takes_value else equals}{value}")
        elif not sloppy or _is_fuse_option(option):
            translated.append(f"-o{option}")
    return [*translated, "--", str(place)]


def _source_arguments(source: str) -> list[str]:
    name = source.removeprefix(config.SOURCE_PREFIX)
    if name == SAMPLE:
        return ["--sample"]
    if name in DEFAULTS:
        return []
    if "://" not in source and not source.startswith(config.SOURCE_PREFIX):
        raise ConfigError(f"not a source: {without_user(source)!r} (use {SOURCES})")
    return ["--api-url", name if "://" in name else f"https://{name}"]


def _is_fuse_option(option: str) -> bool:
    with contextlib.suppress(ConfigError):
        return bool(config.parse_fuse_options([option]))
    return False


def _become(name: str) -> None:
    """Become another user permanently, with the environment of that user.

    Raises ConfigError if there is no such user, and MountError if this process is not
    privileged, or that user cannot run this Python.
    """
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as error:
        raise ConfigError(f"-o setuid: no such user: {name!r}") from error
    if user.pw_uid == os.geteuid():
        return
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except PermissionError as error:
        raise MountError(f"-o setuid={name}: only root can change the user") from error
    if not os.access(sys.executable, os.X_OK):
        raise MountError(
            f"-o setuid={name}: {name} is not allowed to run {sys.executable}"
        )
    for variable in [one for one in os.environ if one.startswith("XDG_")]:
        del os.environ[variable]
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


if __name__ == "__main__":
    sys.exit(main())
