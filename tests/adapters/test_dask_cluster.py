"""dask on one machine: workers that share a store ask the service as one would."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal

import dask
import fsspec
import pytest
from distributed import Client, LocalCluster
from mounted import image_bytes, until
from PIL import Image

from allenfs.sample.server import SampleService

pytestmark = pytest.mark.service(latency_s=0.02)

# 100 of each of two sections, drawn in 5 ms
PATHS = [
    f"section/{section}/ds8/q{n}/image.jpg"
    for section in (69750516, 102146167)
    for n in range(100)
]
WORKERS = 4


def digest(data: bytes) -> tuple[str, tuple[int, int]]:
    """Return the SHA-256 of an image, and its size after decoding all of it."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return hashlib.sha256(data).hexdigest(), image.size


def look(path: str, options: dict[str, str]) -> tuple[str, tuple[int, int]]:
    with fsspec.open(f"allen://{path}", **options) as file:
        return digest(file.read())


def look_at_all(
    paths: list[str], options: dict[str, str]
) -> list[tuple[str, tuple[int, int]]]:
    return [look(path, options) for path in paths]


@contextlib.contextmanager
def cluster(folder, threads):
    """Four worker processes, on free ports of loopback."""
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=threads,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # None is port 8787
            local_directory=str(folder / "dask"),
        ) as workers,
        Client(workers) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def expected():
    """What the service itself answers for each path."""
    with SampleService() as running:
        return [digest(image_bytes(running.url, path)) for path in PATHS]


def test_workers_download_each_image_once_four_at_a_time(
    tmp_path, service, options, expected
):
    """First each worker wants the same, in another order; then they share the work."""
    some = PATHS[:60]
    with cluster(tmp_path, threads=2) as client:
        orders = [some, some[::-1], some[20:] + some[:20], some[40:] + some[:40]]
        seen = [client.submit(look_at_all, order, options) for order in orders]
        truth = dict(zip(PATHS, expected, strict=True))
        assert client.gather(seen) == [[truth[one] for one in each] for each in orders]
        assert service.image_requests == len(some)
        assert client.gather(client.map(look, PATHS, options=options)) == expected
        assert service.image_requests == len(PATHS)
        # neighbours, in order: no worker reads ahead beyond its part
        part = fsspec.filesystem("allen", **options).glob("dataset/72109410/ds8/*.jpg")
        client.submit(look_at_all, part[:9], options).result()
    assert service.image_requests == len(PATHS) + 9
    assert service.peak_all_requests == 4


def test_a_worker_that_is_killed_loses_nothing(tmp_path, service, options, expected):
    """Its one download is requested again, by another worker."""
    half = len(PATHS) // 2
    with cluster(tmp_path, threads=1) as client:
        seen = client.map(look, PATHS[:half], options=options)
        assert client.gather(seen) == expected[:half]
        service.pause()
        seen += client.map(look, PATHS[half:], options=options)
        until(lambda: service.image_requests == half + WORKERS)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        service.resume()
        assert client.gather(seen) == expected
    assert service.image_requests == len(PATHS) + 1


def test_delayed_calls_in_threads_download_each_image_once(service, options, expected):
    seen = dask.compute(*[dask.delayed(look)(path, options) for path in PATHS])
    assert list(seen) == expected
    assert service.image_requests == len(PATHS)
    assert service.peak_all_requests <= 4
