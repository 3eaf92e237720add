"""``allen://``: files, details and errors, against a real service."""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
from datetime import datetime, timezone

import fsspec
import pytest
from mounted import errno_of, image_bytes, until

from allenfs.catalog.resolver import Catalog
from allenfs.sample.faults import Fault

IMAGE = "section/69750516/ds6/image.jpg"
TABLE = "dataset/69782969/sections.csv"
CHUNK = "section/69750516/image.zarr/4/0/0/0"


def test_a_url_opens_wherever_the_package_is_installed(service, tmp_path):
    options = {"api_url": service.url, "cache_dir": str(tmp_path)}
    with fsspec.open(f"allen://{IMAGE}", **options) as file:
        assert file.read() == image_bytes(service.url, IMAGE)


@pytest.mark.parametrize(
    "url",
    [f"allen:///{IMAGE}", f"/{IMAGE}/", f"allen://{IMAGE}", IMAGE.replace("/", "//")],
)
def test_a_path_has_one_name(allen, url):
    assert allen.info(url)["name"] == allen.ls(url)[0]["name"] == IMAGE
    assert allen.ls("allen://")[0]["name"] == "section"
    assert allen.info("")["type"] == allen.info("/")["type"] == "directory"


def test_an_image_is_requested_once_however_it_is_read(allen, service):
    data = image_bytes(service.url, IMAGE)
    service.reset_counters()
    assert allen.cat(IMAGE) == allen.cat_file(IMAGE) == data
    assert allen.open(IMAGE).read() == allen.read_bytes(IMAGE) == data
    assert service.image_requests == 1


def test_a_size_is_none_until_it_is_exact(allen, service):
    assert allen.size(IMAGE) is None
    assert not allen.info(IMAGE)["local"]
    size_bytes = len(allen.cat(IMAGE))
    assert allen.sizes([IMAGE]) == [size_bytes]
    assert allen.info(IMAGE)["local"]
    assert service.image_requests == 1


def test_documents_and_chunks_have_exact_sizes_before_they_are_opened(allen, service):
    sizes = allen.sizes([TABLE, CHUNK])
    assert service.image_requests == 0
    assert sizes == [len(allen.cat(TABLE)), len(allen.cat(CHUNK))]


def test_details_and_listings_download_no_image(allen, service):
    listed = allen.ls("dataset/69782969")
    assert [one["name"] for one in listed] == allen.ls("dataset/69782969", detail=False)
    assert [allen.info(one["name"]) for one in listed] == listed
    assert allen.find("dataset/69782969/ds4")
    assert allen.exists(IMAGE)
    assert allen.isfile(IMAGE)
    assert allen.isdir(os.path.dirname(IMAGE))
    assert allen.ukey(IMAGE) == allen.ukey(IMAGE)
    assert service.image_requests == 0


def test_times_are_of_the_image_and_of_its_download(allen):
    before = datetime.now(timezone.utc)
    allen.cat(IMAGE)
    assert allen.modified(IMAGE) < before  # Last-Modified
    assert before <= allen.created(IMAGE) <= datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 10),
        (5, None),
        (None, 7),
        (-9, None),
        (-9, -3),
        (None, -3),
        (10, 5),
        (0, 9**9),
    ],
)
def test_a_range_is_a_slice(allen, start, end):
    data = allen.cat(IMAGE)
    assert allen.cat_file(IMAGE, start, end) == data[start:end]


def test_ranges_of_several_files_come_in_order(allen):
    ranges = allen.cat_ranges([IMAGE, TABLE], [0, 8], [3, None])
    assert ranges == [allen.cat(IMAGE)[:3], allen.cat(TABLE)[8:]]
    assert allen.head(IMAGE, 4) + allen.tail(IMAGE, 4) == (
        allen.cat(IMAGE)[:4] + allen.cat(IMAGE)[-4:]
    )
    assert allen.read_block(TABLE, 0, 20, b"\n") == allen.cat(TABLE).splitlines(True)[0]


def test_an_open_file_seeks_reads_and_pickles(allen):
    data = allen.cat(IMAGE)
    with allen.open(f"allen://{IMAGE}") as file:
        assert (file.size, file.mode, file.path) == (len(data), "rb", IMAGE)
        assert file.full_name == f"allen://{IMAGE}"
        assert file.info() == allen.info(IMAGE)
        assert file.seek(-10, io.SEEK_END) == len(data) - 10
        assert pickle.loads(pickle.dumps(file)).read() == data[-10:]
        assert file.read() == data[-10:]
        assert file.read() == b""
        file.seek(3)
        buffer = bytearray(5)
        assert file.readinto(buffer) == 5
        assert bytes(buffer) == data[3:8]
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
        file.seek(len(data) + 1)
        assert file.read() == b""
    with pytest.raises(ValueError, match="mode"):
        allen.open(IMAGE, "b")
    with pytest.raises(ValueError):
        file.read()


