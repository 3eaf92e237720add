"""Completion scripts for shells, generated from the parser."""

from __future__ import annotations

import argparse

import shtab

# The metavar of an argument tells what to complete.
_COMPLETED = {
    "DIR": shtab.DIRECTORY,
    "MOUNTPOINT": shtab.DIRECTORY,
    "FILE": shtab.FILE,
    "PATH": shtab.FILE,
}


def script(top: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of bash, zsh or fish for a whole command line."""
    _mark_paths(top)
    return shtab.complete(top, shell)


def _mark_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                _mark_paths(command)
        elif action.metavar in _COMPLETED:
            # the attribute that shtab reads
            setattr(action, "complete", _COMPLETED[action.metavar])  # noqa: B010
