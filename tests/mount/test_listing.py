"""The tree as a person and a crawler see it: finite, offline, read-only."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import fuse
import pytest
from mounted import Mounted

from allenfs.adapters import stat_fields
from allenfs.catalog.entries import Attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.sample.server import SampleService

ISH_FILES = {"image.jpg", "expression.jpg"}
ANY_FILES = {
    "image.jpg",
    "expression.jpg",
    "projection.jpg",
    "tumor_feature_annotation.jpg",
    "tumor_feature_boundary.jpg",
}
TIERS = {f"ds{n}" for n in range(1, 9)}
USED = [
    "section/69750516/ds6/image.jpg",
    "section/71592261/ds6/image.jpg",
    "projection/126862583/ds6/projection.jpg",
    "atlas/100883869/ds6/annotated/atlas2.jpg",
]


def views_asked(service: SampleService) -> set[str]:
    queries = [dict(parse_qsl(urlsplit(url).query)) for url in service.requested]
    return {query["view"] for query in queries if "view" in query}


@pytest.mark.parametrize(
    "crawler",
    [["ls", "-lR"], ["find", "."], ["find", ".", "-size", "+1c"], ["du", "-a"]],
)
def test_crawlers_of_the_whole_mount_end_and_download_nothing(
    tmp_path: Path, service: SampleService, crawler: list[str]
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        for path in USED:
            (mounted / path).read_bytes()
        service.reset_counters()
        subprocess.run(crawler, cwd=mounted.root, check=True, stdout=subprocess.DEVNULL)
        assert service.requested == []


@pytest.mark.both_libfuses
def test_listings_are_what_the_grammar_says(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        images, catalog = {"section", "projection", "atlas"}, {"dataset", "browse"}
        assert set(os.listdir(mounted.root)) == images | catalog
        for used in ("section", "projection", "atlas"):
            assert os.listdir(mounted / used) == []
        for path in USED:
            (mounted / path).read_bytes()
        assert set(os.listdir(mounted / "section")) == {"69750516", "71592261"}
        assert os.listdir(mounted / "projection") == ["126862583"]
        assert os.listdir(mounted / "atlas") == ["100883869"]
        # nothing is known of image 12
        assert set(os.listdir(mounted / "section/12")) == ANY_FILES | TIERS
        assert set(os.listdir(mounted / "section/12/ds1/q50")) == ANY_FILES
        section = ISH_FILES | TIERS | {"info.json", "dataset"}
        assert set(os.listdir(mounted / "section/69750516")) == section
        section |= {"nissl"}
        assert set(os.listdir(mounted / "section/71592261")) == section
        assert set(os.listdir(mounted / "section/69750516/ds4")) == ISH_FILES
        assert set(os.listdir(mounted / "atlas/12")) == {
            "image.jpg",
            "annotated",
            *TIERS,
        }
        assert os.listdir(mounted / "atlas/12/annotated") == ["image.jpg"]
        mounted.stop()
        mounted.start()
        assert set(os.listdir(mounted / "section")) == {"69750516", "71592261"}


def test_copying_a_data_set_requests_only_images_that_exist(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        out = tmp_path / "out"
        subprocess.run(["cp", "-r", mounted / "dataset/479", out], check=True)
        # three images: plain, in eight tiers, and their masks
        assert service.image_requests == 3 * (1 + 8 + 1)
        assert views_asked(service) == {"expression"}
        service.reset_counters()
        section = mounted / "section/101349756"
        subprocess.run(["cp", "-r", section / "ds6", out / "one"], check=True)
        assert set(os.listdir(out / "one")) == ISH_FILES
        assert service.image_requests == 1  # ds6/image.jpg is stored
        # what is not listed can be named
        assert (section / "ds6/projection.jpg").read_bytes().startswith(b"\xff\xd8")


def test_du_counts_only_what_is_local(tmp_path: Path, service: SampleService) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        path = mounted / USED[0]
        assert subprocess.check_output(["du", "-k", path]).split()[0] == b"0"
        size = len(path.read_bytes())
        kib = int(subprocess.check_output(["du", "-k", path]).split()[0])
        assert kib == -(-size // 1024)


@pytest.mark.parametrize(
    "name",
    [
        ".Trash",
        ".Trash-1000",
        ".hidden",
        ".xdg-volume-info",
        "autorun.inf",
        "desktop.ini",
        "section/007",
        "section/" + "9" * 40,
        "section/1/dsx/image.jpg",
        "section/1/ds11/image.jpg",
        "section/1/q101/image.jpg",
        "section/1/image.png",
        "section/1/._image.jpg",
        "atlas/1/atlas2.jpg",
        "атлас",
        "section/\u0661",
        os.fsdecode(b"section/\xff\xfe"),
    ],
)
def test_name_outside_the_grammar_is_enoent_without_the_network(
    tmp_path: Path, service: SampleService, name: str
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        for look in (os.stat, os.listdir, lambda path: os.open(path, os.O_RDONLY)):
            with pytest.raises(OSError) as caught:
                look(mounted / name)
            assert caught.value.errno == errno.ENOENT
        assert service.requested == []


WRITES: dict[str, Callable[[Path, Path], object]] = {
    "create": lambda root, file: os.open(root / "new", os.O_CREAT | os.O_WRONLY),
    "open to write": lambda root, file: os.open(file, os.O_WRONLY),
    "open to append": lambda root, file: os.open(file, os.O_RDWR | os.O_APPEND),
    "truncate": lambda root, file: os.truncate(file, 0),
    "mkdir": lambda root, file: os.mkdir(root / "section/new"),
    "rmdir": lambda root, file: os.rmdir(root / "section"),
    "unlink": lambda root, file: os.unlink(file),
    "rename": lambda root, file: os.rename(file, root / "new"),
    "symlink": lambda root, file: os.symlink("image.jpg", root / "new"),
    "link": lambda root, file: os.link(file, root / "new"),
    "mknod": lambda root, file: os.mknod(root / "new"),
    "chmod": lambda root, file: os.chmod(file, 0o666),
    "chown": lambda root, file: os.chown(file, 1, 1),
    "utime": lambda root, file: os.utime(file),
    "setxattr": lambda root, file: os.setxattr(file, "user.allenfs.url", b"x"),
    "removexattr": lambda root, file: os.removexattr(file, "user.allenfs.url"),
}


@pytest.mark.both_libfuses
def test_whatever_would_write_is_erofs(tmp_path: Path, service: SampleService) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        file = mounted / USED[0]
        before = file.read_bytes()
        for name, write in WRITES.items():
            with pytest.raises(OSError) as caught:
                write(mounted.root, file)
            assert caught.value.errno == errno.EROFS, name
        assert file.read_bytes() == before
        options = next(
            line.split()[3].split(",")
            for line in Path("/proc/mounts").read_text().splitlines()
            if line.split()[1] == str(mounted.root)
        )
        assert {"ro", "nosuid", "nodev"} <= set(options)


@pytest.mark.both_libfuses
def test_statfs_is_the_stores(tmp_path: Path, service: SampleService) -> None:
    with Mounted(tmp_path, service.url, capacity_bytes=64 * 2**20) as mounted:
        (mounted / USED[0]).read_bytes()
        figures = os.statvfs(mounted.root)
        assert figures.f_namemax == 255
        # 1 MiB is the journal's, a sixteenth the records', and a block the tag's
        assert figures.f_frsize * figures.f_blocks == 59 * 2**20 - 4096
        assert figures.f_blocks - figures.f_bfree == len(mounted.stored) * (
            -(-mounted.stored[0].stat().st_size // figures.f_frsize)
        )


@pytest.mark.parametrize(
    ("kind", "mode", "links"),
    [
        ({}, stat.S_IFREG | 0o444, 1),
        ({"is_dir": True}, stat.S_IFDIR | 0o555, 2),
        ({"is_link": True}, stat.S_IFLNK | 0o777, 1),
    ],
)
def test_a_stat_is_filled_whole(kind: dict[str, bool], mode: int, links: int) -> None:
    fields = fuse.c_stat()
    attributes = Attributes(2**33 + 1, 7, 1_700_000_000_123_456_789, **kind)
    stat_fields.fill(fields, attributes, (12, 34))
    assert (fields.st_mode, fields.st_nlink) == (mode, links)
    assert (fields.st_uid, fields.st_gid) == (12, 34)
    assert (fields.st_size, fields.st_blocks) == (2**33 + 1, 7)
    assert fields.st_blksize == 128 * 1024
    for time in (fields.st_atimespec, fields.st_mtimespec, fields.st_ctimespec):
        assert (time.tv_sec, time.tv_nsec) == (1_700_000_000, 123_456_789)
