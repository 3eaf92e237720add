"""Promise 2: from a cold file every tool copies byte-exact, without special care."""

from __future__ import annotations

import mmap
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run
from mounted import Mounted, image_bytes
from PIL import Image

from allenfs.sample.server import SampleService

# Above 128 KiB, the largest read of the kernel, so that each takes several.
PATH = "section/69750516/ds3/q98/image.jpg"
NAME = "image.jpg"


def _split(file: Path, out: Path) -> bytes:
    run("split", "-b", "70000", file, out / "part-")
    return b"".join(part.read_bytes() for part in sorted(out.glob("part-*")))


def _tar(file: Path, out: Path) -> bytes:
    run("tar", "-C", file.parent, "-cf", out / "a.tar", file.name)
    with tarfile.open(out / "a.tar") as archive:
        member = archive.extractfile(NAME)
        assert member is not None
        return member.read()


def _zip(file: Path, out: Path) -> bytes:
    run("zip", "-q", out / "a.zip", file.name, cwd=file.parent)
    with zipfile.ZipFile(out / "a.zip") as archive:
        return archive.read(NAME)


def _copied_by(*command: str) -> Callable[[Path, Path], bytes]:
    def copy(file: Path, out: Path) -> bytes:
        run(*command, file, out / NAME)
        return (out / NAME).read_bytes()

    return copy


def _python_read(file: Path, _out: Path) -> bytes:
    return file.read_bytes()


def _python_stat_then_read(file: Path, _out: Path) -> bytes:
    assert file.stat().st_size > 0
    fd = os.open(file, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        data = os.read(fd, size)
        assert os.read(fd, 1) == b""
    finally:
        os.close(fd)
    assert len(data) == size
    return data


def _python_mmap(file: Path, _out: Path) -> bytes:
    with file.open("rb") as opened:
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data[:]


def _python_copyfile(file: Path, out: Path) -> bytes:
    shutil.copyfile(file, out / NAME)
    return (out / NAME).read_bytes()


def _node(file: Path, out: Path) -> bytes:
    script = "require('fs').writeFileSync(process.argv[2],"
    script += "require('fs').readFileSync(process.argv[1]))"
    run("node", "-e", script, file, out / NAME)
    return (out / NAME).read_bytes()


TOOLS: dict[str, Callable[[Path, Path], bytes]] = {
    "cat": lambda file, _: run("cat", file),
    "cp": _copied_by("cp"),
    "cp --sparse=always": _copied_by("cp", "--sparse=always"),
    "dd": lambda file, _: run("dd", f"if={file}", "bs=4k", "status=none"),
    "dd bs=1M": lambda file, _: run("dd", f"if={file}", "bs=1M", "status=none"),
    "dd iflag=direct": lambda file, _: run(
        "dd", f"if={file}", "bs=1M", "iflag=direct", "status=none"
    ),
    "head": lambda file, _: run("head", "-c", "1000000000", file),
    "tail": lambda file, _: run("tail", "-c", "+1", file),
    "rsync -a": _copied_by("rsync", "-a"),
    "install": _copied_by("install"),
    "split": _split,
    "tar": _tar,
    "zip": _zip,
    "python read": _python_read,
    "python stat then read": _python_stat_then_read,
    "python mmap": _python_mmap,
    "python shutil.copyfile": _python_copyfile,
    "node readFile": _node,
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_copies_a_cold_file_byte_exact(
    tmp_path: Path, service: SampleService, tool: str
) -> None:
    expected = image_bytes(service.url, PATH)
    assert len(expected) > 2 * 128 * 1024
    service.reset_counters()
    out = tmp_path / "out"
    out.mkdir()
    with Mounted(tmp_path, service.url) as mounted:
        assert TOOLS[tool](mounted / PATH, out) == expected
        assert (mounted / PATH).stat().st_size == len(expected)
    assert service.image_requests == 1


def test_file_and_pillow_recognise_a_cold_file(mounted: Mounted) -> None:
    assert b"JPEG image data" in run("file", mounted / PATH)
    other = mounted / "section/69750516/ds4/image.jpg"
    with Image.open(other) as picture:
        picture.load()
        # recorded: 14065 x 7297 at full resolution, floor of a sixteenth
        assert picture.size == (879, 456)


@pytest.mark.both_libfuses
def test_size_is_a_bound_before_the_first_read_and_exact_after_it(
    tmp_path: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    service.reset_counters()
    with Mounted(tmp_path, service.url) as mounted:
        before = (mounted / PATH).stat()
        assert before.st_size == 4 * 2**20  # 256 MiB, quartered three times
        assert before.st_blocks == 0
        assert service.image_requests == 0
        (mounted / PATH).read_bytes()
        after = (mounted / PATH).stat()
        assert after.st_size == len(expected)
        assert after.st_blocks == -(-len(expected) // 512)
        mounted.stop()
        mounted.start()  # the size is known after a restart, too
        restarted = (mounted / PATH).stat()
        assert restarted.st_size == len(expected)
        assert restarted.st_mtime_ns == after.st_mtime_ns
    assert service.image_requests == 1


def test_times_are_the_services_last_modified(mounted: Mounted) -> None:
    first = (mounted / PATH).stat()
    assert (mounted / PATH).stat().st_mtime_ns == first.st_mtime_ns
    (mounted / PATH).read_bytes()
    read = (mounted / PATH).stat()
    assert read.st_mtime < first.st_mtime  # a date of some years ago
    assert (mounted / PATH).stat().st_mtime_ns == read.st_mtime_ns
