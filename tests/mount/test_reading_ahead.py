"""Reading a listing file by file through a mount: what the service is asked, when."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import cat, run
from mounted import Mounted, image_bytes, until

from allenfs.sample.server import Fault, SampleService

DATA_SET = "dataset/72109410/ds6"
LISTINGS = [
    DATA_SET,
    "dataset/72109410/expression/ds7",
    "dataset/71670687/ds6",
    "browse/atlas/2/ds6",
    "browse/atlas/2/NISSL/ds6",
    "browse/atlas/2/annotated/ds6",
]


def images(folder: Path) -> list[Path]:
    return [folder / name for name in os.listdir(folder) if name.endswith(".jpg")]


def quiet(service: SampleService) -> int:
    """Return the number of image requests once no more come."""
    count = -1
    while count != service.image_requests:
        count = service.image_requests
        time.sleep(0.3)  # that nothing comes has no event
    return count


def test_a_copied_data_set_is_asked_for_once_each_and_is_byte_for_byte_right(
    mounted: Mounted, tmp_path: Path, service: SampleService
) -> None:
    run("cp", "-r", mounted / DATA_SET, tmp_path / "out")
    assert service.image_requests == 60
    assert service.connections <= 4
    assert 2 <= service.peak_all_requests <= 4
    names = os.listdir(tmp_path / "out")
    assert len(names) == 60
    for name in names:
        number = name.removesuffix(".jpg").partition("_")[2]
        path = f"section/{number}/ds6/image.jpg"
        assert (tmp_path / "out" / name).read_bytes() == image_bytes(service.url, path)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("listing", LISTINGS)
def test_two_files_in_order_bring_the_next_ones_of_every_listing(
    mounted: Mounted, service: SampleService, listing: str, backwards: bool
) -> None:
    files = images(mounted / listing)
    if backwards:
        files.reverse()
    assert len(files) >= 4
    for file in files[:2]:
        file.read_bytes()
    until(lambda: service.image_requests == 4)
    until(lambda: len(mounted.stored) == 4)
    service.close()  # what was fetched ahead needs no service any more
    for file in files[2:4]:
        assert file.read_bytes().startswith(b"\xff\xd8")


def test_scattered_images_cost_only_themselves(
    mounted: Mounted, service: SampleService
) -> None:
    files = images(mounted / DATA_SET)
    for place in (30, 5, 50, 17, 2, 41, 59, 0):
        files[place].read_bytes()
    assert quiet(service) == 8


def test_two_neighbours_opened_at_the_same_time_bring_two_more(
    mounted: Mounted, service: SampleService
) -> None:
    """A cold file is opened twice: the second time is no step back."""
    files = images(mounted / DATA_SET)
    readers = [cat(file) for file in files[20:22]]
    assert all(reader.communicate()[0] for reader in readers)
    until(lambda: service.image_requests >= 4)
    assert quiet(service) == 4


def test_a_views_files_are_no_listing_of_neighbours(
    mounted: Mounted, service: SampleService
) -> None:
    """Two views of one image: the others may not even exist."""
    for name in ("image.jpg", "expression.jpg"):
        (mounted / "section/69750516/ds6" / name).read_bytes()
    assert quiet(service) == 2


def test_an_open_does_not_wait_behind_what_is_fetched_ahead(
    mounted: Mounted, service: SampleService
) -> None:
    files = images(mounted / DATA_SET)
    for place in (0, 1, 2):
        files[place].read_bytes()
    until(lambda: len(mounted.stored) == 7)
    service.pause()
    try:
        files[3].read_bytes()  # is here, and the next ones are asked for
        until(lambda: service.image_requests == 10)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(files[40].read_bytes)
            number = files[40].stem.partition("_")[2]
            wanted = f"/api/v2/image_download/{number}?downsample=6"
            until(lambda: wanted in service.requested)
            service.resume()
            assert waiting.result(60).startswith(b"\xff\xd8")
    finally:
        service.resume()
    assert service.peak_requests <= 4


@pytest.mark.parametrize("fault", [Fault.STATUS_429, Fault.STATUS_503])
@pytest.mark.mounted(failure_memory_s=10, first_backoff_s=0.01)
def test_the_first_429_or_5xx_ends_reading_ahead_and_nobody_notices(
    mounted: Mounted, service: SampleService, fault: Fault
) -> None:
    files = images(mounted / DATA_SET)
    failing = int(files[3].stem.partition("_")[2])
    service.fail(fault, image_id=failing, times=1)
    for file in files[:2]:
        file.read_bytes()
    until(lambda: service.image_requests == 4)
    until(lambda: len(mounted.stored) == 3)
    asked = quiet(service)
    for file in files[2:6]:
        assert file.read_bytes().startswith(b"\xff\xd8")
    # itself, again; and the two behind it, which nobody has fetched ahead
    until(lambda: service.image_requests >= asked + 3)
    assert quiet(service) == asked + 3
    assert "not read ahead" in mounted.log


def test_an_unmount_ends_what_is_fetched_ahead(
    mounted: Mounted, service: SampleService
) -> None:
    files = images(mounted / DATA_SET)
    for file in files[:2]:
        file.read_bytes()
    service.pause()
    files[2].read_bytes()
    until(lambda: service.image_requests > 4)
    mounted.stop()
    service.resume()
