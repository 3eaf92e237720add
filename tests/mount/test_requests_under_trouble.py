"""A failing service: number of requests, time to the error, time to the image."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import cat
from hostile_service import black_hole
from mounted import Mounted, errno_of, errno_of_open, image_bytes, port_of, until

from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

IMAGE, DATA_SET, NUMBERED = 70679088, "dataset/70813257", "0061_70679088.jpg"
OTHER = "section/69750516/ds5/image.jpg"
PATHS = [f"section/69750516/ds6/q{number}/image.jpg" for number in range(8)]
ATTEMPTS, BACKOFFS = 4, 1 + 2 + 4
THREADS, OPENS = 8, 250
# as a user's mount; what else costs time here is the pause before a retry
DEFAULT_MEMORY = {"failure_memory_s": 10, "not_found_memory_s": 60}
# a busy machine's delay
LATER_S = 5.0


def opened(path):
    os.close(os.open(path, os.O_RDONLY))


@pytest.mark.parametrize(
    ("fault", "number", "attempts", "memory_s"),
    [
        (Fault.STATUS_404, errno.ENOENT, 1, 60),
        (Fault.STATUS_503, errno.EIO, ATTEMPTS, 10),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.mounted(warnings=[str(IMAGE)], first_backoff_s=0.01, **DEFAULT_MEMORY)
def test_a_storm_of_opens_of_a_failing_image_is_one_download(
    mounted, service, fault, number, attempts, memory_s
):
    assert NUMBERED in os.listdir(mounted / DATA_SET)
    service.fail(fault, image_id=IMAGE)
    images = [f"section/{IMAGE}/image.jpg", f"section/{IMAGE}/ds0/image.jpg"]
    images.append(f"{DATA_SET}/{NUMBERED}")
    paths = [mounted / image for image in images]
    start = threading.Barrier(THREADS)

    def open_all(_):
        start.wait()
        return {errno_of(opened, path) for path in paths * OPENS}

    began_s = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        found = set().union(*pool.map(open_all, range(THREADS)))
    downloads = 1 + (time.monotonic() - began_s) // memory_s
    assert found == {number}
    assert attempts <= len(service.requested) <= attempts * downloads
    assert 1 <= mounted.log.count("WARNING ") <= downloads
    # the service is well otherwise
    assert (mounted / OTHER).read_bytes()


@contextlib.contextmanager
def unanswered():
    """Listens; the kernel accepts connections, and no one answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


STALL_S, CONNECT_S, BACKOFF_S = 0.4, 0.3, 0.02


@pytest.mark.parametrize(
    ("place", "number", "attempt_s"),
    [
        (unanswered, errno.ETIMEDOUT, STALL_S),
        (black_hole, errno.EHOSTUNREACH, CONNECT_S),
    ],
)
def test_time_to_an_error_is_four_attempts_and_three_pauses(
    tmp_path, place, number, attempt_s
):
    limits = {"stall_timeout_s": STALL_S, "connect_timeout_s": CONNECT_S}
    limits |= {"first_backoff_s": BACKOFF_S, **DEFAULT_MEMORY}
    with (
        place() as url,
        Mounted(tmp_path, url, warnings=[OTHER], **limits) as mounted,
        ThreadPoolExecutor(1) as pool,
    ):
        opening = pool.submit(errno_of_open, mounted / OTHER)
        assert "image.jpg" in os.listdir(mounted / "atlas/100883869/ds4")
        assert opening.result() == number
        message = os.getxattr(mounted / OTHER, "user.allenfs.error").decode()
        found = re.search(r"\((\d+) attempts, ([0-9.]+) s, ", message)
        assert int(found[1]) == ATTEMPTS
        pauses_s = BACKOFFS * BACKOFF_S
        # shown to a tenth
        assert float(found[2]) >= ATTEMPTS * attempt_s + 0.5 * pauses_s - 0.1
        assert float(found[2]) <= ATTEMPTS * attempt_s + 1.5 * pauses_s + LATER_S


def test_connections_that_died_meanwhile_cost_no_attempt(mounted, service):
    expected = {mounted / path: image_bytes(service.url, path) for path in PATHS}
    files = list(expected)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda file: file.read_bytes(), files[:4]))
        service.close()
        with SampleService(port=port_of(service.url)) as back:
            read += pool.map(lambda file: file.read_bytes(), files[4:])
            assert back.image_requests == 4
    assert read == list(expected.values())
    assert "trying again" not in mounted.log


@pytest.mark.mounted(first_backoff_s=1)
def test_a_pending_retry_gets_the_image_when_the_service_is_back(mounted, service):
    expected = image_bytes(service.url, OTHER)
    service.close()
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit((mounted / OTHER).read_bytes) for _ in range(4)]
        until(lambda: "trying again" in mounted.log)
        with SampleService(port=port_of(service.url)) as back:
            assert [one.result() for one in reading] == [expected] * 4
            assert back.image_requests == 1


STALL_OF_STOPPED_S = 1.5
STOPPED_S = 1.5 * STALL_OF_STOPPED_S


@pytest.mark.parametrize("meanwhile", ["answered", "cut"])
@pytest.mark.mounted(stall_timeout_s=STALL_OF_STOPPED_S)
def test_a_stopped_daemon_loses_nothing(mounted, service, meanwhile):
    expected = [image_bytes(service.url, path) for path in PATHS[:4]]
    service.reset_counters()
    if meanwhile == "answered":
        service.pause()
    else:
        service.fail(Fault.SILENT)
    readers = [cat(mounted / path) for path in PATHS[:4]]
    until(lambda: service.image_requests == 4)
    with contextlib.ExitStack() as stack:
        with mounted.stopped(STOPPED_S):
            if meanwhile == "answered":
                service.resume()
            else:
                service.close()
                back = SampleService(port=port_of(service.url))
                service = stack.enter_context(back)
        assert [one.communicate(timeout=30)[0] for one in readers] == expected
        assert {one.returncode for one in readers} == {0}
        # answers that lay in the sockets are no stall
        assert service.image_requests == 4
        assert ("trying again" in mounted.log) is (meanwhile == "cut")
        # and all is as before
        assert (mounted / OTHER).read_bytes() == image_bytes(service.url, OTHER)
