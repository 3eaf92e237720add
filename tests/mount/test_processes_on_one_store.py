"""Promise 6 among processes: mounts and commands on one store ask as one would."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from mounted import STRICT_PYTHON, Mounted, image_bytes, until

from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.one_libfuse

PATHS = [f"section/69750516/ds6/q{n}/image.jpg" for n in range(24)]


@pytest.fixture
def slow() -> Iterator[SampleService]:
    with SampleService(latency_s=0.05) as service:
        yield service


def mounts(
    folder: Path, api_url: str, warnings: tuple[str, ...] = ()
) -> tuple[Mounted, Mounted]:
    def mount(name: str) -> Mounted:
        store = folder / "store"
        return Mounted(folder / name, api_url, cache_dir=store, warnings=warnings)

    return mount("a"), mount("b")


def prefetch(folder: Path, api_url: str, *paths: str) -> subprocess.Popen[bytes]:
    flags = ["--api-url", api_url, "--cache-dir", str(folder / "store")]
    return subprocess.Popen(
        [*STRICT_PYTHON, "-m", "allenfs", "prefetch", *flags, *paths],
        stderr=subprocess.PIPE,
    )


def waiting(mounted: Mounted) -> int:
    status = json.loads((mounted / ".allenfs/status.json").read_text())
    return int(status["service"]["waiting"])


def cat(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["cat", path], stdout=subprocess.PIPE)


def test_two_mounts_and_a_prefetch_make_four_requests_at_a_time(
    tmp_path: Path, slow: SampleService
) -> None:
    """And of each image one, although all three want all of them."""
    one, two = mounts(tmp_path, slow.url)
    with one, two, ThreadPoolExecutor(16) as pool:
        fetching = prefetch(tmp_path, slow.url, *PATHS)
        files = [mounted / path for path in PATHS for mounted in (one, two)]
        images = list(pool.map(lambda file: file.read_bytes(), files))
        _, said = fetching.communicate()
        assert fetching.returncode == 0, said
        assert slow.peak_all_requests == 4
        assert slow.image_requests == len(PATHS)
        assert images[::2] == images[1::2]
        assert images[::2] == [image_bytes(slow.url, path) for path in PATHS]


def test_two_mounts_that_want_one_image_at_once_make_one_request(
    tmp_path: Path, slow: SampleService
) -> None:
    together = threading.Barrier(2)

    def read(mounted: Mounted) -> list[bytes]:
        images = []
        for path in PATHS:
            together.wait()
            images.append((mounted / path).read_bytes())
        return images

    one, two = mounts(tmp_path, slow.url)
    with one, two, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(read, (one, two))
        assert first == second
        assert slow.image_requests == len(PATHS)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped_leaves_its_images_to_the_others(
    tmp_path: Path, service: SampleService, end: signal.Signals
) -> None:
    """It uses every slot, and a reader waits for one of its images."""
    expected = [image_bytes(service.url, path) for path in PATHS[:5]]
    service.reset_counters()
    service.fail(Fault.SILENT)
    one, _ = mounts(tmp_path, service.url)
    with one:
        fetching = prefetch(tmp_path, service.url, *PATHS[:4])
        until(lambda: service.image_requests == 4)
        readers = [cat(one / path) for path in PATHS[:5]]
        until(lambda: waiting(one) == 1)  # for a slot; the others for their images
        assert service.image_requests == 4
        interrupted = readers.pop()
        interrupted.send_signal(signal.SIGINT)
        interrupted.communicate()
        assert interrupted.returncode == -signal.SIGINT
        service.heal()
        fetching.send_signal(end)
        assert [reader.communicate()[0] for reader in readers] == expected[:4]
        assert (one / PATHS[4]).read_bytes() == expected[4]
        fetching.kill()
        fetching.communicate()
    assert service.image_requests == 9


def test_what_failed_in_one_mount_is_asked_again_by_the_other(
    tmp_path: Path, service: SampleService
) -> None:
    one, two = mounts(tmp_path, service.url, warnings=("404",))
    service.fail(Fault.STATUS_404)
    with one, two:
        for count, mounted in enumerate((one, two), 1):
            with pytest.raises(FileNotFoundError):
                (mounted / PATHS[0]).read_bytes()
            assert service.image_requests == count
        service.heal()
        assert (two / PATHS[0]).read_bytes() == (one / PATHS[0]).read_bytes()
        assert service.image_requests == 3
