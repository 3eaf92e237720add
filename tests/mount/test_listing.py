"""The tree as a person and a crawler see it: finite, offline, read-only."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from command import run
from mounted import errno_of

from allenfs.text import path_name

ISH_FILES = {"image.jpg", "expression.jpg"}
ANY_FILES = {
    *("image.jpg", "expression.jpg", "projection.jpg"),
    *("tumor_feature_annotation.jpg", "tumor_feature_boundary.jpg"),
}
TIERS = {f"ds{n}" for n in range(1, 9)}
USED = [
    "section/69750516/ds6/image.jpg",
    "section/71592261/ds6/image.jpg",
    "projection/126862583/ds6/projection.jpg",
    "atlas/100883869/ds6/annotated/atlas2.jpg",
]


@pytest.mark.parametrize("crawler", [["ls", "-lR"], ["find", ".", "-size", "+1c"]])
@pytest.mark.mounted(not_found_memory_s=60)
def test_crawlers_of_the_whole_mount_end_and_download_nothing(
    mounted, service, crawler
):
    for path in USED:
        (mounted / path).read_bytes()
    service.reset_counters()
    run(*crawler, cwd=mounted.root)
    asked = service.query_requests
    run(*crawler, cwd=mounted.root)
    assert service.query_requests == asked
    assert service.requested == []


@pytest.mark.both_libfuses
def test_listings_are_what_the_grammar_says(mounted):
    images, catalog = (
        {"section", "projection", "atlas"},
        {"dataset", "browse", "structure"},
    )
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
    assert set(os.listdir(mounted / "atlas/12")) == {"image.jpg", "annotated", *TIERS}
    assert os.listdir(mounted / "atlas/12/annotated") == ["image.jpg"]
    mounted.stop()
    mounted.start()
    assert set(os.listdir(mounted / "section")) == {"69750516", "71592261"}


def test_copying_a_data_set_requests_only_images_that_exist(mounted, tmp_path, service):
    run("cp", "-r", mounted / "dataset/479", tmp_path)
    # three images: plain, in eight tiers, and their masks
    assert service.image_requests == 3 * (1 + 8 + 1)
    queries = [parse_qs(urlsplit(url).query) for url in service.requested]
    assert {query["view"][0] for query in queries if "view" in query} == {"expression"}
    # what is not listed can be named
    file = mounted / "section/101349756/ds6/projection.jpg"
    assert file.read_bytes().startswith(b"\xff\xd8")


@pytest.mark.both_libfuses
@pytest.mark.mounted(capacity_bytes=64 * 2**20)
def test_du_counts_only_what_is_local(mounted):
    path = mounted / USED[0]
    assert run("du", "-k", path).split()[0] == b"0"
    size = len(path.read_bytes())
    assert int(run("du", "-k", path).split()[0]) == -(-size // 1024)
    assert (path.stat().st_mode, path.stat().st_nlink) == (stat.S_IFREG | 0o444, 1)
    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())
    assert path.parent.stat().st_mode == stat.S_IFDIR | 0o555
    # and `df` shows the figures of the store
    figures = os.statvfs(mounted.root)
    assert figures.f_namemax == 255
    # 1 MiB is the journal's, a sixteenth the records', and a block the tag's
    assert figures.f_frsize * figures.f_blocks == 59 * 2**20 - 4096
    (stored,) = mounted.stored
    used = figures.f_blocks - figures.f_bfree
    assert used == -(-stored.stat().st_size // figures.f_frsize)


NO_NAMES = [
    *(".Trash", "section/007", "section/" + "9" * 40, "атлас"),
    *("section/1/dsx/image.jpg", "section/1/ds11/image.jpg", "section/1/image.png"),
    *("section/1/q101/image.jpg", "section/1/._image.jpg", "atlas/1/atlas2.jpg"),
    *("section/\u0661", os.fsdecode(b"section/\xff\xfe")),
]


def test_name_outside_the_grammar_is_enoent_without_the_network(mounted, service):
    for name in NO_NAMES:
        for look, *arguments in ((os.stat,), (os.listdir,), (os.open, os.O_RDONLY)):
            found = errno_of(look, mounted / name, *arguments)
            assert found == errno.ENOENT, name
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
def test_whatever_would_write_is_erofs(mounted):
    file = mounted / USED[0]
    before = file.read_bytes()
    for name, write in WRITES.items():
        assert errno_of(write, mounted.root, file) == errno.EROFS, name
    assert file.read_bytes() == before
    options = next(
        line.split()[3].split(",")
        for line in Path("/proc/mounts").read_text().splitlines()
        if line.split()[1] == str(mounted.root)
    )
    assert {"ro", "nosuid", "nodev"} <= set(options)


# What desktops and their indexers look for in each directory
PROBED = (
    *(".Trash-1000", ".hidden", "autorun.inf", "autorun.sh", "Desktop.ini", "Icon\r"),
    *("Thumbs.db", "ehthumbs.db", "lost+found", "folder.jpg", "Cover.png", "front.jpg"),
    *("AlbumArtSmall.jpg", "System Volume Information", "$RECYCLE.BIN"),
)
DIRECTORIES = (
    *("", "section", "dataset", "browse", "section/70679088/ds4"),
    *("section/102146167/equalized", "atlas/100883869/annotated"),
    *("dataset/70813257/expression", "dataset/100141599/equalized", "browse/product"),
    *("browse/product/Mouse/dataset", "browse/product/Mouse/gene", "browse/atlas"),
    *("browse/product/Mouse/gene/Adora2a/sagittal", "browse/atlas/1/NISSL"),
)


def test_names_that_desktops_look_for_do_not_exist_and_cost_no_request(
    mounted, service
):
    for directory in DIRECTORIES:
        (mounted / directory).stat()  # may ask what it is
    before = service.query_requests
    for name in PROBED:
        for directory in DIRECTORIES:
            assert errno_of(os.lstat, mounted / directory / name) == errno.ENOENT
        assert path_name(name) not in (None, name)  # what the service calls so
    assert errno_of(os.lstat, mounted / "DCIM") == errno.ENOENT
    assert (service.image_requests, service.query_requests) == (0, before)


@pytest.mark.parametrize("prunes", [True, False])
def test_updatedb_downloads_no_image(mounted, tmp_path, service, *, prunes):
    assert os.listdir(mounted / "dataset" / "70813257")
    database = tmp_path / "names.db"
    before = service.query_requests
    kinds = ["--prunefs", "fuse.allenfs" if prunes else "", "--prunepaths", ""]
    run("updatedb", *kinds, "-l", "no", "-U", tmp_path, "-o", database)
    found = subprocess.run(
        ["plocate", "-d", database, "info.json"], stdout=subprocess.PIPE, check=False
    )
    assert service.image_requests == 0
    assert bool(found.stdout) is not prunes
    assert not prunes or service.query_requests == before
    # its type is what `df -l` leaves out, too
    for flags, is_shown in (([], True), (["-l"], False)):
        done = subprocess.run(["df", *flags], capture_output=True, check=False)
        assert (str(mounted.root).encode() in done.stdout) is is_shown
