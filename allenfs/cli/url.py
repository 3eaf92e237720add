"""``allenfs url``: print the download URL of a path."""

from __future__ import annotations

import argparse
import os

from allenfs import config
from allenfs.cli import arguments
from allenfs.errors import AllenFSError, PathNotFoundError, UrlInRecordError
from allenfs.mount import mount_table

SUMMARY = "print the download URL of a path"
_ATTRIBUTE = "user.allenfs.url"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "path", metavar="PATH", help="in a mount, or relative to its root"
    )


def run(parsed: argparse.Namespace) -> None:
    """Print the URL that follows from the path, or else the one that the mount knows.

    A mount has the records that some URLs depend on, and follows links.
    """
    chosen = os.environ.get(config.API_URL_VARIABLE)
    api_url = config.parse_api_url(chosen or config.DEFAULT_API_URL)
    try:
        url = _url(parsed.path, api_url)
    except (PathNotFoundError, UrlInRecordError):
        if _below_mountpoint(parsed.path) is None:
            raise
        url = _recorded_url(parsed.path)
    print(url)


def _url(text: str, api_url: str) -> str:
    """Return the URL of a path relative to a mount's root, or in a mount."""
    from allenfs.model import tree

    try:
        node = tree.parse(arguments.tree_path(text.removeprefix("./")))
    except PathNotFoundError:
        below = arguments.tree_path(_below_mountpoint(text) or text)
        if any(map(tree.is_link, _ancestors(below))):
            raise UrlInRecordError(
                "the path follows a link of the catalog: give it in a mount"
            ) from None
        node = tree.parse(below)
    return tree.request_of(node).url(api_url)


def _ancestors(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names))]


def _below_mountpoint(text: str) -> str | None:
    """Return a path relative to the mount that it is in; None if it is in none."""
    path = arguments.absolute_path(text)
    for place in mount_table.mounted():
        if path.is_relative_to(place):
            return str(path.relative_to(place))
    return None


def _recorded_url(text: str) -> str:
    """Return the URL that the mount has for a path; raises AllenFSError."""
    try:
        return os.getxattr(text, _ATTRIBUTE).decode()
    except OSError as error:
        raise AllenFSError(
            f"cannot read {_ATTRIBUTE} of {text!r}: {error.strerror}"
        ) from error
