"""The command line: arguments in, exit codes out."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from allenfs import __version__
from allenfs.cli import cache, fstab, mount, path, sample_service, status, umount, url
from allenfs.cli.doctor import command as doctor
from allenfs.cli.integrate import command as integrate
from allenfs.cli.prefetch import command as prefetch
from allenfs.errors import AllenFSError

_EXIT_FAILED, _EXIT_INTERRUPTED = 1, 130


class Command(Protocol):
    """A module in ``allenfs.cli``; `SUMMARY` says in a few words what it does."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""

    def run(self, parsed: argparse.Namespace) -> int | None:
        """Run it; return the exit code, None for 0."""


COMMANDS: dict[str, Command] = {
    "mount": mount,
    "umount": umount,
    "status": status,
    "url": url,
    "path": path,
    "prefetch": prefetch,
    "cache": cache,
    "doctor": doctor,
    "sample-service": sample_service,
    "integrate": integrate,
}


def parser() -> argparse.ArgumentParser:
    """Return the parser; `command` in its result names the command."""
    top = argparse.ArgumentParser(
        prog="allenfs",
        description="The images of the Allen Brain Atlas as files.",
        allow_abbrev=False,
    )
    top.set_defaults(top=top)  # `integrate` generates pages and completions from it
    top.add_argument("--version", action="version", version=f"allenfs {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(
            commands.add_parser(
                name,
                help=command.SUMMARY,
                description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
                allow_abbrev=False,
            )
        )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0, or 2 for a wrong command line, 3 for a mount that failed, 1 for any other
    failure, with one line on stderr.
    """
    _prepare_streams()
    given = sys.argv[1:] if argv is None else argv
    if fstab.is_call(given) and given[0] not in COMMANDS:
        return fstab.main(given)
    try:
        try:
            parsed = parser().parse_args(given)
            return COMMANDS[parsed.command].run(parsed) or 0
        finally:
            sys.stdout.flush()  # Python would report a failure at exit, as a traceback
    except AllenFSError as error:
        print(f"allenfs: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # as in `allenfs ... | head`
            print(f"allenfs: {error}", file=sys.stderr)
        _discard_output()
        return _EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _prepare_streams() -> None:
    """Replace closed standard streams, and make any file name printable.

    Files opened later must not get the descriptor of a closed stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            stream = os.fdopen(fd, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):  # false if a test has replaced it
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Discard buffered output if stdout cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
