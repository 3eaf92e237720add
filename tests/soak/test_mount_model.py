"""A real mount against the model of ``mount_machine.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mount_machine import MountMachine, figure, run_for
from worlds import MountWorld

if TYPE_CHECKING:
    from collections.abc import Callable


class RealMachine(MountMachine):
    world_of = MountWorld


def test_mount_agrees_with_its_model(
    duration_s: float, figures: Callable[[str], None]
) -> None:
    counts = run_for(RealMachine, duration_s, batch=3, steps=60)
    figures(f"mount model: {figure(counts)}")