def test_a_store_that_others_can_write_to_is_refused(opened, service, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(OSError, match="writable by other users"):
        opened(cache_dir=str(tmp_path / "open")).cat(IMAGE)
    assert (service.image_requests, os.listdir(tmp_path / "open")) == (0, [])


def test_a_closed_file_holds_no_descriptor(allen):
    files = [allen.open(f"section/69750516/ds8/q{n}/image.jpg") for n in range(9)]
    before = len(os.listdir("/proc/self/fd"))
    for file in files:
        file.close()
        file.close()
    assert len(os.listdir("/proc/self/fd")) == before - len(files)


def test_text_is_decoded(allen):
    with allen.open(TABLE, "r", encoding="ascii") as lines:
        assert next(lines).startswith("section_number,image_id")
    assert allen.read_text(TABLE).encode() == allen.cat(TABLE)


def test_images_opened_in_order_are_read_ahead(opened, service):
    for readahead, tier in ((0, "ds6"), (None, "ds7")):
        allen = opened(readahead=readahead)
        for path in allen.ls(f"dataset/72109410/{tier}", detail=False)[:2]:
            assert allen.cat(path)
        if readahead == 0:
            assert service.image_requests == 2
    until(lambda: service.image_requests > 4)


@pytest.mark.parametrize(
    ("fault", "number", "reason"),
    [
        (Fault.STATUS_404, errno.ENOENT, "404"),
        (Fault.STATUS_400, errno.EINVAL, "400"),
        (Fault.STATUS_403, errno.EACCES, "403"),
        (Fault.SILENT, errno.ETIMEDOUT, "timed out|deadline"),
        (Fault.STATUS_503, errno.EIO, "503"),
        (Fault.CUT_CHUNKED, errno.EIO, "attempt"),
        (Fault.NOT_A_JPEG, errno.EIO, "not a JPEG"),
        (Fault.REDIRECT_OTHER_HOST, errno.EIO, "other.invalid"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_failure_is_an_errno_with_its_reason_and_path(
    opened, service, fault, number, reason
):
    service.fail(fault)
    allen = opened(deadline=0.3 if fault is Fault.SILENT else 600)
    for read in (allen.open, allen.cat_file):  # the second is remembered
        with pytest.raises(OSError, match=reason) as raised:
            read(IMAGE)
        assert (raised.value.errno, raised.value.filename) == (number, IMAGE)
    assert allen.size(IMAGE) is None


def test_a_service_that_is_not_there_is_ehostunreach(opened, service):
    service.close()
    with pytest.raises(OSError, match="refused") as raised:
        opened().open(IMAGE)
    assert raised.value.errno == errno.EHOSTUNREACH


def test_an_image_above_the_limit_is_efbig(opened):
    assert errno_of(opened(max_image_size=1000).open, IMAGE) == errno.EFBIG


def test_a_name_outside_the_grammar_makes_no_request(allen, service):
    for path in ("x", "section/007", "section/1/ds11/image.jpg", "../section"):
        assert errno_of(allen.open, path) == errno.ENOENT
        assert errno_of(allen.info, path) == errno.ENOENT
        assert not allen.exists(path)
        assert not allen.isdir(path)
        assert not allen.isfile(path)
    assert (service.image_requests, service.query_requests) == (0, 0)


def test_a_directory_does_not_open_and_a_file_lists_itself(allen):
    assert errno_of(allen.open, "section/1") == errno.EISDIR
    assert errno_of(allen.cat_file, "section/1") == errno.EISDIR
    assert allen.ls(IMAGE) == [allen.info(IMAGE)]
    assert not allen.exists(f"{IMAGE}/x")


def test_a_failed_query_is_never_an_absence(allen, service):
    service.fail_queries(Fault.STATUS_503)
    for ask in (allen.exists, allen.isfile, allen.isdir, allen.info, allen.ls):
        assert errno_of(ask, TABLE) == errno.EIO
    mapper = allen.get_mapper("dataset/69782969")
    assert errno_of(mapper.__contains__, "info.json") == errno.EIO


def test_a_failure_among_several_files_raises(allen, service):
    """zarr 2 treats a returned error as an empty chunk."""
    broken = "section/69750516/ds7/image.jpg"
    missing = "section/69750516/ds7/none.jpg"
    for absent in (missing, "section/69750516"):
        assert allen.cat([IMAGE, absent], on_error="omit") == {IMAGE: allen.cat(IMAGE)}
    both = allen.cat([IMAGE, missing], on_error="return")
    assert isinstance(both[missing], FileNotFoundError)
    service.fail(Fault.STATUS_400)
    for on_error in ("raise", "return", "omit"):
        with pytest.raises(OSError, match="400"):
            allen.cat([IMAGE, broken], on_error=on_error)


def test_a_bug_is_eio_with_a_traceback_in_the_log(allen, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("spilled")

    monkeypatch.setattr(Catalog, "resolve", fails)
    with caplog.at_level(logging.ERROR), pytest.raises(OSError, match="spilled") as bug:
        allen.info(IMAGE)
    assert bug.value.errno == errno.EIO
    assert isinstance(bug.value.__cause__, RuntimeError)
    assert caplog.records[-1].exc_info


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        *((name, ["a"]) for name in ("mkdir", "makedirs", "rmdir", "rm", "touch")),
        *((name, ["a", "b"]) for name in ("cp", "mv", "put", "pipe", "write_text")),
        *(("open", [IMAGE, mode]) for mode in ("wb", "ab", "xb", "r+b", "w")),
        ("rm", [IMAGE, True]),
    ],
)
def test_a_write_is_erofs(allen, service, operation, arguments):
    assert errno_of(getattr(allen, operation), *arguments) == errno.EROFS
    assert service.image_requests == service.query_requests == 0
