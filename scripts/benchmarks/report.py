"""The parts as tables for people, and as JSON with every single run."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from figures import Part, Row

_HEAD = ("what", "figure", "compared with", "ratio", "limit", "met")
_WIDTH = 88


def as_text(about: Mapping[str, str], parts: Iterable[Part]) -> str:
    """Return Markdown: where and how it was measured, then a table for each part."""
    facts = "; ".join(f"{name} {value}" for name, value in about.items())
    return "\n\n".join([textwrap.fill(facts, _WIDTH), *map(_part_as_text, parts)])


def as_json(about: Mapping[str, str], parts: Iterable[Part]) -> str:
    """Return the same for programs."""
    tables = [
        {
            "title": part.title,
            "rows": [_row_as_fields(row) for row in part.rows],
            "notes": list(part.notes),
        }
        for part in parts
    ]
    return json.dumps({"about": about, "parts": tables}, indent=1, ensure_ascii=False)


def _part_as_text(part: Part) -> str:
    lines = [_HEAD, *map(_cells, part.rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_HEAD))]
    rule = ["-" * width for width in widths]
    table = "\n".join(_line(cells, widths) for cells in (_HEAD, rule, *lines[1:]))
    notes = "\n".join(
        textwrap.fill(note, _WIDTH, initial_indent="- ", subsequent_indent="  ")
        for note in part.notes
    )
    return "\n\n".join(filter(None, (f"## {part.title}", table, notes)))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        str(row.figure),
        row.against.what if row.against else "",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        row.limit or "",
        {None: "", True: "yes", False: "NO"}[row.is_kept],
    )


def _row_as_fields(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "unit": row.figure.unit,
        "median": row.figure.median,
        "values": list(row.figure.values),
        "against": row.against.what if row.against else None,
        "against_values": list(row.against.figure.values) if row.against else None,
        "ratio": row.ratio,
        "limit": row.limit,
        "kept": row.is_kept,
    }
