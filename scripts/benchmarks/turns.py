"""Candidates take turns, and the progress is shown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Measured = TypeVar("_Measured")


@dataclass(frozen=True)
class Candidate(Generic[_Measured]):
    """One of several ways to do the same, and its number of runs."""

    name: str
    measure: Callable[[], _Measured]
    runs: int


def in_turns(
    what: str, candidates: Iterable[Candidate[_Measured]]
) -> dict[str, list[_Measured]]:
    """Measure A, B, C, A, B, C: a machine that slows down affects all of them."""
    queue = list(candidates)
    measured: dict[str, list[_Measured]] = {candidate.name: [] for candidate in queue}
    for turn in range(max(candidate.runs for candidate in queue)):
        for candidate in queue:
            if turn < candidate.runs:
                tell(f"{what}: {candidate.name}, {turn + 1} of {candidate.runs}")
                measured[candidate.name].append(candidate.measure())
    return measured


def tell(progress: str) -> None:
    """Show the progress on stderr."""
    sys.stderr.write(f"bench: {progress}\n")
