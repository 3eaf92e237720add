"""Where and when it was measured."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path

from processes import BenchError, run

import allenfs


def about(folder: Path) -> dict[str, str]:
    """Name the machine, what runs on it, and the disk of `folder`."""
    memory_kib = int(_field("/proc/meminfo", "MemTotal").split()[0])
    facts = {
        "allenfs": allenfs.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "file system": _file_system(folder),
    }
    for tool in ("curl", "rclone"):
        with contextlib.suppress(BenchError):  # not installed
            facts[tool] = run(tool, "--version").split()[1]
    return facts


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _file_system(folder: Path) -> str:
    try:
        return run("findmnt", "--noheadings", "-o", "FSTYPE", "-T", folder).strip()
    except BenchError:
        return "unknown"
