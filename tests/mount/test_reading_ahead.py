"""Reading a listing file by file through a mount: which requests are made, and when."""

from __future__ import annotations

import os
import time

import pytest
from command import cat, mounting, run
from mounted import image_bytes, until

DATA_SET = "dataset/72109410/ds6"


def images(folder):
    return [folder / name for name in os.listdir(folder) if name.endswith(".jpg")]


def quiet(service):
    """Return the number of image requests once no more come."""
    count = -1
    while count != service.image_requests:
        count = service.image_requests
        time.sleep(0.3)  # that nothing comes has no event
    return count


@pytest.mark.service(latency_s=0.02)
def test_a_copied_data_set_is_asked_for_once_each_and_is_byte_for_byte_right(
    mounted, tmp_path, service
):
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


@pytest.mark.parametrize(
    ("listing", "backwards"),
    [
        (DATA_SET, False),
        (DATA_SET, True),
        ("dataset/72109410/expression/ds7", False),
        ("browse/atlas/2/NISSL/ds6", False),
        ("browse/atlas/2/annotated/ds6", True),
    ],
)
def test_two_files_in_order_start_read_ahead_in_every_listing(
    mounted, service, listing, backwards
):
    files = images(mounted / listing)
    if backwards:
        files.reverse()
    for file in files[:2]:
        file.read_bytes()
    until(lambda: service.image_requests == 4)
    until(lambda: len(mounted.stored) == 4)
    service.close()  # what was fetched ahead needs no service any more
    for file in files[2:4]:
        assert file.read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize("ahead", [0, 1])
def test_as_many_images_are_read_ahead_as_the_flag_allows(root, service, ahead):
    with mounting(root, "--api-url", service.url, "--readahead", str(ahead)):
        for file in images(root / DATA_SET)[:3]:
            file.read_bytes()
        until(lambda: service.image_requests == 3 + ahead)
        assert quiet(service) == 3 + ahead


def test_scattered_images_cost_only_themselves(mounted, service):
    """And the views of one image: the others may not even exist."""
    files = images(mounted / DATA_SET)
    for place in (30, 5, 50, 17, 2, 41, 59, 0):
        files[place].read_bytes()
    for name in ("image.jpg", "expression.jpg"):
        (mounted / "section/69750516/ds6" / name).read_bytes()
    assert quiet(service) == 8 + 2


def test_two_neighbours_opened_at_the_same_time_download_two_more(mounted, service):
    """A cold file is opened twice: the second time is no step back."""
    files = images(mounted / DATA_SET)
    readers = [cat(file) for file in files[20:22]]
    assert all(reader.communicate()[0] for reader in readers)
    until(lambda: service.image_requests >= 4)
    assert quiet(service) == 4


def test_an_unmount_ends_what_is_fetched_ahead(mounted, service):
    files = images(mounted / DATA_SET)
    for file in files[:2]:
        file.read_bytes()
    until(lambda: len(mounted.stored) == 4)
    service.pause()
    files[2].read_bytes()
    until(lambda: service.image_requests > 4)
    mounted.stop()
    service.resume()
