"""Measured values, compared with each other and with limits."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Series:
    """One quantity, measured several times; the unit of a count is empty."""

    values: Sequence[float]
    unit: str

    @property
    def median(self) -> float:
        """The value that stands for the others."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        text = self.shown(self.median)
        least, most = min(self.values), max(self.values)
        if least == most:
            return text
        return f"{text} ({_short(least)} to {_short(most)})"

    def shown(self, value: float) -> str:
        """Return a value in this unit."""
        return f"{_short(value)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    what : str
        What is measured.
    figure : Series
        Its values.
    against : Row or None
        The row of the same run to compare it with.
    most, most_ratio : float or None
        The limit of the figure, and of its ratio to `against`.
    is_hard : bool
        Whether each single value is held to the limit, not the median.
    """

    what: str
    figure: Series
    against: Row | None = None
    most: float | None = None
    most_ratio: float | None = None
    is_hard: bool = False

    @property
    def ratio(self) -> float | None:
        """The figure, in figures of what it is compared with."""
        if self.against is None:
            return None
        return self.figure.median / self.against.figure.median

    @property
    def limit(self) -> str | None:
        """The limit, with its unit."""
        if self.most is not None:
            return self.figure.shown(self.most)
        return None if self.most_ratio is None else f"{_short(self.most_ratio)} x"

    @property
    def is_kept(self) -> bool | None:
        """Whether the limit is, if there is one."""
        if self.most is not None:
            judged = max(self.figure.values) if self.is_hard else self.figure.median
            return judged <= self.most
        if self.most_ratio is not None and self.ratio is not None:
            return self.ratio <= self.most_ratio
        return None


@dataclass(frozen=True)
class Part:
    """One table, and what a reader must know of it."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def _short(value: float) -> str:
    """Return three digits, or a whole number."""
    size = abs(value)
    if value == int(value) or size >= 100:
        return f"{value:.0f}"
    decimals = 3 if size < 1 else 2 if size < 10 else 1
    return f"{value:.{decimals}f}"
