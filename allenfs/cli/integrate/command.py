"""``allenfs integrate``: completions, manual pages, a unit, helpers of mount(8)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs.cli.arguments import absolute_path, checked
from allenfs.errors import ConfigError

if TYPE_CHECKING:
    import argparse

SUMMARY = "let the shell, man, mount and systemd know of allenfs"

_PREFIX = "/usr/local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--user",
        action="store_true",
        help="for you alone (default, unless you are root)",
    )
    whose.add_argument(
        "--system", action="store_true", help="for all users of this machine (as root)"
    )
    parser.add_argument(
        "--prefix",
        type=checked(absolute_path),
        metavar="DIR",
        help=f"with --system: where share and lib are (default {_PREFIX})",
    )
    parser.add_argument(
        "--destdir",
        type=checked(absolute_path),
        metavar="DIR",
        help="with --system: the root of a package that is being built",
    )
    parser.add_argument(
        "--uninstall", action="store_true", help="remove what was put there"
    )


def run(parsed: argparse.Namespace) -> None:
    """Put the files there, or remove them, and say which."""
    from allenfs.cli.integrate import files  # noqa: PLC0415 - other commands do without it

    if parsed.system or (os.geteuid() == 0 and not parsed.user):
        prefix = parsed.prefix or Path(_PREFIX)
        places = files.of_system(prefix, parsed.destdir)
    elif parsed.prefix or parsed.destdir:
        msg = "--prefix and --destdir are for --system"
        raise ConfigError(msg)
    else:
        places = files.of_user(os.environ)
    if parsed.uninstall:
        done, word = files.remove(places, parsed.top), "removed"
    else:
        done, word = files.install(places, parsed.top), "written"
    for path in done:
        print(f"{word}  {path}")
    if not done:
        print("nothing was there")
    elif not parsed.uninstall and parsed.destdir is None:
        print("zsh finds its completion where $fpath has that folder; new shells do")
        print("systemctl --user daemon-reload lets systemd see the unit")
