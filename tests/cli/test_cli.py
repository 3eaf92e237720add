"""The command line: results on stdout, one line on stderr, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from store_helpers import held_still

from allenfs.config import StoreSettings
from allenfs.model.images import ImageRequest, ImageService
from allenfs.store.directory import own_directory
from allenfs.store.image_files import ImageFiles
from allenfs.store.record_files import Kept, RecordFiles

if TYPE_CHECKING:
    from pathlib import Path

API = "https://api.brain-map.org"
MIB = 2**20


class Shell:
    """Runs allenfs as a user would, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }

    def run(
        self, *arguments: str, environ: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "allenfs", *arguments],
            env={**self.environ, **(environ or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            check=False,
            **options,
        )
        assert "Traceback" not in done.stderr
        return done

    def __call__(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        done = self.run(*arguments, environ=environ, stdout=subprocess.PIPE)
        return done.returncode, done.stdout, done.stderr

    def cache(self, action: str, directory: Path) -> tuple[int, list[str]]:
        """Run `allenfs cache`; return exit code and lines."""
        code, out, _ = self("cache", action, "--cache-dir", str(directory))
        return code, out.splitlines()

    def fails(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Run it; return the exit code and its one line."""
        code, out, said = self(*arguments, **environ)
        assert out == ""
        lines = said.splitlines()
        if code == 2:  # argparse prints the usage first
            lines = lines[-1:]
        assert len(lines) == 1, said
        assert lines[0].startswith("allenfs"), said
        return code, lines[0]


@pytest.fixture
def allenfs(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


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
def test_url_prints_the_download_url_of_a_path(
    allenfs: Shell, path: str, api_url: str, url: str
) -> None:
    expected = f"{api_url.rstrip('/')}/api/v2/{url}\n"
    assert allenfs("url", path, ALLENFS_API_URL=api_url) == (0, expected, "")


def test_path_prints_the_path_of_a_download_url(allenfs: Shell) -> None:
    url = f"{API}/api/v2/section_image_download/1?expression=true&downsample=2"
    assert allenfs("path", url) == (0, "section/1/ds2/expression.jpg\n", "")


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
def test_a_name_without_an_image_ends_with_1(
    allenfs: Shell, arguments: tuple[str, str]
) -> None:
    assert allenfs.fails(*arguments)[0] == 1


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
        ("mount", "-o", "direct_io", "m"),
        ("mount", "--unknown", "m"),
        ("cache", "shrink"),
        ("cache", "info", "--cache-size", "-5"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_a_wrong_command_line_ends_with_2(
    allenfs: Shell, arguments: tuple[str, ...]
) -> None:
    assert allenfs.fails(*arguments)[0] == 2


def test_a_wrong_size_in_the_environment_ends_with_2(allenfs: Shell) -> None:
    code, line = allenfs.fails("cache", "info", ALLENFS_CACHE_SIZE="plenty")
    assert code == 2
    assert "plenty" in line


def test_a_mount_of_a_malformed_service_url_ends_with_3(allenfs: Shell) -> None:
    by_flag = allenfs.fails("mount", "--api-url", "ftp://h", ".")
    assert by_flag[0] == 3
    assert "ftp://h" in by_flag[1]
    assert allenfs.fails("mount", ".", ALLENFS_API_URL="ftp://h") == by_flag


def test_a_missing_mount_is_named(allenfs: Shell) -> None:
    for command, name, expected in (("mount", "missing", 3), ("umount", ".", 1)):
        code, line = allenfs.fails(command, name)
        assert code == expected
        assert str(allenfs.home / name) in line


def test_help_and_version_end_with_0(allenfs: Shell) -> None:
    for arguments in (("--help",), ("mount", "--help"), ("--version",)):
        code, out, said = allenfs(*arguments)
        assert (code, said) == (0, "")
        assert out


def put(store: ImageFiles, image_id: int, data: bytes) -> None:
    temp_file = store.temp_file()
    temp_file.write(data)
    store.add(ImageRequest(ImageService.SECTION, image_id), temp_file, None)


@pytest.fixture
def filled(allenfs: Shell) -> Path:
    """A store of 3 images of one service and 1 of another."""
    directory = allenfs.home / "store"
    for service, ids in (("api.brain-map.org", (1, 2, 3)), ("sample", (1,))):
        store = ImageFiles(StoreSettings(directory, MIB, service))
        for image_id in ids:
            put(store, image_id, bytes([image_id]) * 5000)
    return directory


def stored_files(directory: Path) -> list[Path]:
    return sorted((directory / "images").rglob("*.jpg"))


STREAMS = (["url", "section/5/image.jpg"], ["doctor", "--api-url", "x"], ["--help"])


@pytest.mark.parametrize("arguments", STREAMS, ids=" ".join)
def test_output_that_cannot_be_written_ends_with_1(
    allenfs: Shell, arguments: list[str]
) -> None:
    reader, closed_pipe = os.pipe()
    os.close(reader)
    full_disk = os.open("/dev/full", os.O_WRONLY)
    no_space = "allenfs: [Errno 28] No space left on device\n"
    for stdout, said in ((closed_pipe, ""), (full_disk, no_space)):
        done = allenfs.run(*arguments, stdout=stdout)
        os.close(stdout)
        assert (done.returncode, done.stderr) == (1, said)


def test_closed_streams_are_no_error(allenfs: Shell) -> None:
    for arguments, code in zip(STREAMS, (0, 1, 0), strict=True):
        command = [sys.executable, "-m", "allenfs", *arguments]
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command],
            env=allenfs.environ,
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
def test_a_name_that_the_output_cannot_encode_is_escaped(
    allenfs: Shell, name: str, encoding: str, shown: str
) -> None:
    arguments = ("cache", "info", "--cache-dir", f"/nowhere/{name}")
    code, out, said = allenfs(*arguments, PYTHONIOENCODING=encoding)
    assert (code, said) == (0, "")
    assert out.startswith(f"directory  /nowhere/{shown}\n")


def test_cache_info_counts_the_images_of_each_service(
    allenfs: Shell, filled: Path
) -> None:
    _, out, _ = allenfs(
        "cache", "info", ALLENFS_CACHE_DIR=str(filled), ALLENFS_CACHE_SIZE="1MiB"
    )
    assert out.splitlines() == [
        f"directory  {filled}",
        f"used       32768 of {MIB} bytes",
        "api.brain-map.org  3 images, 24576 bytes",
        "sample  1 images, 8192 bytes",
        "catalog    0 records, 0 bytes",
    ]
    assert len(stored_files(filled)) == 4


def test_cache_verify_removes_the_damaged_image(allenfs: Shell, filled: Path) -> None:
    victim = stored_files(filled)[1]
    data = bytearray(victim.read_bytes())
    data[1234] ^= 0x10
    victim.write_bytes(data)
    with held_still(filled):
        code, out, said = allenfs("cache", "verify", "--cache-dir", str(filled))
    assert code == 1
    assert "4 images checked, 1 damaged, 1 of them could not be removed" in out
    assert victim.exists()
    code, out, said = allenfs("cache", "verify", "--cache-dir", str(filled))
    assert len(said.splitlines()) == 1
    records = "0 records checked, 0 damaged and removed"
    found = (code, out.splitlines())
    assert found == (1, ["4 images checked, 1 damaged and removed", records])
    assert not victim.exists()
    intact = (0, ["3 images checked, 0 damaged and removed", records])
    assert allenfs.cache("verify", filled) == intact


def test_cache_clear_removes_all_images(allenfs: Shell, filled: Path) -> None:
    for count in (4, 0):
        removed = [f"{count} images removed", "0 records removed"]
        assert allenfs.cache("clear", filled) == (0, removed)
        assert stored_files(filled) == []


def test_cache_info_creates_no_store(allenfs: Shell) -> None:
    code, out, said = allenfs("cache", "info")
    assert (code, said) == (0, "")
    assert "used       0 of" in out
    assert not (allenfs.home / ".cache").exists()


def test_cache_manages_the_records_of_the_catalog(
    allenfs: Shell, tmp_path: Path
) -> None:
    settings = StoreSettings(tmp_path / "store", MIB, "h")
    for number in range(3):
        RecordFiles(settings).put(("dataset", str(number)), Kept({"id": number}, 1))
    directory = settings.directory
    assert allenfs.cache("info", directory)[1][1:] == [
        "used       12288 of 10737418240 bytes",
        "catalog    3 records, 12288 bytes",
    ]
    damaged = sorted(directory.glob("records/h/dataset/*"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for code, count, bad in ((1, 3, 1), (0, 2, 0)):
        found, (_, line) = allenfs.cache("verify", directory)
        assert found == code
        assert line == f"{count} records checked, {bad} damaged and removed"
    removed = ["0 images removed", "2 records removed"]
    assert allenfs.cache("clear", directory)[1] == removed
    assert list(settings.directory.glob("records/*/*/*")) == []


def test_a_store_that_cannot_be_cleared_ends_with_1(allenfs: Shell) -> None:
    file = allenfs.home / "file"
    file.write_bytes(b"kept")
    code, line = allenfs.fails("cache", "clear", "--cache-dir", str(file))
    assert code == 1
    assert str(file) in line
    assert file.read_bytes() == b"kept"


def test_a_directory_with_something_else_in_it_is_left_alone(
    allenfs: Shell, tmp_path: Path
) -> None:
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
    store = ImageFiles(StoreSettings(own, MIB, "h"))
    put(store, 1, b"image")
    assert allenfs.cache("verify", folder)[0] == 0
    removed = ["1 images removed", "0 records removed"]
    assert allenfs.cache("clear", folder) == (0, removed)
    assert [path.read_text() for path in theirs] == ["theirs"] * 4
    assert folder.stat().st_mode & 0o777 == 0o755
    assert own.stat().st_mode & 0o777 == 0o700
    assert own_directory(own) == own
