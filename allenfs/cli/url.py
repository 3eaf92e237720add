"""``allenfs url``: from a path to its download URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli import arguments
from allenfs.errors import PathNotFoundError
from allenfs.mount import mountpoint

if TYPE_CHECKING:
    import argparse

SUMMARY = "print the download URL that a path stands for"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("path", metavar="PATH", help="in a mount, or below its root")


def run(parsed: argparse.Namespace) -> None:
    """Print the URL."""
    from allenfs.model import tree  # noqa: PLC0415 - other commands do without it

    chosen = os.environ.get(config.API_URL_VARIABLE)
    api_url = config.parse_api_url(chosen or config.DEFAULT_API_URL)
    try:
        node = tree.parse(arguments.tree_path(parsed.path.removeprefix("./")))
    except PathNotFoundError:
        node = tree.parse(arguments.tree_path(_below_mountpoint(parsed.path)))
    print(tree.request_of(node).url(api_url))


def _below_mountpoint(text: str) -> str:
    """Cut the mountpoint off, where the path is one in a mount."""
    path = arguments.absolute_path(text)
    for place in mountpoint.mounted():
        if path.is_relative_to(place):
            return str(path.relative_to(place))
    return text
