"""The order of planned faults, by image."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allenfs.sample.faults import Fault


@dataclass(slots=True)
class _Plan:
    fault: Fault
    image_id: int | None
    times: int | None


@dataclass(frozen=True, slots=True)
class _Chance:
    share: float
    faults: Sequence[Fault]
    dice: random.Random


class FaultPlan:
    """The planned faults. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._plans: list[_Plan] = []
        self._chance: _Chance | None = None

    def add(self, fault: Fault, *, image_id: int | None, times: int | None) -> None:
        """Plan a fault; a new endless one replaces the endless one of that image."""
        if times is None:
            self._plans = [
                plan
                for plan in self._plans
                if plan.times is not None or plan.image_id != image_id
            ]
        self._plans.append(_Plan(fault, image_id, times))

    def add_chance(
        self, share: float, faults: Sequence[Fault], dice: random.Random
    ) -> None:
        """Give a `share` of the requests without a plan one of `faults`."""
        self._chance = _Chance(share, faults, dice)

    def clear(self) -> None:
        """Forget every plan."""
        self._plans.clear()
        self._chance = None

    def take(self, image_id: int | None) -> Fault | None:
        """Return the fault for a request of that image, and count it as used.

        Counted plans come first, in the order in which they were added; then an
        endless plan of this image; then an endless plan of every image; then chance.
        """
        fitting = [p for p in self._plans if p.image_id in (None, image_id)]
        fitting.sort(
            key=lambda p: (p.times is None, p.times is None and not p.image_id)
        )
        for plan in fitting:
            if plan.times is None:
                return plan.fault
            if plan.times > 0:
                plan.times -= 1
                return plan.fault
        chance = self._chance
        if chance is not None and chance.dice.random() < chance.share:
            return chance.dice.choice(chance.faults)
        return None
