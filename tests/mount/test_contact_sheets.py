"""Contact sheets of a mount: one request a picture, all or nothing, kept."""

from __future__ import annotations

import errno
import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import allenfs, cat, fails, run
from mounted import Mounted, errno_of, errno_of_open, until
from PIL import Image, ImageChops

from allenfs.sample.server import Fault, SampleService

pytestmark = pytest.mark.one_libfuse

SHEET = "contact_sheet.jpg"
SMALL = "dataset/71670687"  # 12 sections, one of them marked as failed
FAILED_IMAGE = 71663128
GOOD_IMAGE = 71663120
ATLAS = "browse/atlas/2"


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def kept_sheets(mounted: Mounted) -> list[Path]:
    return [path for path in mounted.stored if path.parts[-3] == "sheet"]


def asked_ids(service: SampleService) -> list[int]:
    targets = [target.partition("?") for target in service.requested]
    assert all("downsample=6" in query for _, _, query in targets)
    return [int(path.rpartition("/")[2]) for path, _, _ in targets]


@pytest.fixture
def whole(tmp_path, service):
    """The sheet of SMALL with all its pictures, and its time, from another store."""
    with Mounted(tmp_path / "whole", service.url) as mounted:
        file = mounted / SMALL / SHEET
        found = file.read_bytes(), file.stat().st_mtime_ns
    service.reset_counters()
    return found


@pytest.mark.service(latency_s=0.05)
def test_a_sheet_is_made_at_the_first_open_of_one_request_a_picture(mounted, service):
    file = mounted / SMALL / SHEET
    assert SHEET in os.listdir(mounted / SMALL)
    bound = file.stat()
    assert bound.st_blocks == 0
    assert service.image_requests == 0
    data = file.read_bytes()
    assert len(asked_ids(service)) == len({*asked_ids(service)} - {FAILED_IMAGE}) == 11
    assert 2 <= service.peak_all_requests <= 4
    assert opened(data).format == "JPEG"
    found = file.stat()
    assert found.st_size == len(data) < bound.st_size
    assert found.st_blocks == -(-len(data) // 512)
    # the pictures are the ones of the tree
    for picture in (mounted / SMALL / "ds6").iterdir():
        picture.read_bytes()
    assert service.image_requests == 12
    mounted.stop()
    service.close()
    mounted.start()
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("above", "view", "query"),
    [
        (ATLAS, "", "atlas_image_download"),
        (ATLAS, "NISSL/annotated", "annotation=true"),
        (SMALL, "expression", "view=expression"),
        ("dataset/100141599", "equalized", "range=0,923,0,987,0,4095"),
    ],
)
def test_views_have_sheets_of_their_own_that_are_not_listed(
    mounted, service, above, view, query
):
    directory = mounted / above / view
    assert (SHEET in os.listdir(directory)) is (not view)
    data = (directory / SHEET).read_bytes()
    assert opened(data).width >= 640
    assert all(query in target for target in service.requested)
    assert not view or (mounted / above / SHEET).read_bytes() != data


def test_crawlers_make_no_sheet_and_a_view_s_copy_has_none(mounted, tmp_path, service):
    # not by cwd=: a child that waits there may hold up this process' service
    run("find", mounted / SMALL, "-size", "+1c")
    assert service.image_requests == 0
    run("cp", "-r", mounted / SMALL / "ds6", tmp_path)
    assert SHEET not in os.listdir(tmp_path / "ds6")
    assert service.image_requests == 12


@pytest.mark.mounted(connections=1)
def test_sheets_opened_at_once_share_their_work_and_the_connections(mounted, service):
    paths = [SMALL, ATLAS, "dataset/69782969", f"{SMALL}/expression"]
    files = [mounted / path / SHEET for path in paths] * 3
    with ThreadPoolExecutor(len(files)) as pool:
        read = list(pool.map(Path.read_bytes, files))
    assert read[:4] == read[4:8] == read[8:]
    assert len(service.requested) == len(set(service.requested))
    assert service.peak_all_requests == 1


@pytest.mark.parametrize(
    ("fault", "number"),
    [(Fault.STATUS_403, errno.EACCES), (Fault.CUT_CHUNKED, errno.EIO)],
)
@pytest.mark.mounted(warnings=["WARNING"])
def test_one_failing_picture_is_the_errno_of_open_and_nothing_is_kept(
    mounted, service, fault, number
):
    file = mounted / SMALL / SHEET
    service.fail(fault, image_id=GOOD_IMAGE)
    assert errno_of_open(file) == number
    assert str(GOOD_IMAGE) in os.getxattr(file, "user.allenfs.error").decode()
    assert f"{SMALL}/{SHEET}: " in mounted.log
    assert not kept_sheets(mounted)
    assert errno_of(os.getxattr, file, "user.allenfs.url") == errno.ENODATA
    assert "drawn locally" in fails(1, "url", f"{SMALL}/{SHEET}")
    service.heal()
    assert opened(file.read_bytes()).size
    kept = {"user.allenfs.fetched", "user.allenfs.sha256"}
    assert set(os.listxattr(file)) == kept | {"user.allenfs.size_known"}
    # images stored before the failure were not requested again
    good = [one for one in asked_ids(service) if one != GOOD_IMAGE]
    assert len(good) == len(set(good)) == 10


