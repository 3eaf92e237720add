"""A binding's ``struct stat`` is this machine's, and another machine's is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

BINDINGS = {"fuse": "libfuse.so.2", "mfusepy": "libfuse3.so.3"}
SCRIPT = """
import json, platform, sys
binding, machine = sys.argv[1:]
if machine != "this":
    platform.machine = lambda: machine
library = __import__(binding)
fields = library.c_stat
print(json.dumps({name: getattr(fields, name).offset for name, *_ in fields._fields_}))
from allenfs.adapters.stat_fields import check_layout
check_layout(fields())
"""
# Of the kernel's include/uapi/asm-generic/stat.h on 64 bits.
AARCH64 = {
    "st_dev": 0,
    "st_ino": 8,
    "st_mode": 16,
    "st_nlink": 20,
    "st_uid": 24,
    "st_gid": 28,
    "st_rdev": 32,
    "st_size": 48,
    "st_blksize": 56,
    "st_blocks": 64,
    "st_atimespec": 72,
    "st_mtimespec": 88,
    "st_ctimespec": 104,
}


def as_on(machine: str, binding: str) -> tuple[dict[str, int], str]:
    """Return the offsets that a binding has there, and what the check says here."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, binding, machine],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FUSE_LIBRARY_PATH": BINDINGS[binding]},
    )
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("binding", BINDINGS)
def test_the_layout_of_this_machine_is_right(binding: str) -> None:
    _, said = as_on("this", binding)
    assert said == ""


@pytest.mark.parametrize("binding", BINDINGS)
def test_the_layout_of_aarch64_is_the_kernels(binding: str) -> None:
    offsets, _ = as_on("aarch64", binding)
    assert {name: offsets[name] for name in AARCH64} == AARCH64


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_machine_that_a_binding_does_not_know_is_refused(binding: str) -> None:
    # riscv64 has the layout of aarch64, and the bindings take it for a 32-bit PC
    offsets, said = as_on("riscv64", binding)
    assert {name: offsets[name] for name in AARCH64} != AARCH64
    assert "MountError: the FUSE bindings of Python do not know" in said
