"""``allenfs path``: print the path of an image, experiment or atlas URL."""

from __future__ import annotations

import argparse

SUMMARY = "print the path of a download URL or viewer page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("url", metavar="URL")


def run(parsed: argparse.Namespace) -> None:
    """Print the path."""
    from allenfs.model.viewer_pages import path_of_url

    print(path_of_url(parsed.url))
