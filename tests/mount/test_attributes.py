"""Extended attributes: what an image is, and nothing that costs a request."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from command import run
from mounted import errno_of, image_bytes, until

from allenfs.sample.inventing import add_data_set
from allenfs.store.stored_file import FOOTER_BYTES

PATH = "section/69750516/ds6/image.jpg"
URL = "/api/v2/image_download/69750516?downsample=6"
DATA_SET = "dataset/72109410"
PREFIX = "user.allenfs."


def attributes(file: Path) -> dict[str, str]:
    names = os.listxattr(file)
    assert all(name.startswith(PREFIX) for name in names)
    return {
        name.removeprefix(PREFIX): os.getxattr(file, name).decode() for name in names
    }


def dumped(*files: Path) -> str:
    return run("getfattr", "-d", "--absolute-names", *files).decode()


@pytest.mark.both_libfuses
def test_an_image_has_its_url_and_once_it_is_local_its_checksum_and_time(
    mounted, service
):
    unread = {"url": service.url + URL, "size_known": "false"}
    assert attributes(mounted / PATH) == unread
    assert service.image_requests == service.query_requests == 0
    before = datetime.now(timezone.utc).replace(microsecond=0)
    data = (mounted / PATH).read_bytes()
    found = attributes(mounted / PATH)
    fetched = datetime.fromisoformat(found["fetched"].replace("Z", "+00:00"))
    assert before <= fetched <= datetime.now(timezone.utc)
    sha256 = hashlib.sha256(data).hexdigest()
    read = {"sha256": sha256, "fetched": found["fetched"], "size_known": "true"}
    assert found == unread | read
    said = dumped(mounted / PATH)
    assert all(f'\nuser.allenfs.{name}="' in said for name in found)
    mounted.stop()
    mounted.start()
    service.close()
    assert attributes(mounted / PATH) == found


@pytest.mark.mounted(capacity_bytes=4096)
def test_what_the_store_does_not_keep_is_whole_and_has_its_attributes_while_open(
    mounted, service
):
    with open(mounted / PATH, "rb") as file:
        data = file.read()
        assert data == image_bytes(service.url, PATH)
        sha256 = hashlib.sha256(data).hexdigest()
        assert attributes(mounted / PATH)["sha256"] == sha256
    until(lambda: "sha256" not in attributes(mounted / PATH))
    assert mounted.stored == []
    # the kernel received the exact size, and receives it again
    assert attributes(mounted / PATH)["size_known"] == "true"
    assert (mounted / PATH).stat().st_size == len(data)


def _another_name(file: Path) -> None:
    data = file.read_bytes()
    renamed = data[-FOOTER_BYTES:].replace(b'"name":"', b'"name":"0')[:FOOTER_BYTES]
    file.write_bytes(data[:-FOOTER_BYTES] + renamed)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: os.truncate(file, file.stat().st_size - 64),
    "another name": _another_name,
    "link": lambda file: file.symlink_to(file.rename(file.parents[3] / "other")),
    "pipe": _pipe,
    "somebody else's": lambda file: os.chown(file, 1, 1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.mounted(warnings=["downloading it again"])
def test_a_footer_of_another_file_is_ignored(mounted, service, damage):
    data = (mounted / PATH).read_bytes()
    until(lambda: mounted.status["open_files"] == 0)
    (stored,) = mounted.stored
    damage(stored)
    assert attributes(mounted / PATH) == {
        "url": service.url + URL,
        "size_known": "true",
    }
    stored.unlink(missing_ok=True)
    assert (mounted / PATH).read_bytes() == data
    digest = hashlib.sha256(data).hexdigest()
    assert attributes(mounted / PATH)["sha256"] == digest


def test_a_dump_of_a_whole_listing_makes_no_request(database, service, mounted):
    add_data_set(database, 4711, range(5_000_000_000, 5_000_002_600))
    folder = mounted / "dataset/4711/ds4"
    names = os.listdir(folder)
    assert len(names) == 2600
    asked = service.query_requests
    said = dumped(*(folder / name for name in names))
    assert said.count("\nuser.allenfs.url=") == 2600
    assert said.count('\nuser.allenfs.size_known="false"') == 2600
    assert (service.image_requests, service.query_requests) == (0, asked)


@pytest.mark.both_libfuses
def test_directories_documents_and_the_own_files_have_none(mounted):
    for path in ("section", DATA_SET, f"{DATA_SET}/info.json", ".allenfs/status.json"):
        assert attributes(mounted / path) == {}
    own = mounted / ".allenfs/log"
    assert errno_of(os.getxattr, own, "user.allenfs.url") == errno.ENODATA
