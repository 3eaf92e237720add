"""A real mount for a test: its own process, its own store, gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from typing_extensions import Self

from allenfs.adapters.processes import PID_ATTRIBUTE
from allenfs.model import tree
from allenfs.model.nodes import ImageFile
from allenfs.mount.mount_table import is_mounted

# Whatever Python itself would only warn of ends the daemon.
STRICT_PYTHON = [sys.executable, "-X", "dev", "-W", "error", "-bb"]
_DAEMON = Path(__file__).with_name("daemon.py")
_QUICK = {"failure_memory_s": 0, "not_found_memory_s": 0, "first_backoff_s": 0}
_BAD = re.compile(r"(^| )(WARNING|ERROR|CRITICAL) |^Traceback|^ +File |: a bug$")
_LOOK_S = 0.01
_START_S = 30


def until(condition: Callable[[], object]) -> None:
    """Wait for what another process does: there is no event of it to wait for."""
    ends_s = time.monotonic() + _START_S
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(_LOOK_S)


class Mounted:
    """A mount of `api_url` below `folder`; undeclared warnings fail the test."""

    def __init__(
        self,
        folder: Path,
        api_url: str,
        *,
        cache_dir: Path | None = None,
        capacity_bytes: int = 2**30,
        readahead: int = 8,
        warnings: Iterable[str] = (),
        log_file: Path | None = None,
        log_raises: str = "",
        **service: float,
    ) -> None:
        self.root = folder / "mnt"
        self.root.mkdir(parents=True, exist_ok=True)
        self.cache_dir = cache_dir or folder / "store"
        self._log_file = log_file or folder / "daemon.log"
        self._warnings = tuple(warnings)
        self._settings = {
            "mountpoint": str(self.root),
            "api_url": api_url,
            "cache_dir": str(self.cache_dir),
            "capacity_bytes": capacity_bytes,
            "readahead": readahead,
            "log_file": str(self._log_file),
            "log_raises": log_raises,  # of raising_log.EXCEPTIONS
            "service": _QUICK | service,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        if exc_info[0] is None:
            self._check_log()

    def start(self) -> None:
        self.process = subprocess.Popen(
            # the last two for `umount`, which ends nothing that is not called so
            [*STRICT_PYTHON, _DAEMON, json.dumps(self._settings), "allenfs", "mount"],
            stderr=subprocess.PIPE,
        )
        ends_s = time.monotonic() + _START_S
        while not is_mounted(self.root):
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < ends_s, "no mount"
            time.sleep(_LOOK_S)  # the mount table has no event to wait for
        os.listdir(self.root)

    def stop(self) -> None:
        """End the daemon as a user would, which is exit code 0 without a word."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=30)
        if is_mounted(self.root):
            subprocess.run(["umount", "-l", str(self.root)], check=True)
        assert (process.returncode, printed) == (0, b""), printed.decode()

    def kill(self) -> None:
        """kill -9, and clear the dead mount away."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()
        self.process = None
        subprocess.run(["umount", "-l", str(self.root)], check=True)

    @contextlib.contextmanager
    def stopped(self, at_least_s: float) -> Iterator[None]:
        """SIGSTOP for the block, and until it was for so long; then SIGCONT."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/stat")
        self.process.send_signal(signal.SIGSTOP)
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(_LOOK_S)  # another process' state has no event to wait for
        ends_s = time.monotonic() + at_least_s
        try:
            yield
            time.sleep(max(0.0, ends_s - time.monotonic()))
        finally:
            self.process.send_signal(signal.SIGCONT)

    def __truediv__(self, path: str) -> Path:
        return self.root / path

    @property
    def pid(self) -> int:
        """The process that answers."""
        return int(os.getxattr(self.root, PID_ATTRIBUTE))

    @property
    def status(self) -> dict[str, Any]:
        page: dict[str, Any]
        page = json.loads((self.root / ".allenfs/status.json").read_bytes())
        return page

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    @property
    def stored(self) -> list[Path]:
        return sorted((self.cache_dir / "images").glob("*/*/*/*"))

    def _check_log(self) -> None:
        for line in self.log.splitlines():
            is_declared = any(text in line for text in self._warnings)
            assert is_declared or not is_bad(line), line


def is_bad(line: str) -> bool:
    """Whether a line of a daemon's log is one that a test must have declared."""
    return bool(_BAD.search(line))


def image_bytes(api_url: str, path: str) -> bytes:
    """Download what `path` stands for, without allenfs' own downloads."""
    node = tree.parse(path)
    assert isinstance(node, ImageFile)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(node.request.url(api_url)) as answer:
        data: bytes = answer.read()
    return data


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def errno_of(look: Callable[..., object], *arguments: Any) -> int:
    """Return the errno that `look` ends with, 0 for none."""
    try:
        look(*arguments)
    except OSError as error:
        assert error.errno
        return error.errno
    return 0


def errno_of_open(path: Path) -> int:
    """Open and read; return the errno of open, and fail where one byte came."""
    if number := errno_of(os.open, path, os.O_RDONLY):
        return number
    raise AssertionError(f"{path} opened and gave {len(path.read_bytes())} bytes")
