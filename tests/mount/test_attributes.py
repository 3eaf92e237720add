"""Extended attributes: what an image is, and nothing that costs a request."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from mounted import Mounted, errno_of_open, until

from allenfs.sample.content import sample_database
from allenfs.sample.inventing import add_data_set
from allenfs.sample.server import SampleService
from allenfs.store.stored_file import FOOTER_BYTES

PATH = "section/69750516/ds6/image.jpg"
URL = "/api/v2/image_download/69750516?downsample=6"
UNKNOWN = "section/1/image.jpg"
DATA_SET = "dataset/72109410/ds6"
PREFIX = "user.allenfs."


def attributes(file: Path) -> dict[str, str]:
    names = os.listxattr(file)
    assert all(name.startswith(PREFIX) for name in names)
    return {
        name.removeprefix(PREFIX): os.getxattr(file, name).decode() for name in names
    }


def dumped(*files: Path) -> str:
    """Return what `getfattr -d` shows."""
    done = subprocess.run(
        ["getfattr", "-d", "--absolute-names", *files],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_an_image_that_was_never_opened_has_its_url_and_no_exact_size(
    mounted: Mounted, service: SampleService
) -> None:
    assert attributes(mounted / PATH) == {
        "url": service.url + URL,
        "size_known": "false",
    }
    assert service.image_requests == service.query_requests == 0


@pytest.mark.both_libfuses
def test_a_local_image_has_its_checksum_and_the_time_of_its_download(
    mounted: Mounted, service: SampleService
) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    data = (mounted / PATH).read_bytes()
    found = attributes(mounted / PATH)
    fetched = datetime.fromisoformat(found.pop("fetched").replace("Z", "+00:00"))
    assert before <= fetched <= datetime.now(timezone.utc)
    assert found == {
        "url": service.url + URL,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_known": "true",
    }
    said = dumped(mounted / PATH)
    for name in ("url", "sha256", "fetched", "size_known"):
        assert f'\nuser.allenfs.{name}="' in said


def test_what_is_told_is_the_same_after_a_restart_and_reads_no_image(
    mounted: Mounted, service: SampleService
) -> None:
    (mounted / PATH).read_bytes()
    before = attributes(mounted / PATH)
    mounted.stop()
    mounted.start()
    service.close()
    assert attributes(mounted / PATH) == before


@pytest.mark.mounted(capacity_bytes=4096)
def test_what_the_store_does_not_keep_is_told_as_long_as_it_is_open(
    mounted: Mounted,
) -> None:
    with open(mounted / PATH, "rb") as file:
        sha256 = hashlib.sha256(file.read()).hexdigest()
        assert attributes(mounted / PATH)["sha256"] == sha256
    until(lambda: "sha256" not in attributes(mounted / PATH))
    # the kernel was told the exact size, and is told it again
    assert attributes(mounted / PATH)["size_known"] == "true"


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 64)


def _of_another_name(file: Path) -> None:
    _rewrite(file, b'"name":"', b'"name":"0')


def _no_checksum(file: Path) -> None:
    _rewrite(file, b'"sha256":"', b'"sha256":"<b>')


def _no_footer(file: Path) -> None:
    size = file.stat().st_size
    with open(file, "r+b") as stored:
        stored.seek(size - FOOTER_BYTES)
        stored.write(os.urandom(FOOTER_BYTES))


def _rewrite(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    head, footer = data[:-FOOTER_BYTES], data[-FOOTER_BYTES:]
    changed = footer.replace(old, new)
    assert changed != footer
    file.write_bytes(head + changed[:FOOTER_BYTES])


def _link(file: Path) -> None:
    data = file.read_bytes()
    file.unlink()
    other = file.parent.parent.parent.parent / "other"
    other.write_bytes(data)
    file.symlink_to(other)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _somebody_elses(file: Path) -> None:
    os.chown(file, 1, 1)


@pytest.mark.parametrize(
    "damage",
    [_cut, _of_another_name, _no_checksum, _no_footer, _link, _pipe, _somebody_elses],
)
@pytest.mark.mounted(warnings=["downloaded again"])
def test_a_footer_of_another_file_says_nothing(
    mounted: Mounted, damage: Callable[[Path], None], service: SampleService
) -> None:
    data = (mounted / PATH).read_bytes()
    until(lambda: _open_files(mounted) == 0)
    (stored,) = mounted.stored
    damage(stored)
    found = attributes(mounted / PATH)
    assert not {"sha256", "fetched"} & found.keys()
    assert found["url"] == service.url + URL
    with contextlib.suppress(FileNotFoundError):
        stored.unlink()
    assert (mounted / PATH).read_bytes() == data
    digest = hashlib.sha256(data).hexdigest()
    assert attributes(mounted / PATH)["sha256"] == digest


def _open_files(mounted: Mounted) -> int:
    page = json.loads((mounted / ".allenfs/status.json").read_bytes())
    return int(page["open_files"])


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_an_image_that_failed_says_why_until_it_is_there(mounted: Mounted) -> None:
    assert errno_of_open(mounted / UNKNOWN) == errno.ENOENT
    found = attributes(mounted / UNKNOWN)
    assert found.keys() == {"url", "size_known", "error"}
    assert "HTTP 404 Not Found" in found["error"]
    assert 'user.allenfs.error="HTTP 404' in dumped(mounted / UNKNOWN)


def test_a_dump_of_a_whole_listing_asks_the_service_for_nothing(tmp_path: Path) -> None:
    database = sample_database()
    add_data_set(database, 4711, range(5_000_000_000, 5_000_002_600))
    with (
        SampleService(database=database) as service,
        Mounted(tmp_path, service.url) as mounted,
    ):
        names = os.listdir(mounted / "dataset/4711/ds4")
        assert len(names) == 2600
        asked = service.image_requests, service.query_requests
        said = dumped(*(mounted / "dataset/4711/ds4" / name for name in names))
        assert said.count("\nuser.allenfs.url=") == 2600
        assert said.count('\nuser.allenfs.size_known="false"') == 2600
        assert (service.image_requests, service.query_requests) == asked
        assert service.image_requests == 0


@pytest.mark.both_libfuses
def test_directories_documents_and_the_own_files_have_none(mounted: Mounted) -> None:
    for path in ("section", DATA_SET, ".allenfs", ".allenfs/status.json"):
        assert attributes(mounted / path) == {}
    assert attributes(mounted / "dataset/72109410/info.json") == {}
    with pytest.raises(OSError) as raised:
        os.getxattr(mounted / ".allenfs/log", "user.allenfs.url")
    assert raised.value.errno == errno.ENODATA
