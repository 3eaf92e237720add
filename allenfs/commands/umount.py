"""``allenfs umount``: end a mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.arguments import add_mountpoint

if TYPE_CHECKING:
    import argparse

SUMMARY = "unmount; downloads under way are given up"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_mountpoint(parser)


def run(parsed: argparse.Namespace) -> None:
    """Unmount."""
    from allenfs.unmount import unmount  # noqa: PLC0415 - `url` does without it

    unmount(parsed.mountpoint)
