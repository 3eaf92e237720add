"""The configurations of docs/cluster.md, with other addresses and paths."""

from __future__ import annotations

from pathlib import Path

_DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"


class DemoError(Exception):
    """The demo cannot run, or did not show what it should."""


def documented(language: str, changes: dict[str, str]) -> str:
    """Return the code block of a language, changed; each old text must be in it.

    Raises DemoError if the block or an old text is missing.
    """
    _, found, rest = _DOCUMENT.read_text().partition(f"```{language}\n")
    block = rest.partition("\n```")[0]
    for old, new in changes.items():
        if not found or old not in block:
            raise DemoError(f"{_DOCUMENT.name} has no {old!r} in a {language} block")
        block = block.replace(old, new)
    return f"{block}\n"
