"""Whatever is raised inside an operation reaches the reader as an errno.

fusepy delivers an exception whose errno is None as success with no bytes; these
are the exceptions, and one of each other kind, raised inside each operation of
a real mount.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import raising_log
from raising import CONTENT, EXCEPTIONS

from allenfs.mount.mount_table import is_mounted

_RAISING = Path(__file__).with_name("raising.py")
_EXPECTED = {"ServiceTimeoutError": errno.ETIMEDOUT}


@contextlib.contextmanager
def _raising_mount(root: Path, exception: str, log_raises: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, str(_RAISING), str(root), exception, log_raises],
        stderr=subprocess.DEVNULL,
    )
    try:
        ends_s = time.monotonic() + 30
        while not is_mounted(root):
            assert process.poll() is None
            assert time.monotonic() < ends_s
            time.sleep(0.01)  # the mount table has no event to wait for
        yield
        assert process.poll() is None, "the mount ended with the exception"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if is_mounted(root):
            subprocess.run(["umount", "-l", str(root)], check=True)


def _read_whole(file: Path) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        chunks = []
        while chunk := os.read(fd, 65_536):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


_REACHED_BY: dict[str, Callable[[Path], object]] = {
    "stat": os.stat,
    "names": os.listdir,
    "open": lambda file: os.open(file, os.O_RDONLY),
    "read": _read_whole,
    "late read": _read_whole,
    "target": os.readlink,
    "attribute": lambda file: os.getxattr(file, "user.allenfs.url"),
    "attribute_names": os.listxattr,
    "": os.statvfs,
}


@pytest.mark.both_libfuses
@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_every_exception_in_every_operation_is_an_errno(tmp_path, exception):
    _check_every_operation(tmp_path / "mnt", exception, log_raises="")


@pytest.mark.parametrize("log_raises", raising_log.EXCEPTIONS)
@pytest.mark.parametrize("exception", ["OSError without errno", "ServiceTimeoutError"])
def test_a_log_that_raises_changes_no_errno(tmp_path, exception, log_raises):
    _check_every_operation(tmp_path / "mnt", exception, log_raises)


def _check_every_operation(root: Path, exception: str, log_raises: str) -> None:
    expected = _EXPECTED.get(exception, errno.EIO)
    # the exception is raised in init, too: that the mount answers is the test
    root.mkdir()
    with _raising_mount(root, exception, log_raises):
        for operation, reach in _REACHED_BY.items():
            for _ in range(3):  # the mount goes on
                with pytest.raises(OSError) as caught:
                    reach(root / operation)
                assert caught.value.errno == expected, operation
            assert _read_whole(root / "fine") == CONTENT
        # no program sees the result of release: it must only do no harm
        assert _read_whole(root / "release") == CONTENT
        assert _read_whole(root / "release") == CONTENT
