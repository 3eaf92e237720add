"""Contact sheets of a mount: one request a picture, all or nothing, kept."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from command import allenfs, fails
from mounted import Mounted, errno_of_open, image_bytes, until
from PIL import Image, ImageChops
from worlds import started_service

from allenfs.sample.content import sample_database
from allenfs.sample.server import Fault, SampleService

pytestmark = pytest.mark.one_libfuse

SHEET = "contact_sheet.jpg"
DATA_SET = "dataset/72109410"  # 60 sections
SMALL = "dataset/71670687"  # 12, one of them marked as failed
FAILED_IMAGE = 71663128
ATLAS = "browse/atlas/2"
PATIENCE_S = 60
_STEP = 12  # of the pixels that are compared


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def place_of(sheet: Image.Image, thumbnail: Image.Image) -> tuple[int, int]:
    """Return where a sheet has this picture, at its own size: top and left."""
    page = np.asarray(sheet.convert("RGB"), np.int16)
    wanted = np.asarray(thumbnail.convert("RGB"), np.int16)
    tops, lefts = sheet.height - thumbnail.height, sheet.width - thumbnail.width
    points = [
        (y, x)
        for y in range(0, thumbnail.height, _STEP)
        for x in range(0, thumbnail.width, _STEP)
    ]
    distance = np.zeros((tops, lefts))
    for y, x in points:
        part = page[y : y + tops, x : x + lefts]
        distance += np.abs(part - wanted[y, x]).mean(axis=2)
    assert distance.min() / len(points) < 4  # JPEG twice
    top, left = np.unravel_index(distance.argmin(), distance.shape)
    return int(top), int(left)


def kept_sheets(mounted: Mounted) -> list[Path]:
    return [path for path in mounted.stored if path.parts[-3] == "sheet"]


def asked_ids(service: SampleService) -> list[int]:
    targets = [target.partition("?") for target in service.requested]
    assert all("downsample=6" in query for _, _, query in targets)
    return [int(path.rpartition("/")[2]) for path, _, _ in targets]


def test_a_sheet_is_made_at_the_first_open_of_one_request_a_picture(
    mounted: Mounted, service: SampleService
) -> None:
    assert SHEET in os.listdir(mounted / DATA_SET)
    bound = (mounted / DATA_SET / SHEET).stat()
    assert bound.st_blocks == 0
    assert service.image_requests == 0
    data = (mounted / DATA_SET / SHEET).read_bytes()
    assert len(data) < bound.st_size
    assert len(asked_ids(service)) == len(set(asked_ids(service))) == 60
    assert 2 <= service.peak_all_requests <= 4
    sheet = opened(data)
    assert sheet.format == "JPEG"
    found = (mounted / DATA_SET / SHEET).stat()
    assert found.st_size == len(data)
    assert found.st_blocks == -(-len(data) // 512)
    # the pictures are the ones of the tree
    for name in sorted(os.listdir(mounted / DATA_SET / "ds6")):
        (mounted / DATA_SET / "ds6" / name).read_bytes()
    assert service.image_requests == 60
    service.close()
    try:
        mounted.stop()
        mounted.start()
        assert (mounted / DATA_SET / SHEET).read_bytes() == data
    finally:
        service.start()


def test_a_sheet_shows_its_pictures_in_section_order(
    mounted: Mounted, service: SampleService
) -> None:
    sheet = opened((mounted / "dataset/69782969" / SHEET).read_bytes())
    places = []
    for name in sorted(os.listdir(mounted / "dataset/69782969/ds6")):
        number = name.partition("_")[2].removesuffix(".jpg")
        path = f"section/{number}/ds6/image.jpg"
        places.append(place_of(sheet, opened(image_bytes(service.url, path))))
    rows = [(round(top / 50), left) for top, left in places]
    assert rows == sorted(set(rows))
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("directory", "query"),
    [
        (ATLAS, "atlas_image_download"),
        (f"{ATLAS}/NISSL/annotated", "annotation=true"),
        (f"{SMALL}/expression", "view=expression"),
        ("dataset/100141599/equalized", "range=0,923,0,987,0,4095"),
    ],
)
def test_views_have_sheets_of_their_own_that_are_not_listed(
    mounted: Mounted, service: SampleService, directory: str, query: str
) -> None:
    listed = os.listdir(mounted / directory)
    assert (SHEET in listed) is (directory == ATLAS)
    data = (mounted / directory / SHEET).read_bytes()
    assert opened(data).width >= 640
    assert all(query in target for target in service.requested)
    top = directory.partition("/NISSL")[0].partition("/expression")[0]
    top = top.partition("/equalized")[0]
    if top != directory:
        assert (mounted / top / SHEET).read_bytes() != data


def test_equal_records_and_pictures_give_equal_bytes(
    tmp_path: Path, service: SampleService
) -> None:
    found = []
    for name in ("one", "two"):
        with Mounted(tmp_path / name, service.url) as mounted:
            file = mounted / SMALL / SHEET
            found.append((file.read_bytes(), file.stat().st_mtime_ns))
    assert found[0] == found[1]


def test_what_is_marked_as_failed_is_not_asked_for(
    mounted: Mounted, service: SampleService
) -> None:
    (mounted / SMALL / SHEET).read_bytes()
    assert len(asked_ids(service)) == 11
    assert FAILED_IMAGE not in asked_ids(service)


def test_crawlers_make_no_sheet_and_a_view_s_copy_has_none(
    mounted: Mounted, tmp_path: Path, service: SampleService
) -> None:
    for crawler in (["ls", "-lR"], ["find", "-size", "+1c"], ["du", "-a"]):
        program, *words = crawler
        # not by cwd=: a child that waits there may hold up this process' service
        subprocess.run(
            [program, mounted / SMALL, *words], check=True, stdout=subprocess.DEVNULL
        )
    assert service.image_requests == 0
    subprocess.run(["cp", "-r", mounted / SMALL / "ds6", tmp_path], check=True)
    assert SHEET not in os.listdir(tmp_path / "ds6")
    assert service.image_requests == 12


@pytest.mark.parametrize("connections", [1, 4])
def test_sheets_opened_at_once_share_their_work_and_the_connections(
    tmp_path: Path, service: SampleService, connections: int
) -> None:
    paths = [SMALL, ATLAS, "dataset/69782969", f"{SMALL}/expression"]
    with Mounted(tmp_path, service.url, connections=connections) as mounted:
        files = [mounted / path / SHEET for path in paths] * 3
        with ThreadPoolExecutor(len(files)) as pool:
            read = list(pool.map(lambda file: file.read_bytes(), files))
        assert read[:4] == read[4:8] == read[8:]
        assert len(service.requested) == len(set(service.requested))
        assert service.peak_all_requests <= connections


FAULTS = {
    Fault.STATUS_400: errno.EINVAL,
    Fault.STATUS_403: errno.EACCES,
    Fault.STATUS_503: errno.EIO,
    Fault.CUT_CHUNKED: errno.EIO,
    Fault.HTML_200: errno.EIO,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.mounted(warnings=["WARNING"])
def test_one_failing_picture_is_the_errno_of_open_and_nothing_is_kept(
    mounted: Mounted, service: SampleService, fault: Fault
) -> None:
    file = mounted / SMALL / SHEET
    service.fail(fault, image_id=71663120)
    assert errno_of_open(file) == FAULTS[fault]
    said = os.getxattr(file, "user.allenfs.error").decode()
    assert "71663120" in said
    assert f"{SMALL}/{SHEET}: " in mounted.log
    assert not kept_sheets(mounted)
    with pytest.raises(OSError) as raised:
        os.getxattr(file, "user.allenfs.url")
    assert raised.value.errno == errno.ENODATA
    service.heal()
    assert opened(file.read_bytes()).size
    kept = {"user.allenfs.fetched", "user.allenfs.sha256"}
    assert set(os.listxattr(file)) == kept | {"user.allenfs.size_known"}
    # what was here before the failure was not asked again
    good = [one for one in asked_ids(service) if one != 71663120]
    assert len(good) == len(set(good)) == 10


def test_an_unreachable_service_is_ehostunreach_and_then_a_sheet(
    tmp_path: Path,
) -> None:
    with (
        contextlib.closing(started_service()) as service,
        Mounted(tmp_path, service.url, warnings=["WARNING"]) as mounted,
    ):
        os.listdir(mounted / SMALL)
        service.close()
        assert errno_of_open(mounted / SMALL / SHEET) == errno.EHOSTUNREACH
        service.start()
        assert opened((mounted / SMALL / SHEET).read_bytes()).size


def test_a_picture_that_is_not_there_leaves_its_cell_empty(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        whole = (mounted / SMALL / SHEET).read_bytes()
    with Mounted(tmp_path / "b", service.url, warnings=["HTTP 404"]) as mounted:
        service.fail(Fault.STATUS_404, image_id=71663120)
        without = (mounted / SMALL / SHEET).read_bytes()
        assert opened(without).size == opened(whole).size
        box = ImageChops.difference(opened(whole), opened(without)).getbbox()
        assert box is not None
        assert 50 < box[2] - box[0] < 260  # one cell, and no more of the sheet
        assert 50 < box[3] - box[1] < 200


def test_a_broken_picture_leaves_its_cell_empty_until_the_sheet_is_evicted(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        whole = (mounted / SMALL / SHEET).read_bytes()
    with Mounted(tmp_path / "b", service.url, warnings=["not a JPEG"]) as mounted:
        service.reset_counters()
        service.fail(Fault.NOT_A_JPEG, image_id=71663120)
        file = mounted / SMALL / SHEET
        without = file.read_bytes()
        assert asked_ids(service).count(71663120) == 4
        assert service.image_requests == 10 + 4
        assert opened(without).size == opened(whole).size
        box = ImageChops.difference(opened(whole), opened(without)).getbbox()
        assert box is not None
        assert 50 < box[2] - box[0] < 260  # one cell, and no more of the sheet
        assert 50 < box[3] - box[1] < 200
        service.heal()
        assert file.read_bytes() == without
        assert allenfs("prefetch", "--evict", file).returncode == 0
        # what was open is let go a moment after it was closed
        until(lambda: file.stat().st_blocks == 0)
        assert file.read_bytes() == whole
        assert service.image_requests == 10 + 4 + 1


@pytest.mark.parametrize(
    ("fault", "number"),
    [(Fault.STATUS_404, errno.ENOENT), (Fault.NOT_A_JPEG, errno.EIO)],
)
@pytest.mark.mounted(warnings=["HTTP 404", "not a JPEG"])
def test_where_no_picture_is_there_is_no_sheet(
    mounted: Mounted, service: SampleService, fault: Fault, number: int
) -> None:
    service.fail(fault)
    assert errno_of_open(mounted / SMALL / SHEET) == number
    assert not kept_sheets(mounted)
    service.heal()
    assert opened((mounted / SMALL / SHEET).read_bytes()).size


def test_who_waits_for_a_sheet_dies_of_a_signal_and_the_work_goes_on(
    mounted: Mounted, service: SampleService
) -> None:
    service.pause()
    try:
        reader = subprocess.Popen(["cat", mounted / SMALL / SHEET])
        until(lambda: service.image_requests == 4)
        reader.send_signal(signal.SIGINT)
        assert reader.wait(5) == -signal.SIGINT
    finally:
        service.resume()
    until(lambda: kept_sheets(mounted))
    (mounted / SMALL / SHEET).read_bytes()
    assert service.image_requests == 11


def test_an_unmount_waits_for_no_sheet(
    mounted: Mounted, service: SampleService
) -> None:
    service.pause()
    reader = subprocess.Popen(
        ["cat", mounted / SMALL / SHEET], stderr=subprocess.DEVNULL
    )
    until(lambda: service.image_requests == 4)
    mounted.stop()
    assert reader.wait(PATIENCE_S) != 0
    service.resume()


def test_a_changed_data_set_is_another_sheet(tmp_path: Path) -> None:
    with SampleService() as first:
        with Mounted(tmp_path, first.url, catalog_ttl_s=0.001) as mounted:
            before = (mounted / SMALL / SHEET).read_bytes()
            port = int(first.url.rpartition(":")[2])
            first.close()
            database = sample_database()
            database.change("SectionImage", FAILED_IMAGE, failed=False)
            with SampleService(port=port, database=database) as second:
                until(lambda: (mounted / SMALL / SHEET).read_bytes() != before)
                assert asked_ids(second) == [FAILED_IMAGE]


def test_a_store_keeps_checks_and_evicts_sheets_as_images(
    mounted: Mounted, service: SampleService
) -> None:
    data = (mounted / SMALL / SHEET).read_bytes()
    (kept,) = kept_sheets(mounted)
    assert kept.read_bytes().startswith(data)
    store = ["--cache-dir", str(mounted.cache_dir)]
    told = allenfs("cache", "info", *store).stdout
    assert "12 images" in told
    flipped = bytearray(kept.read_bytes())
    flipped[1000] ^= 1
    kept.write_bytes(flipped)
    done = allenfs("cache", "verify", *store)
    assert done.returncode == 1
    assert "12 images checked, 1 damaged and removed" in done.stdout
    assert (mounted / SMALL / SHEET).read_bytes() == data
    assert service.image_requests == 11
    assert "12 images removed" in allenfs("cache", "clear", *store).stdout
    assert mounted.stored == []


@pytest.mark.mounted(capacity_bytes=100 * 1024)
def test_without_room_in_the_store_a_sheet_costs_each_picture_once(
    mounted: Mounted, service: SampleService
) -> None:
    assert opened((mounted / SMALL / SHEET).read_bytes()).size
    assert service.image_requests == 11


@pytest.mark.mounted(max_image_bytes=40_000, warnings=["more than"])
def test_a_sheet_above_the_limit_is_efbig(mounted: Mounted) -> None:
    assert (mounted / SMALL / SHEET).stat().st_size == 40_000
    assert errno_of_open(mounted / SMALL / SHEET) == errno.EFBIG
    assert not kept_sheets(mounted)


def test_a_sheet_is_no_neighbour_in_a_listing(
    mounted: Mounted, service: SampleService
) -> None:
    """Reading it fetches nothing ahead, nor do its pictures."""
    (mounted / SMALL / SHEET).read_bytes()
    quiet = threading.Event()
    quiet.wait(0.5)  # that nothing comes has no event
    assert service.image_requests == 11


def test_a_sheet_has_no_url(tmp_path: Path) -> None:
    assert "drawn locally" in fails(1, "url", f"{SMALL}/{SHEET}")


def test_a_process_that_draws_none_does_not_load_what_draws(mounted: Mounted) -> None:
    (mounted / SMALL / "ds6").stat()

    def has_drawing() -> bool:
        maps = f"/proc/{mounted.pid}/maps"
        with open(maps) as opened_maps:
            return "_imaging" in opened_maps.read()

    assert not has_drawing()
    (mounted / SMALL / SHEET).read_bytes()
    assert has_drawing()


@pytest.mark.parametrize("count", [1, 2600])
def test_a_data_set_of_any_size_makes_a_bounded_sheet(
    tmp_path: Path, count: int
) -> None:
    database = sample_database()
    database.add("SectionDataSet", id=4711, failed=False)
    failed = database.get("SectionImage", FAILED_IMAGE)
    assert failed is not None
    for number in range(count - 1):
        own = {"id": 800_000_000 + number, "section_number": number}
        database.add("SectionImage", **failed.row | own | {"data_set_id": 4711})
    database.change("SectionImage", 71663120, data_set_id=4711)
    with SampleService(database=database) as service:
        with Mounted(tmp_path, service.url) as mounted:
            sheet = opened((mounted / "dataset/4711" / SHEET).read_bytes())
            assert service.image_requests == 1
    assert sheet.width * sheet.height <= 24_000_000
