"""Promises 6 and 7 seen through mounts: requests are few, the store never lies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_service import HostileService
from mounted import Mounted, errno_of_open, image_bytes

from allenfs import config
from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds4/image.jpg"


def _paths(count: int) -> list[str]:
    return [f"section/69750516/ds4/q{n}/image.jpg" for n in range(count)]


@pytest.mark.mounted(warnings=["unused"])
def test_stored_images_open_after_a_restart_without_the_service(
    mounted: Mounted, service: SampleService
) -> None:
    expected = (mounted / PATH).read_bytes()
    mounted.stop()
    service.close()
    mounted.start()
    assert (mounted / PATH).read_bytes() == expected


def test_two_services_in_one_store_are_kept_apart(
    tmp_path: Path, service: SampleService
) -> None:
    store = tmp_path / "store"
    with (
        SampleService() as other,
        Mounted(tmp_path / "a", service.url, cache_dir=store) as mounted,
    ):
        other.fail(Fault.STATUS_404)
        (mounted / PATH).read_bytes()
        with Mounted(
            tmp_path / "b", other.url, cache_dir=store, warnings=[PATH]
        ) as second:
            errno_of_open(second / PATH)
            assert os.listdir(second / "section") == []
            assert other.image_requests == 1
        assert config.service_name(service.url) in str(mounted.stored[0])


def _listener_on_four_digits() -> socket.socket:
    for port in range(2000, 10_000):
        with contextlib.suppress(OSError):
            return socket.create_server(("::1", port), family=socket.AF_INET6)
    raise AssertionError


def test_an_ipv6_service_is_not_given_the_image_of_another(tmp_path: Path) -> None:
    """A port reads as the last part of an address without brackets."""
    store = tmp_path / "store"
    with HostileService(_listener_on_four_digits()) as service:
        with Mounted(tmp_path / "a", service.url, cache_dir=store) as mounted:
            stored = (mounted / PATH).read_bytes()
        other = f"http://[::1:{service.port}]"
        with Mounted(tmp_path / "b", other, cache_dir=store, warnings=[PATH]) as second:
            assert (second / PATH).stat().st_size > len(stored)
            assert errno_of_open(second / PATH) == errno.EHOSTUNREACH
        # and nothing is lost of the first one's
        with Mounted(tmp_path / "a", service.url, cache_dir=store) as mounted:
            assert (mounted / PATH).read_bytes() == stored
        assert len(service.requests) == 1


def test_sixteen_simultaneous_readers_make_one_request(
    tmp_path: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    service.reset_counters()
    together = threading.Barrier(16)

    def read(mounted: Mounted) -> bytes:
        together.wait()
        return (mounted / PATH).read_bytes()

    with Mounted(tmp_path, service.url) as mounted, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(read, [mounted] * 16))
    assert answers == [expected] * 16
    assert service.image_requests == 1


@pytest.mark.parametrize("connections", [1, 4])
def test_no_more_requests_at_a_time_than_connections(
    tmp_path: Path, connections: int
) -> None:
    paths = _paths(24)
    with (
        SampleService(latency_s=0.05) as service,
        Mounted(tmp_path, service.url, connections=connections) as mounted,
        ThreadPoolExecutor(12) as pool,
    ):
        list(pool.map(lambda path: (mounted / path).read_bytes(), paths))
        assert service.image_requests == len(paths)
        assert service.peak_requests == connections
        assert service.connections <= connections  # they are used again


def test_requests_are_polite(tmp_path: Path, service: SampleService) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        (mounted / PATH).read_bytes()
    (headers,) = service.headers
    assert headers["User-Agent"].startswith("allenfs/")
    assert headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in headers


def test_kill_9_during_a_download_leaves_only_whole_images(
    mounted: Mounted, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    for fault in (Fault.SILENT, Fault.DRIP_BODY, Fault.ENDLESS_BODY):
        service.reset_counters()
        service.fail(fault)
        cat = subprocess.Popen(["cat", mounted / PATH], stderr=subprocess.DEVNULL)
        while not service.image_requests:
            assert cat.poll() is None
        mounted.kill()
        cat.wait()
        service.heal()
        mounted.start()
        assert mounted.stored == []
        assert (mounted / PATH).read_bytes() == expected
        assert list((mounted.cache_dir / "incoming").iterdir()) == []
        mounted.stored[0].unlink()


def test_two_mounts_on_one_store_stay_within_the_limit(
    tmp_path: Path, service: SampleService
) -> None:
    store = tmp_path / "store"
    paths = _paths(60)
    expected = {path: image_bytes(service.url, path) for path in paths}
    limit_bytes = sum(map(len, expected.values())) // 3
    over: list[int] = []

    def look() -> None:
        kept = sum(
            path.stat().st_size
            for path in store.rglob("*")
            if path.is_file() and path.parent.name != "incoming"
        )
        if kept > limit_bytes:
            over.append(kept)

    with (
        Mounted(
            tmp_path / "a", service.url, cache_dir=store, capacity_bytes=limit_bytes
        ) as one,
        Mounted(
            tmp_path / "b", service.url, cache_dir=store, capacity_bytes=limit_bytes
        ) as two,
    ):

        def read(mount_and_path: tuple[Mounted, str]) -> None:
            mounted, path = mount_and_path
            assert (mounted / path).read_bytes() == expected[path]
            with_suppressed_races(look)

        with ThreadPoolExecutor(2) as pool:
            ahead = [(one, path) for path in paths]
            back = [(two, path) for path in reversed(paths)]
            both = [pair for pairs in zip(ahead, back, strict=True) for pair in pairs]
            list(pool.map(read, both))
        assert over == []


def with_suppressed_races(look: object) -> None:
    """A file that the store evicts during a look is not in it any more."""
    while True:
        try:
            look()  # type: ignore[operator]
        except FileNotFoundError:
            continue
        return


def test_mount_answers_while_a_large_store_is_being_read(
    tmp_path: Path, service: SampleService
) -> None:
    # Not timed: the store's files cannot be read at all until the mount has
    # answered, as its lock is held.
    store = tmp_path / "store"
    with Mounted(tmp_path / "a", service.url, cache_dir=store) as mounted:
        expected = (mounted / PATH).read_bytes()
    with (store / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Mounted(
            tmp_path / "b",
            service.url,
            cache_dir=store,
            warnings=["trouble with the store"],
        ) as mounted:
            assert os.listdir(mounted / "section") == ["69750516"]
            assert (mounted / PATH).read_bytes() == expected
