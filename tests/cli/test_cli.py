"""The command line: results on stdout, one line on stderr, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import allenfs, fails
from store_helpers import held_still, put

from allenfs.config import StoreSettings
from allenfs.store.directory import own_directory
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import RecordFiles, StoredRecord

API = "https://api.brain-map.org"
MIB = 2**20


def succeeds(*arguments: str | Path, **environ: str) -> list[str]:
    """Run a command; return the lines of its output."""
    done = allenfs(*arguments, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("path", "api_url", "url"),
    [
        (
            "/section/69750516/ds4/expression.jpg",
            API,
            "image_download/69750516?downsample=4&view=expression",
        ),
        ("atlas/1/image.jpg", "http://127.0.0.1:80/", "atlas_image_download/1"),
        (
            "dataset/70813257/ds4/0061_70679088.jpg",
            API,
            "image_download/70679088?downsample=4",
        ),
    ],
)
def test_url_prints_the_download_url_of_a_path(path, api_url, url):
    expected = f"{api_url.rstrip('/')}/api/v2/{url}"
    assert succeeds("url", path, ALLENFS_API_URL=api_url) == [expected]


@pytest.mark.parametrize(
    "path",
    [
        "structure/DG/gene/Prox1/best/2mm/image.jpg",
        "/dataset/69289763/structure/DG/left/2mm/ds4/expression.jpg",
        "section/71592261/nissl/ds3/image.jpg",
    ],
)
def test_url_of_a_path_through_a_link_needs_a_mount(path):
    assert "follows a link of the catalog: give it in a mount" in fails(1, "url", path)


def test_path_prints_the_path_of_a_download_url():
    url = f"{API}/api/v2/section_image_download/1?expression=true&downsample=2"
    assert succeeds("path", url) == ["section/1/ds2/expression.jpg"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("url", "section/1/ds11/image.jpg"),
        ("url", "section/1/info.json"),
        ("url", "dataset/1/equalized/0061_70679088.jpg"),
        ("url", ""),
        ("url", "section/1/\udcff.jpg"),
        ("path", f"{API}/api/v2/data/query.json"),
        ("path", "\udcff"),
    ],
)
def test_a_name_without_an_image_ends_with_1(arguments):
    fails(1, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("remount",),
        ("path", "a", "b"),
        ("mount",),
        ("mount", "--connections", "0", "m"),
        ("mount", "--readahead", "all", "m"),
        ("mount", "--readahead", "1000", "m"),
        ("mount", "--cache-size", "9" * 400, "m"),
        ("mount", "--deadline", "-1", "m"),
        ("mount", "--stall-timeout", "nan", "m"),
        ("mount", "--sample", "--api-url", "http://127.0.0.1:1", "m"),
        ("mount", "--unknown", "m"),
        ("cache", "shrink"),
        ("cache", "info", "--cache-size", "-5"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_a_wrong_command_line_ends_with_2(arguments):
    done = allenfs(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: allenfs")
    assert done.stderr.splitlines()[-1].startswith("allenfs")


def test_a_wrong_setting_is_named():
    assert "plenty" in fails(2, "cache", "info", ALLENFS_CACHE_SIZE="plenty")
    assert "'direct_io'" in fails(2, "mount", "-o", "direct_io", "m")
    line = fails(3, "mount", "--api-url", "ftp://h", ".")
    assert "ftp://h" in line
    assert fails(3, "mount", ".", ALLENFS_API_URL="ftp://h") == line


def test_a_missing_mount_is_named(tmp_path):
    missing = tmp_path / "missing"
    assert str(missing) in fails(3, "mount", missing)
    assert str(tmp_path) in fails(1, "umount", tmp_path)


def test_help_and_version_end_with_0():
    for arguments in (("--help",), ("mount", "--help"), ("--version",)):
        assert succeeds(*arguments)


COMMANDS = (["url", "section/5/image.jpg"], ["doctor", "--api-url", "x"], ["--help"])


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_output_that_cannot_be_written_ends_with_1(arguments, monkeypatch):
    # argparse hides errors of an unbuffered stream
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    reader, closed_pipe = os.pipe()
    os.close(reader)
    full_disk = os.open("/dev/full", os.O_WRONLY)
    no_space = b"allenfs: [Errno 28] No space left on device\n"
    for stdout, said in ((closed_pipe, b""), (full_disk, no_space)):
        command = [sys.executable, "-m", "allenfs", *arguments]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, check=False
        )
        os.close(stdout)
        assert (done.returncode, done.stderr) == (1, said)


def test_closed_streams_are_no_error():
    for closed in ("<&- >&-", "2>&-", "<&- >&- 2>&-"):
        for arguments, code in zip(COMMANDS, (0, 1, 0), strict=True):
            command = [sys.executable, "-m", "allenfs", *arguments]
            done = subprocess.run(
                ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
                capture_output=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize(
    ("name", "encoding", "shown"),
    [
        ("d\u00e9", "ascii", r"d\xe9"),
        ("\udcff", "utf-8:strict", r"\udcff"),  # as under most locales
    ],
)
def test_a_name_that_the_output_cannot_encode_is_escaped(name, encoding, shown):
    arguments = ("cache", "info", "--cache-dir", f"/nowhere/{name}")
    lines = succeeds(*arguments, PYTHONIOENCODING=encoding)
    assert lines[0] == f"directory  /nowhere/{shown}"


@pytest.fixture
def filled(tmp_path):
    """A store of 3 images of one service, and 1 image and 3 records of another."""
    directory = tmp_path / "store"
    for service, ids in (("api.brain-map.org", (1, 2, 3)), ("sample", (1,))):
        store = ImageFiles(StoreSettings(directory, MIB, service))
        for image_id in ids:
            put(store, image_id, bytes([image_id]) * 5000)
    records = RecordFiles(StoreSettings(directory, MIB, "sample"))
    for number in range(3):
        records.put(("dataset", str(number)), StoredRecord({"id": number}, 1))
    return directory


def stored_images(directory: Path) -> list[Path]:
    return sorted((directory / "images").rglob("*.jpg"))


def test_cache_info_counts_images_and_records(filled):
    assert succeeds(
        "cache", "info", ALLENFS_CACHE_DIR=str(filled), ALLENFS_CACHE_SIZE="1MiB"
    ) == [
        f"directory  {filled}",
        f"used       45056 of {MIB} bytes",
        "api.brain-map.org  3 images, 24576 bytes",
        "sample  1 images, 8192 bytes",
        "catalog    3 records, 12288 bytes",
    ]
    assert len(stored_images(filled)) == 4


def test_cache_verify_removes_what_is_damaged(filled):
    image = stored_images(filled)[1]
    data = bytearray(image.read_bytes())
    data[1234] ^= 0x10
    image.write_bytes(data)
    record = min(filled.glob("records/sample/dataset/*"))
    record.write_bytes(record.read_bytes()[:-1])
    verify = ("cache", "verify", "--cache-dir", filled)
    with held_still(filled):
        done = allenfs(*verify)
    assert done.returncode == 1
    assert "4 images checked, 1 damaged, 1 of them could not be removed" in done.stdout
    assert image.exists()
    done = allenfs(*verify)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "4 images checked, 1 damaged and removed",
        "3 records checked, 1 damaged and removed",
    ]
    assert len(done.stderr.splitlines()) == 2
    assert not image.exists()
    assert succeeds(*verify) == [
        "3 images checked, 0 damaged and removed",
        "2 records checked, 0 damaged and removed",
    ]


def test_cache_clear_removes_everything(filled):
    for images, records in ((4, 3), (0, 0)):
        removed = [f"{images} images removed", f"{records} records removed"]
        assert succeeds("cache", "clear", "--cache-dir", filled) == removed
        assert stored_images(filled) == []
        assert list(filled.glob("records/*/*/*")) == []


def test_cache_info_creates_no_store(tmp_path):
    store = tmp_path / "store"
    assert "used       0 of" in succeeds("cache", "info", "--cache-dir", store)[1]
    assert not store.exists()


def test_a_store_that_cannot_be_cleared_ends_with_1(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    assert str(file) in fails(1, "cache", "clear", "--cache-dir", file)
    assert file.read_bytes() == b"kept"


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path):
    folder = tmp_path / "folder"
    theirs = [
        folder / "images" / "holiday" / "section" / "2020" / "photo.jpg",
        folder / "incoming" / ("0" * 32),
        folder / "journal",
        folder / "CACHEDIR.TAG",
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    folder.chmod(0o755)
    own = own_directory(folder)
    assert own == folder / "allenfs-store"
    put(ImageFiles(StoreSettings(own, MIB, "h")), 1, b"image")
    succeeds("cache", "verify", "--cache-dir", folder)
    removed = ["1 images removed", "0 records removed"]
    assert succeeds("cache", "clear", "--cache-dir", folder) == removed
    assert [path.read_text() for path in theirs] == ["theirs"] * 4
    assert folder.stat().st_mode & 0o777 == 0o755
    assert own.stat().st_mode & 0o777 == 0o700
    assert own_directory(own) == own
