"""Promise 2: from a cold file every tool copies byte-exact, without special care."""

from __future__ import annotations

import mmap
import shutil
import tarfile
import zipfile

import pytest
from command import run
from mounted import image_bytes
from PIL import Image

# Above 128 KiB, the largest read of the kernel, so that each takes several.
PATH = "section/69750516/ds3/q98/image.jpg"
NAME = "image.jpg"
NODE = "require('fs').writeFileSync(process.argv[2],"
NODE += "require('fs').readFileSync(process.argv[1]))"


def _split(file, out):
    run("split", "-b", "70000", file, out / "part-")
    return b"".join(part.read_bytes() for part in sorted(out.glob("part-*")))


def _tar(file, out):
    run("tar", "-C", file.parent, "-cf", out / "a.tar", file.name)
    with tarfile.open(out / "a.tar") as archive:
        return archive.extractfile(NAME).read()


def _zip(file, out):
    run("zip", "-q", out / "a.zip", file.name, cwd=file.parent)
    with zipfile.ZipFile(out / "a.zip") as archive:
        return archive.read(NAME)


def _copied_by(*command):
    def copy(file, out):
        run(*command, file, out / NAME)
        return (out / NAME).read_bytes()

    return copy


def _dd(*options):
    return lambda file, _: run("dd", f"if={file}", "status=none", *options)


def _mmap(file, _):
    with file.open("rb") as opened:
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data[:]


def _copyfile(file, out):
    shutil.copyfile(file, out / NAME)
    return (out / NAME).read_bytes()


TOOLS = {
    "cat": lambda file, _: run("cat", file),
    "cp": _copied_by("cp"),
    "dd": _dd("bs=4k"),
    "dd direct": _dd("bs=1M", "iflag=direct"),
    "tail": lambda file, _: run("tail", "-c", "+1", file),
    "rsync": _copied_by("rsync", "-a"),
    "split": _split,
    "tar": _tar,
    "zip": _zip,
    "python mmap": _mmap,
    "python copyfile": _copyfile,
    "node": _copied_by("node", "-e", NODE),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_copies_a_cold_file_byte_exact(mounted, tmp_path, service, tool):
    expected = image_bytes(service.url, PATH)
    assert len(expected) > 2 * 128 * 1024
    service.reset_counters()
    out = tmp_path / "out"
    out.mkdir()
    assert TOOLS[tool](mounted / PATH, out) == expected
    assert (mounted / PATH).stat().st_size == len(expected)
    assert service.image_requests == 1


def test_file_and_pillow_recognise_a_cold_file(mounted):
    assert b"JPEG image data" in run("file", mounted / PATH)
    with Image.open(mounted / "section/69750516/ds4/image.jpg") as picture:
        picture.load()
        # recorded: 14065 x 7297 at full resolution, floor of a sixteenth
        assert picture.size == (879, 456)


@pytest.mark.both_libfuses
def test_size_is_a_bound_before_the_first_read_and_exact_after_it(mounted, service):
    expected = image_bytes(service.url, PATH)
    service.reset_counters()
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


def test_times_are_the_services_last_modified(mounted):
    first = (mounted / PATH).stat()
    assert (mounted / PATH).stat().st_mtime_ns == first.st_mtime_ns
    (mounted / PATH).read_bytes()
    read = (mounted / PATH).stat()
    assert read.st_mtime < first.st_mtime  # a date of some years ago
    assert read.st_atime_ns == read.st_ctime_ns == read.st_mtime_ns
    folder = mounted.root.stat()
    # find would look for no directory below one with 2 links, unless they are fixed
    assert (read.st_nlink, folder.st_nlink, folder.st_mode) == (1, 2, 0o40555)
    assert read.st_mode == 0o100444
    assert (mounted / PATH).stat().st_mtime_ns == read.st_mtime_ns
