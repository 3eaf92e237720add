"""``allenfs url``: print the download URL of a path."""

from __future__ import annotations

import argparse
import os

from allenfs import config
from allenfs.cli import arguments
from allenfs.errors import PathNotFoundError
from allenfs.mount import mount_table

SUMMARY = "print the download URL of a path"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "path", metavar="PATH", help="in a mount, or relative to its root"
    )


def run(parsed: argparse.Namespace) -> None:
    """Print the URL."""
    from allenfs.model import tree

    chosen = os.environ.get(config.API_URL_VARIABLE)
    api_url = config.parse_api_url(chosen or config.DEFAULT_API_URL)
    try:
        node = tree.parse(arguments.tree_path(parsed.path.removeprefix("./")))
    except PathNotFoundError:
        node = tree.parse(arguments.tree_path(_below_mountpoint(parsed.path)))
    print(tree.request_of(node).url(api_url))


def _below_mountpoint(text: str) -> str:
    """Return a path relative to the mount that it is in, or as it is."""
    path = arguments.absolute_path(text)
    for place in mount_table.mounted():
        if path.is_relative_to(place):
            return str(path.relative_to(place))
    return text
