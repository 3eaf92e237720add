"""One filter of a query against one value of a row."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from allenfs.sample.database import Value

_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,30}\.[0-9]{1,30}")
_TRUTH: Final = {"true": True, "t": True, "false": False, "f": False}


def condition(operator: str | None, values: tuple[str, ...]) -> Callable[[Value], bool]:
    """Return the predicate of a filter; null never passes, as in SQL."""
    test = _present if operator is None else _TESTS[operator](values)

    def passes(value: Value) -> bool:
        return value is not None and test(value)

    return passes


def _present(value: Value) -> bool:
    return value is not None


def _like(value: Value, text: str) -> int | None:
    """Return -1, 0 or 1 as `value` is less than, equal to or more than `text`.

    None if the text cannot be compared with a value of that type.
    """
    other: Value = text
    if isinstance(value, bool):
        other = _TRUTH.get(text.lower())
    elif isinstance(value, int | float):
        other = _number(text)
    if other is None or value is None:
        return None
    return (value > other) - (value < other)  # type: ignore[operator]


def _number(text: str) -> int | float | None:
    if _WHOLE.fullmatch(text):
        return int(text)  # a float would round the longest ids
    return float(text) if _DECIMAL.fullmatch(text) else None


def _equal(values: tuple[str, ...]) -> Callable[[Value], bool]:
    return lambda value: any(_like(value, text) == 0 for text in values)


def _unequal(values: tuple[str, ...]) -> Callable[[Value], bool]:
    return lambda value: all(_like(value, text) != 0 for text in values)


def _order(*wanted: int) -> Callable[[tuple[str, ...]], Callable[[Value], bool]]:
    return lambda values: lambda value: _like(value, values[0]) in wanted


def _pattern(
    flags: re.RegexFlag,
) -> Callable[[tuple[str, ...]], Callable[[Value], bool]]:
    """Return the operator that matches text, with `*` for any characters."""

    def operator(values: tuple[str, ...]) -> Callable[[Value], bool]:
        parts = (".*".join(map(re.escape, text.split("*"))) for text in values)
        regex = re.compile("|".join(parts), flags | re.DOTALL)
        return lambda value: regex.fullmatch(str(value)) is not None

    return operator


_TESTS: Final = {
    "$eq": _equal,
    "$in": _equal,
    "$ne": _unequal,
    "$li": _pattern(re.RegexFlag(0)),
    "$il": _pattern(re.IGNORECASE),
    "$gt": _order(1),
    "$lt": _order(-1),
    "$ge": _order(0, 1),
    "$le": _order(-1, 0),
}
