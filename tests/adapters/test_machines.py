"""``struct stat`` of the bindings: right on known machines; others are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from allenfs.adapters.libfuse import require_known_machine
from allenfs.errors import MountError

BINDINGS = {"fuse": "libfuse.so.2", "mfusepy": "libfuse3.so.3"}
SCRIPT = """
import json, platform, sys
binding, machine = sys.argv[1:]
platform.machine = lambda: machine
fields = __import__(binding).c_stat
print(json.dumps({name: getattr(fields, name).offset for name, *_ in fields._fields_}))
"""
# Of the kernel's arch/x86/include/uapi/asm/stat.h and, on 64 bits,
# include/uapi/asm-generic/stat.h.
SHARED = {"st_dev": 0, "st_ino": 8, "st_size": 48, "st_blksize": 56, "st_blocks": 64}
SHARED |= {"st_atimespec": 72, "st_mtimespec": 88, "st_ctimespec": 104}
NAMES = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev")
LAYOUTS = {
    "x86_64": SHARED | dict(zip(NAMES, (24, 16, 28, 32, 40), strict=True)),
    "aarch64": SHARED | dict(zip(NAMES, (16, 20, 24, 28, 32), strict=True)),
}


def on_machine(monkeypatch, machine):
    uname = os.uname_result(("Linux", "host", "6.1", "#1", machine))
    monkeypatch.setattr(os, "uname", lambda: uname)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("machine", LAYOUTS)
def test_the_layout_of_a_known_machine_is_the_kernels(binding, machine, monkeypatch):
    environ = {**os.environ, "FUSE_LIBRARY_PATH": BINDINGS[binding]}
    command = [sys.executable, "-c", SCRIPT, binding, machine]
    offsets = json.loads(subprocess.check_output(command, env=environ))
    assert {name: offsets[name] for name in LAYOUTS[machine]} == LAYOUTS[machine]
    on_machine(monkeypatch, machine)
    require_known_machine()


def test_an_unknown_machine_and_a_32_bit_python_are_refused(monkeypatch):
    for machine in ("riscv64", "armv7l"):
        on_machine(monkeypatch, machine)
        with pytest.raises(MountError, match=f"support {machine}: .* x86_64 and"):
            require_known_machine()
    on_machine(monkeypatch, "x86_64")
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    with pytest.raises(MountError, match="x86_64 with a 32-bit Python"):
        require_known_machine()
