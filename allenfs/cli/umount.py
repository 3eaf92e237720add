"""``allenfs umount``: unmount."""

from __future__ import annotations

import argparse
import sys

from allenfs.cli.arguments import add_mountpoint

SUMMARY = "unmount; running downloads are cancelled"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_mountpoint(parser)


def run(parsed: argparse.Namespace) -> None:
    """Unmount."""
    from allenfs.mount.mountpoint import unmount

    still_running = unmount(parsed.mountpoint)
    if still_running is not None:
        print(f"allenfs: {still_running}", file=sys.stderr)
