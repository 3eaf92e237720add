"""Which fault comes next, for which image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allenfs.sample.faults import Fault


@dataclass(slots=True)
class _Plan:
    fault: Fault
    image_id: int | None
    times: int | None


class FaultPlan:
    """Which fault comes next. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._plans: list[_Plan] = []

    def add(self, fault: Fault, *, image_id: int | None, times: int | None) -> None:
        """Plan a fault; a new endless one replaces the endless one of that image."""
        if times is None:
            self._plans = [
                plan
                for plan in self._plans
                if plan.times is not None or plan.image_id != image_id
            ]
        self._plans.append(_Plan(fault, image_id, times))

    def clear(self) -> None:
        """Forget every plan."""
        self._plans.clear()

    def take(self, image_id: int | None) -> Fault | None:
        """Return the fault for a request of that image, and count it as used.

        Counted plans come first, in the order in which they were added; then an
        endless plan of this image; then an endless plan of every image.
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
        return None
