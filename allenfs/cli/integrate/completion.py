"""Completion scripts for shells, generated from the parser."""

from __future__ import annotations

import argparse

import shtab

SHELLS = ("bash", "zsh", "fish")

# The metavar of an argument tells what to complete.
_DIRECTORIES = {"DIR", "MOUNTPOINT"}
_FILES = {"FILE", "PATH"}
_COMPLETES = "complete"  # the attribute that shtab reads


def script(top: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of a shell.

    Parameters
    ----------
    top
        The parser of the whole command line.
    shell : str
        One of `SHELLS`.
    """
    _mark_paths(top)
    return shtab.complete(top, shell)


def _mark_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                _mark_paths(command)
        elif action.metavar in _DIRECTORIES:
            setattr(action, _COMPLETES, shtab.DIRECTORY)
        elif action.metavar in _FILES:
            setattr(action, _COMPLETES, shtab.FILE)
