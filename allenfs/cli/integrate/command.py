"""The command ``allenfs integrate``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from allenfs.cli.arguments import absolute_path, checked
from allenfs.errors import ConfigError

SUMMARY = "install completions, manual pages, mount helpers and a systemd unit"

_PREFIX = "/usr/local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--user",
        action="store_true",
        help="for the current user (default, except for root)",
    )
    whose.add_argument("--system", action="store_true", help="for all users (as root)")
    parser.add_argument(
        "--prefix",
        type=checked(absolute_path),
        metavar="DIR",
        help=f"with --system: the parent of share and lib (default {_PREFIX})",
    )
    parser.add_argument(
        "--destdir",
        type=checked(absolute_path),
        metavar="DIR",
        help="with --system: the root directory of a package build",
    )
    parser.add_argument(
        "--uninstall", action="store_true", help="remove the installed files"
    )


def run(parsed: argparse.Namespace) -> None:
    """Install or remove the files, and print their paths."""
    from allenfs.cli.integrate import files

    if parsed.system or (os.geteuid() == 0 and not parsed.user):
        prefix = parsed.prefix or Path(_PREFIX)
        places = files.of_system(prefix, parsed.destdir)
    elif parsed.prefix or parsed.destdir:
        raise ConfigError("--prefix and --destdir require --system")
    else:
        places = files.of_user(os.environ)
    if parsed.uninstall:
        done, word = files.remove(places, parsed.top), "removed"
    else:
        done, word = files.install(places, parsed.top), "written"
    for path in done:
        print(f"{word}  {path}")
    if not done:
        print("nothing to remove")
    elif not parsed.uninstall and parsed.destdir is None:
        print("zsh: add that directory to $fpath; other shells: open a new one")
        print("systemd: run systemctl --user daemon-reload")
