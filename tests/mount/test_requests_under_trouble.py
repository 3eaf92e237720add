"""A service in trouble: how often it is asked, when an error comes, when the image."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import cat
from hostile_service import black_hole
from listener import Listener
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


def storm(look, paths):
    """Look at each path OPENS times from each of 8 threads; errnos, and how long."""
    began_s = time.monotonic()
    start = threading.Barrier(THREADS)

    def looks(_):
        start.wait()
        return {errno_of(look, path) for path in paths * OPENS}

    with ThreadPoolExecutor(THREADS) as pool:
        found = set().union(*pool.map(looks, range(THREADS)))
    return found, time.monotonic() - began_s


def opened(path):
    os.close(os.open(path, os.O_RDONLY))


def warnings_in(mounted):
    return [line for line in mounted.log.splitlines() if line.startswith("WARNING")]


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
    found, took_s = storm(opened, [mounted / image for image in images])
    downloads = 1 + took_s // memory_s
    assert found == {number}
    assert attempts <= len(service.requested) <= attempts * downloads
    assert 1 <= len(warnings_in(mounted)) <= downloads
    # the service is well otherwise
    assert (mounted / OTHER).read_bytes()


def test_a_storm_of_names_outside_the_grammar_asks_nobody(mounted, service):
    names = [".Trash", "section/007", f"section/{IMAGE}/ds11/image.jpg", "dataset/x"]
    found, _ = storm(opened, [mounted / name for name in names])
    assert found == {errno.ENOENT}
    assert service.connections == 0


@pytest.mark.mounted(warnings=[DATA_SET], first_backoff_s=0.01, **DEFAULT_MEMORY)
def test_a_storm_of_listings_that_fail_is_one_query(mounted, service):
    service.fail_queries(Fault.STATUS_503)
    found, took_s = storm(os.listdir, [mounted / DATA_SET])
    assert found == {errno.EIO}
    downloads = 1 + took_s // DEFAULT_MEMORY["failure_memory_s"]
    assert ATTEMPTS <= service.query_requests <= ATTEMPTS * downloads
    assert len(warnings_in(mounted)) <= downloads


@pytest.mark.mounted(warnings=[str(IMAGE)], failure_memory_s=0.5)
def test_a_failure_is_asked_again_after_its_time_and_no_sooner(mounted, service):
    service.fail(Fault.HTML_200)
    began_s = time.monotonic()
    while service.image_requests < 3:
        assert errno_of_open(mounted / f"section/{IMAGE}/image.jpg") == errno.EIO
    assert time.monotonic() - began_s >= 2 * 0.5


@contextlib.contextmanager
def unanswered():
    """Listens; the kernel makes connections, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class Resetting(Listener):
    """Resets each connection at once."""

    def serve(self, connection):
        at_once = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


@contextlib.contextmanager
def resetting():
    with Resetting() as listener:
        yield listener.url


@contextlib.contextmanager
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # it does not listen, and is nobody else's
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


STALL_S, CONNECT_S, BACKOFF_S = 0.4, 0.3, 0.02
NO_CONNECTION = {errno.EHOSTUNREACH}
PLACES = {
    "silent": (unanswered, {errno.ETIMEDOUT}, STALL_S),
    "black hole": (black_hole, NO_CONNECTION, CONNECT_S),
    "refused": (closed_port, NO_CONNECTION, 0),
    # the reset comes while the connection is made, or a moment after it
    "reset": (resetting, NO_CONNECTION | {errno.EIO}, 0),
}


@pytest.mark.parametrize("place", PLACES)
def test_time_to_an_error_is_four_attempts_and_three_pauses(tmp_path, place):
    enter, numbers, attempt_s = PLACES[place]
    limits = {"stall_timeout_s": STALL_S, "connect_timeout_s": CONNECT_S}
    limits |= {"first_backoff_s": BACKOFF_S, **DEFAULT_MEMORY}
    with (
        enter() as url,
        Mounted(tmp_path, url, warnings=[OTHER], **limits) as mounted,
        ThreadPoolExecutor(1) as pool,
    ):
        opening = pool.submit(errno_of_open, mounted / OTHER)
        assert "image.jpg" in os.listdir(mounted / "atlas/100883869/ds4")
        assert opening.result() in numbers
        said = os.getxattr(mounted / OTHER, "user.allenfs.error").decode()
        found = re.search(r"\((\d+) attempts, ([0-9.]+) s, ", said)
        assert int(found[1]) == ATTEMPTS
        pauses_s = BACKOFFS * BACKOFF_S
        # said to a tenth
        assert float(found[2]) >= ATTEMPTS * attempt_s + 0.5 * pauses_s - 0.1
        assert float(found[2]) <= ATTEMPTS * attempt_s + 1.5 * pauses_s + LATER_S


@pytest.mark.mounted(warnings=["Connection refused"], failure_memory_s=1)
def test_a_service_that_is_back_is_asked_when_its_failure_is_forgotten(
    mounted, service
):
    expected = image_bytes(service.url, OTHER)
    service.close()
    assert errno_of_open(mounted / OTHER) == errno.EHOSTUNREACH
    assert errno_of(os.listdir, mounted / DATA_SET) == errno.EHOSTUNREACH
    with SampleService(port=port_of(service.url)):
        back_s = time.monotonic()
        # what had not failed is there at once
        assert (mounted / f"section/{IMAGE}/ds6/image.jpg").read_bytes()
        until(lambda: errno_of(opened, mounted / OTHER) == 0)
        until(lambda: errno_of(os.listdir, mounted / DATA_SET) == 0)
        assert time.monotonic() - back_s < 1 + LATER_S
        assert (mounted / OTHER).read_bytes() == expected
        assert NUMBERED in os.listdir(mounted / DATA_SET)


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
def test_who_waits_for_a_retry_gets_the_image_when_the_service_is_back(
    mounted, service
):
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


@pytest.fixture
def readers(mounted, service):
    """Four readers; at the end they have all read what is right."""
    expected = [image_bytes(service.url, path) for path in PATHS[:4]]
    service.reset_counters()
    service.pause()
    readers = [cat(mounted / path) for path in PATHS[:4]]
    until(lambda: service.image_requests == len(readers))
    yield readers
    assert [one.communicate(timeout=30)[0] for one in readers] == expected
    assert {one.returncode for one in readers} == {0}


@pytest.mark.parametrize("answers", ["while it is stopped", "when it goes on"])
@pytest.mark.mounted(stall_timeout_s=STALL_OF_STOPPED_S)
def test_a_stopped_daemon_loses_nothing(mounted, service, readers, answers):
    with mounted.stopped(STOPPED_S):
        if answers == "while it is stopped":
            service.resume()
        assert all(reader.poll() is None for reader in readers)
    service.resume()
    for reader in readers:
        reader.wait(30)
    if answers == "while it is stopped":
        # the answers lay in the sockets: no stall
        assert service.image_requests == len(readers)
        assert "trying again" not in mounted.log
    assert service.image_requests <= 2 * len(readers)
    # and all is as before
    assert (mounted / OTHER).read_bytes() == image_bytes(service.url, OTHER)


@pytest.mark.mounted(stall_timeout_s=STALL_OF_STOPPED_S)
def test_downloads_that_were_cut_while_the_daemon_was_stopped_are_tried_again(
    mounted, service, readers
):
    with contextlib.ExitStack() as stack:
        with mounted.stopped(STOPPED_S):
            service.close()
            back = stack.enter_context(SampleService(port=port_of(service.url)))
        for reader in readers:
            reader.wait(30)
        assert back.image_requests == len(readers)
