"""The filesystem without FUSE against the model of ``mount_machine.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mount_machine import MountMachine, figure, run_for
from worlds import DirectWorld

if TYPE_CHECKING:
    from collections.abc import Callable


class LongMachine(MountMachine):
    world_of = DirectWorld


def test_filesystem_agrees_with_its_model(
    duration_s: float, figures: Callable[[str], None]
) -> None:
    counts = run_for(LongMachine, duration_s, batch=10, steps=100)
    figures(f"long model: {figure(counts)}")
