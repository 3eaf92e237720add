"""Promise 6 among processes: mounts and commands on one store ask as one would."""

from __future__ import annotations

import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import cat
from mounted import STRICT_PYTHON, Mounted, image_bytes, until

from allenfs.sample.faults import Fault

pytestmark = [pytest.mark.one_libfuse, pytest.mark.mounted(warnings=["404"])]

PATHS = [f"section/69750516/ds6/q{n}/image.jpg" for n in range(24)]
slow = pytest.mark.service(latency_s=0.05)


@pytest.fixture
def other(mounted, tmp_path, service):
    """Another mount on the store of the first."""
    store = {"cache_dir": mounted.cache_dir, "warnings": ["404"]}
    with Mounted(tmp_path / "other", service.url, **store) as other:
        yield other


def prefetch(mounted, api_url, paths):
    flags = ["--api-url", api_url, "--cache-dir", mounted.cache_dir]
    return subprocess.Popen(
        [*STRICT_PYTHON, "-m", "allenfs", "prefetch", *flags, *paths],
        stderr=subprocess.PIPE,
    )


@slow
def test_two_mounts_and_a_prefetch_make_four_requests_at_a_time(
    mounted, other, service
):
    """And of each image one, although all three want all of them."""
    fetching = prefetch(mounted, service.url, PATHS)
    files = [mount / path for path in PATHS for mount in (mounted, other)]
    with ThreadPoolExecutor(16) as pool:
        images = list(pool.map(lambda file: file.read_bytes(), files))
    _, stderr = fetching.communicate()
    assert fetching.returncode == 0, stderr
    assert service.peak_all_requests == 4
    assert service.image_requests == len(PATHS)
    assert images[::2] == images[1::2]
    assert images[::2] == [image_bytes(service.url, path) for path in PATHS]


@slow
def test_two_mounts_that_want_one_image_at_once_make_one_request(
    mounted, other, service
):
    together = threading.Barrier(2)

    def read(mount):
        images = []
        for path in PATHS:
            together.wait()
            images.append((mount / path).read_bytes())
        return images

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(read, (mounted, other))
    assert first == second
    assert service.image_requests == len(PATHS)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped_leaves_its_images_to_the_others(
    mounted, service, end
):
    """It uses every slot, and a reader waits for one of its images."""
    expected = [image_bytes(service.url, path) for path in PATHS[:5]]
    service.reset_counters()
    service.fail(Fault.SILENT)
    fetching = prefetch(mounted, service.url, PATHS[:4])
    until(lambda: service.image_requests == 4)
    readers = [cat(mounted / path) for path in PATHS[:5]]
    # for a slot; the others for their images
    until(lambda: mounted.status["service"]["waiting"] == 1)
    assert service.image_requests == 4
    interrupted = readers.pop()
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate()
    assert interrupted.returncode == -signal.SIGINT
    service.heal()
    fetching.send_signal(end)
    assert [reader.communicate()[0] for reader in readers] == expected[:4]
    assert (mounted / PATHS[4]).read_bytes() == expected[4]
    fetching.kill()
    fetching.communicate()
    assert service.image_requests == 9


def test_a_failure_in_one_mount_is_requested_again_by_the_other(
    mounted, other, service
):
    service.fail(Fault.STATUS_404)
    for count, mount in enumerate((mounted, other), 1):
        with pytest.raises(FileNotFoundError):
            (mount / PATHS[0]).read_bytes()
        assert service.image_requests == count
    service.heal()
    assert (other / PATHS[0]).read_bytes() == (mounted / PATHS[0]).read_bytes()
    assert service.image_requests == 3