def empty_cell(sheet: bytes, whole: bytes) -> tuple[int, int]:
    """Return the top and left of the one cell in which they differ."""
    assert opened(sheet).size == opened(whole).size
    box = ImageChops.difference(opened(whole), opened(sheet)).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert 50 < right - left < 260
    assert 50 < bottom - top < 200
    return top // 50, left


def test_a_picture_that_is_not_there_leaves_its_cell_empty(whole, tmp_path, service):
    """The cells are in section order, which is not that of the ids."""
    cells = []
    for image_id in (71663104, 71663144, 71663132):
        service.fail(Fault.STATUS_404, image_id=image_id)
        folder = tmp_path / str(image_id)
        with Mounted(folder, service.url, warnings=["HTTP 404"]) as mounted:
            cells.append(empty_cell((mounted / SMALL / SHEET).read_bytes(), whole[0]))
        service.heal()
    assert cells == sorted(set(cells))


@pytest.mark.mounted(warnings=["not a JPEG"])
def test_a_broken_picture_leaves_its_cell_empty_until_the_sheet_is_evicted(
    whole, mounted, service
):
    service.fail(Fault.NOT_A_JPEG, image_id=GOOD_IMAGE)
    file = mounted / SMALL / SHEET
    without = file.read_bytes()
    assert asked_ids(service).count(GOOD_IMAGE) == 4
    assert service.image_requests == 10 + 4
    assert empty_cell(without, whole[0])
    service.heal()
    assert file.read_bytes() == without
    assert allenfs("prefetch", "--evict", file).returncode == 0
    # what was open is let go a moment after it was closed
    until(lambda: file.stat().st_blocks == 0)
    # equal records and pictures give equal bytes and times
    assert (file.read_bytes(), file.stat().st_mtime_ns) == whole
    assert service.image_requests == 10 + 4 + 1


@pytest.mark.parametrize(
    ("fault", "number"),
    [(Fault.STATUS_404, errno.ENOENT), (Fault.NOT_A_JPEG, errno.EIO)],
)
@pytest.mark.mounted(warnings=["HTTP 404", "not a JPEG"])
def test_where_no_picture_is_there_is_no_sheet(mounted, service, fault, number):
    service.fail(fault)
    assert errno_of_open(mounted / SMALL / SHEET) == number
    assert not kept_sheets(mounted)
    service.heal()
    assert opened((mounted / SMALL / SHEET).read_bytes()).size


def test_a_reader_that_waits_for_a_sheet_dies_of_a_signal_and_the_work_goes_on(
    mounted, service
):
    service.pause()
    reader = cat(mounted / SMALL / SHEET)
    until(lambda: service.image_requests == 4)
    reader.send_signal(signal.SIGINT)
    reader.communicate(timeout=5)
    assert reader.returncode == -signal.SIGINT
    service.resume()
    until(lambda: kept_sheets(mounted))
    (mounted / SMALL / SHEET).read_bytes()
    assert service.image_requests == 11
    # an unmount waits for none
    service.pause()
    reader = cat(mounted / ATLAS / SHEET)
    until(lambda: service.image_requests > 11)
    mounted.stop()
    reader.communicate(timeout=60)
    assert reader.returncode != 0
    service.resume()


@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_a_changed_data_set_is_another_sheet(database, service, mounted):
    before = (mounted / SMALL / SHEET).read_bytes()
    service.reset_counters()
    database.change("SectionImage", FAILED_IMAGE, failed=False)
    until(lambda: (mounted / SMALL / SHEET).read_bytes() != before)
    assert asked_ids(service) == [FAILED_IMAGE]


def test_a_store_keeps_and_checks_sheets_as_images(mounted, service):
    data = (mounted / SMALL / SHEET).read_bytes()
    (kept,) = kept_sheets(mounted)
    assert kept.read_bytes().startswith(data)
    store = ["--cache-dir", str(mounted.cache_dir)]
    flipped = bytearray(kept.read_bytes())
    flipped[1000] ^= 1
    kept.write_bytes(flipped)
    done = allenfs("cache", "verify", *store)
    assert done.returncode == 1
    assert "12 images checked, 1 damaged and removed" in done.stdout
    assert (mounted / SMALL / SHEET).read_bytes() == data
    assert service.image_requests == 11


@pytest.mark.mounted(capacity_bytes=100 * 1024)
def test_without_room_in_the_store_a_sheet_costs_each_picture_once(mounted, service):
    assert opened((mounted / SMALL / SHEET).read_bytes()).size
    assert service.image_requests == 11


@pytest.mark.mounted(max_image_bytes=40_000, warnings=["more than"])
def test_a_sheet_above_the_limit_is_efbig(mounted):
    assert (mounted / SMALL / SHEET).stat().st_size == 40_000
    assert errno_of_open(mounted / SMALL / SHEET) == errno.EFBIG
    assert not kept_sheets(mounted)
