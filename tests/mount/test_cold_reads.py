"""Promise 2, the hard part: raw reads of cold files are never padded with zeros."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mounted import Mounted

FILES = 300
_PIECE = 24 * 1024


def _paths() -> Iterator[str]:
    # The bound of their unknown size is 4 MiB, as no width and height are named:
    # a read of 1 MiB ends below it. (Beyond a size, the kernel requests it again.)
    for n in range(FILES):
        yield f"section/69750516/ds3/q98/roi+{9000 + 8 * n}+4000/image.jpg"


def _read_without_fstat(file: Path) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        return os.read(fd, 2**20)
    finally:
        os.close(fd)


def _six_parallel_preads(file: Path) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(6) as pool:
            return b"".join(
                pool.map(lambda n: os.pread(fd, _PIECE, n * _PIECE), range(6))
            )
    finally:
        os.close(fd)


def _pread_beyond_the_end(file: Path) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        assert os.pread(fd, 4096, 900_000) == b""
        return os.pread(fd, 2**20, 0)
    finally:
        os.close(fd)


def _open_again_through_proc(file: Path) -> bytes:
    """Open without a lookup of the name: the kernel does not know the size."""
    handle = os.open(file, os.O_PATH)
    try:
        return _read_without_fstat(Path(f"/proc/self/fd/{handle}"))
    finally:
        os.close(handle)


def _count_wrong(
    mounted: Mounted, read: Callable[[Path], bytes], bytes_in_store: Mounted
) -> int:
    """Read every file cold; compare with what the store kept of the service."""
    wrong = 0
    for path in _paths():
        data = read(mounted / path)
        expected = (bytes_in_store / path).read_bytes()
        assert len(expected) > _PIECE
        wrong += data != expected
    return wrong


@pytest.mark.both_libfuses
@pytest.mark.parametrize(
    "read",
    [
        _read_without_fstat,
        _six_parallel_preads,
        _pread_beyond_the_end,
        _open_again_through_proc,
    ],
)
def test_300_cold_files_read_raw_are_never_wrong(tmp_path, service, read):
    # A second mount with another store reads the expected bytes with fstat.
    with (
        Mounted(tmp_path / "a", service.url) as mounted,
        Mounted(tmp_path / "b", service.url) as expected,
    ):
        assert _count_wrong(mounted, read, expected) == 0


@pytest.mark.both_libfuses
def test_300_files_fetched_by_another_mount_after_a_stat_are_never_wrong(
    tmp_path, service
):
    store = tmp_path / "store"
    with (
        Mounted(tmp_path / "a", service.url, cache_dir=store) as mounted,
        Mounted(tmp_path / "b", service.url, cache_dir=store) as other,
    ):
        wrong = 0
        for path in _paths():
            bound = (mounted / path).stat().st_size
            expected = (other / path).read_bytes()
            assert bound > len(expected)
            wrong += _read_without_fstat(mounted / path) != expected
        assert wrong == 0
    assert service.image_requests == FILES
