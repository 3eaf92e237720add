"""Slices of a file are those of its bytes, through a small window."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import MIB

from allenfs.model.jpeg import CutJpegError, JpegShape, NotAJpegError, inspect
from allenfs.store.stored_file import FileView

HEAD = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x20\x01\x01\x11\x00\xff\xda\x00\x02"
DATA = random.Random(1).randbytes(3 * MIB + 1234)
BOUND = st.none() | st.integers(-len(DATA) - 9, len(DATA) + 9)


@pytest.fixture
def opened(tmp_path):
    def open_file(data):
        path = tmp_path / "file"
        path.write_bytes(data + b"behind its end")
        fds.append(os.open(path, os.O_RDONLY))
        return FileView(fds[-1], len(data))

    fds = []
    yield open_file
    for fd in fds:
        os.close(fd)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(bounds=st.lists(st.tuples(BOUND, BOUND), min_size=1, max_size=20))
def test_slices_are_those_of_the_bytes(opened, bounds):
    view = opened(DATA)
    assert len(view) == len(DATA)
    for start, stop in bounds:
        assert view[start:stop] == DATA[start:stop]


@pytest.mark.parametrize("offset", range(-3, 4))
def test_a_marker_across_two_looks_is_found(opened, offset):
    scan = b"\x55" * (MIB + offset)
    for data in (HEAD + scan + b"\xff\xd9", HEAD + scan + scan + b"\xff\xd9"):
        assert inspect(data) == JpegShape(32, 16)
        assert inspect(opened(data)) == JpegShape(32, 16)
        with pytest.raises(CutJpegError):
            inspect(opened(data[:-1]))


def test_a_file_that_is_cut_while_it_is_checked_is_a_cut_jpeg(tmp_path, opened):
    for kept_bytes in (0, 1, 2, 3, 7, len(HEAD), len(HEAD) + 1, MIB, MIB + 1):
        view = opened(HEAD + b"\x55" * (3 * MIB) + b"\xff\xd9")
        os.truncate(tmp_path / "file", kept_bytes)
        with pytest.raises((CutJpegError, NotAJpegError)):
            inspect(view)


CHECK = """
import os, sys
from allenfs.model.jpeg import inspect
from allenfs.store.stored_file import FileView
fd = os.open(sys.argv[1], os.O_RDONLY)
print(inspect(FileView(fd, os.fstat(fd).st_size)))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def test_checking_a_large_file_keeps_little_of_it_in_memory(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(HEAD)
        file.truncate(200 * MIB)  # the scan is zeros
        file.seek(0, os.SEEK_END)
        file.write(b"\xff\xd9")
    done = subprocess.run(
        [sys.executable, "-c", CHECK, path], check=True, capture_output=True, text=True
    )
    shape, peak_kib = done.stdout.splitlines()
    assert shape == str(JpegShape(32, 16))
    assert int(peak_kib) < 50 * 1024
