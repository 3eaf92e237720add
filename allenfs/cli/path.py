"""``allenfs path``: from the URL of an image, experiment or atlas to its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

SUMMARY = "print the path of a download URL or a viewer page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("url", metavar="URL")


def run(parsed: argparse.Namespace) -> None:
    """Print the path."""
    from allenfs.model.viewer_pages import path_of_url  # noqa: PLC0415 - others do without it

    print(path_of_url(parsed.url))
