"""``allenfs path``: from a download URL to its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

SUMMARY = "print the path of a download URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("url", metavar="URL")


def run(parsed: argparse.Namespace) -> None:
    """Print the path."""
    from allenfs.images import request_of_url  # noqa: PLC0415 - others do without it

    print(request_of_url(parsed.url).path)
