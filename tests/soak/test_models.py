"""A real mount, and the filesystem without FUSE, against ``mount_machine.py``."""

from __future__ import annotations

from mount_machine import MountMachine, figure, run_for
from worlds import DirectWorld, MountWorld


class RealMachine(MountMachine):
    world_of = MountWorld


class LongMachine(MountMachine):
    world_of = DirectWorld


def test_mount_agrees_with_its_model(duration_s, figures):
    counts = run_for(RealMachine, duration_s / 2, batch=3, steps=60)
    figures(f"mount model: {figure(counts)}")


def test_filesystem_agrees_with_its_model(duration_s, figures):
    counts = run_for(LongMachine, duration_s / 2, batch=10, steps=100)
    figures(f"long model: {figure(counts)}")
