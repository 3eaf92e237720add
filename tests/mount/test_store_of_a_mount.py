"""Promises 6 and 7 seen through mounts: requests are few, the store never lies."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import cat, run
from hostile_service import JPEG, MB, HostileService, head
from mounted import Mounted, errno_of_open, image_bytes, until

from allenfs import config
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds4/image.jpg"


def _paths(count):
    return [f"section/69750516/ds4/q{n}/image.jpg" for n in range(count)]


@pytest.mark.mounted(warnings=["unused"])
def test_stored_images_open_after_a_restart_without_the_service(mounted, service):
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    service.close()
    mounted.start()
    assert (mounted / PATH).read_bytes() == expected


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DRIP_BODY])
def test_kill_9_during_a_download_leaves_no_part_of_an_image(mounted, service, fault):
    service.fail(fault)
    reader = cat(mounted / PATH)
    until(lambda: service.image_requests > 0)
    if fault is Fault.DRIP_BODY:
        until(lambda: mounted.status["downloads"][0]["bytes"] > 100)
    mounted.kill()
    assert reader.communicate()[0] == b""
    service.heal()
    mounted.start()
    assert mounted.stored == []
    assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
    until(lambda: not os.listdir(mounted.cache_dir / "incoming"))


def test_two_services_in_one_store_are_kept_apart(mounted, tmp_path, service):
    settings = {"cache_dir": mounted.cache_dir, "warnings": [PATH]}
    with (
        SampleService() as other,
        Mounted(tmp_path / "b", other.url, **settings) as second,
    ):
        other.fail(Fault.STATUS_404)
        (mounted / PATH).read_bytes()
        assert errno_of_open(second / PATH) == errno.ENOENT
        assert os.listdir(second / "section") == []
        assert other.image_requests == 1
    assert config.service_name(service.url) in str(mounted.stored[0])


def test_sixteen_simultaneous_readers_make_one_request(mounted, service):
    """A polite one."""
    together = threading.Barrier(16)

    def read(file):
        together.wait()
        return file.read_bytes()

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(read, [mounted / PATH] * 16))
    (headers,) = service.headers
    assert headers["User-Agent"].startswith("allenfs/")
    assert headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in headers
    assert answers == {image_bytes(service.url, PATH)}


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.service(latency_s=0.05, query_latency_s=0.02)
def test_no_more_requests_at_a_time_than_connections(tmp_path, service, connections):
    """Of images; and of images and queries together."""
    with (
        Mounted(tmp_path, service.url, connections=connections) as mounted,
        ThreadPoolExecutor(12) as pool,
    ):
        files = [mounted / path for path in _paths(24)]
        list(pool.map(Path.read_bytes, files))
        assert service.image_requests == len(files)
        assert service.peak_requests == connections
        assert service.connections <= connections  # they are used again
        products = [*(mounted / "browse/product").iterdir()]
        folders = [product / "dataset" for product in products]
        list(pool.map(lambda folder: [*folder.iterdir()], folders))
        data_sets = ("70813257", "71670687", "69782969", "100141599", "479")
        pairs = [(mounted / f"dataset/{one}/ds7", tmp_path / one) for one in data_sets]
        list(pool.map(lambda pair: run("cp", "-r", *pair), pairs))
        assert 1 <= service.peak_all_requests <= connections


PIECE, PIECES = bytes(range(200)) * 500, 1000


def large_image(_):
    """Say a JPEG of 100 MB."""
    size = f"Content-Length: {len(JPEG) + len(PIECE) * PIECES}"
    yield head("200 OK", "Content-Type: image/jpeg", size)
    yield JPEG[:-2]
    yield from [PIECE] * PIECES
    yield JPEG[-2:]


def test_a_100_mb_image_is_fetched_and_read_in_less_than_120_mb(tmp_path):
    """It goes to disk and to its reader, and not through memory as a whole."""
    with HostileService() as service, Mounted(tmp_path, service.url) as mounted:
        service.image = large_image
        with (mounted / PATH).open("rb") as file:
            assert file.read(len(JPEG) - 2) == JPEG[:-2]
            assert {file.read(len(PIECE)) for _ in range(PIECES)} == {PIECE}
            assert file.read() == JPEG[-2:]
        status = Path(f"/proc/{mounted.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        assert int(fields["VmHWM"].split()[0]) * 1024 < 120 * MB
