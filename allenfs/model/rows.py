"""Rows of the service: untrusted JSON, and how to read a value of any field.

A value that differs from the institute's documentation is ignored: a name or number
that cannot be in a path is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]

# 18 digits, as in a path
MAX_ID = 10**18 - 1
_NUMBER_TEXT = re.compile(r"[0-9]{1,18}")
# A longer text cannot be a name in a path, however it is encoded.
_MAX_TEXT_CHARS = 255
# Coefficients of affine maps, as in ``tvs_00``: see ``geometry.py``.
COEFFICIENTS_2D, COEFFICIENTS_3D = 6, 12
# The fields kept of a row that is nested in another.
_NESTED_FIELDS = (
    *("name", "acronym", "graph_id"),
    *(f"{name}_{n:02d}" for name in ("tsv", "tvs") for n in range(COEFFICIENTS_2D)),
)


def slim(row: Row, fields: Iterable[str]) -> Row:
    """Return the given fields of a row: numbers, short texts, names of nested rows."""
    return {
        name: _slim(row[name])
        for name in fields
        if name in row and not _is_long(row[name])
    }


def _slim(value: Any) -> Any:
    if isinstance(value, list | dict):
        return [slim(row, _NESTED_FIELDS) for row in rows_of(value)]
    return value


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > _MAX_TEXT_CHARS


def record_id(row: Row | None, key: str = "id") -> int | None:
    """Return the id, of 1 to 18 digits; None if there is none."""
    return whole(row.get(key), 1, MAX_ID) if row is not None else None


def rows_of(value: Any) -> list[Row]:
    """Return the rows of a nested list, or a nested row; null entries are skipped."""
    if isinstance(value, dict):
        return [value]
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]


def first_row(value: Any) -> Row:
    """Return the first nested row, or an empty one."""
    return next(iter(rows_of(value)), {})


def texts(rows: Any, key: str) -> tuple[str, ...]:
    """Return a text field of nested rows, without duplicates."""
    found = (row.get(key) for row in rows_of(rows))
    return tuple(dict.fromkeys(text for text in found if isinstance(text, str)))


def number(value: Any) -> float | None:
    """Return a number of a record; None for anything else or beyond any real one."""
    if type(value) not in (int, float) or not abs(value) < MAX_ID:
        return None
    return float(value)


def positive(value: Any) -> float | None:
    """Return a number of a record that is above zero; None if there is none."""
    return max(number(value) or 0.0, 0.0) or None


def whole(value: Any, minimum: int, maximum: int) -> int | None:
    """Return a whole number in a range, also one in a text; None for anything else."""
    # image_to_image_2d is known to give ids as strings
    if isinstance(value, str) and _NUMBER_TEXT.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and minimum <= value <= maximum else None


def coefficients_2d(image: Row, name: str) -> tuple[float, ...] | None:
    """Return ``tvs`` or ``tsv`` of an image; None if any coefficient is missing."""
    return _coefficients(image.get("alignment2d"), name, COEFFICIENTS_2D)


def coefficients_3d(data_set: Row, name: str) -> tuple[float, ...] | None:
    """Return ``trv`` or ``tvr`` of a data set; None if any coefficient is missing."""
    return _coefficients(data_set.get("alignment3d"), name, COEFFICIENTS_3D)


def _coefficients(rows: Any, name: str, count: int) -> tuple[float, ...] | None:
    row = first_row(rows)
    found = tuple(number(row.get(f"{name}_{n:02d}")) for n in range(count))
    known = tuple(one for one in found if one is not None)
    return known if len(known) == count else None
