"""A service in trouble: how often it is asked, when an error comes, when the image."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_service import black_hole
from mounted import Mounted, errno_of_open, image_bytes, until

from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

IMAGE, DATA_SET, NUMBERED = 70679088, "dataset/70813257", "0061_70679088.jpg"
OTHER = "section/69750516/ds5/image.jpg"
ATTEMPTS, BACKOFFS = 4, 1 + 2 + 4
THREADS, OPENS = 8, 250
# as a user's mount; what else costs time here is the pause before a retry
DEFAULT_MEMORY = {"failure_memory_s": 10, "not_found_memory_s": 60}
# a busy machine's delay
LATER_S = 5.0


def errno_of(look: Callable[[Path], object], path: Path) -> int:
    try:
        look(path)
    except OSError as error:
        return error.errno or 0
    return 0


def storm(look: Callable[[Path], object], paths: list[Path]) -> tuple[set[int], float]:
    """Look at each path OPENS times from each of 8 threads; errnos, and how long."""
    began_s = time.monotonic()
    start = threading.Barrier(THREADS)

    def looks(_: int) -> set[int]:
        start.wait()
        found = set()
        for path in paths * OPENS:
            found.add(errno_of(look, path))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        found = set().union(*pool.map(looks, range(THREADS)))
    return found, time.monotonic() - began_s


def opened(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def warnings_in(mounted: Mounted) -> list[str]:
    return [line for line in mounted.log.splitlines() if line.startswith("WARNING")]


@pytest.mark.parametrize(
    ("fault", "number", "attempts", "memory_s"),
    [
        (Fault.STATUS_404, errno.ENOENT, 1, 60),
        (Fault.HTML_200, errno.EIO, 1, 10),
        (Fault.STATUS_503, errno.EIO, ATTEMPTS, 10),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.mounted(warnings=[str(IMAGE)], first_backoff_s=0.01, **DEFAULT_MEMORY)
def test_a_storm_of_opens_of_a_failing_image_is_one_download(
    mounted: Mounted,
    service: SampleService,
    fault: Fault,
    number: int,
    attempts: int,
    memory_s: float,
) -> None:
    assert NUMBERED in os.listdir(mounted / DATA_SET)
    service.fail(fault, image_id=IMAGE)
    paths = [
        mounted / f"section/{IMAGE}/image.jpg",
        mounted / f"section/{IMAGE}/ds0/image.jpg",
        mounted / f"{DATA_SET}/{NUMBERED}",
    ]
    found, took_s = storm(opened, paths)
    print(f"{THREADS * OPENS * len(paths) / took_s:.0f} opens a second")
    downloads = 1 + took_s // memory_s
    assert found == {number}
    assert attempts <= len(service.requested) <= attempts * downloads
    assert 1 <= len(warnings_in(mounted)) <= downloads
    # the service is well otherwise
    assert (mounted / OTHER).read_bytes()


def test_a_storm_of_names_outside_the_grammar_asks_nobody(
    mounted: Mounted, service: SampleService
) -> None:
    names = [".Trash", "section/007", f"section/{IMAGE}/ds11/image.jpg", "dataset/x"]
    found, _ = storm(opened, [mounted / name for name in names])
    assert found == {errno.ENOENT}
    assert service.connections == 0


@pytest.mark.mounted(
    warnings=["dataset/70813257"], first_backoff_s=0.01, **DEFAULT_MEMORY
)
def test_a_storm_of_listings_that_fail_is_one_query(
    mounted: Mounted, service: SampleService
) -> None:
    service.fail_queries(Fault.STATUS_503)
    found, took_s = storm(os.listdir, [mounted / DATA_SET])
    assert found == {errno.EIO}
    downloads = 1 + took_s // DEFAULT_MEMORY["failure_memory_s"]
    assert ATTEMPTS <= service.query_requests <= ATTEMPTS * downloads
    assert len(warnings_in(mounted)) <= downloads


def test_a_failure_is_asked_again_after_its_time_and_no_sooner(
    tmp_path: Path, service: SampleService
) -> None:
    memory_s = 0.5
    with Mounted(
        tmp_path, service.url, warnings=[str(IMAGE)], failure_memory_s=memory_s
    ) as mounted:
        service.fail(Fault.HTML_200)
        began_s = time.monotonic()
        while service.image_requests < 3:
            path = mounted / f"section/{IMAGE}/image.jpg"
            assert errno_of_open(path) == errno.EIO
        assert time.monotonic() - began_s >= 2 * memory_s


class Port:
    """A listening socket that does the least: no connection is ever answered."""

    def __init__(self, *, resets: bool = False) -> None:
        self.accepted = 0
        self._resets = resets
        self._held: list[socket.socket] = []

    def __enter__(self) -> str:
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._held:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.accepted += 1
                if self._resets:
                    at_once = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                    connection.close()
                else:
                    self._held.append(connection)


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # it does not listen, and is nobody else's
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


STALL_S, CONNECT_S, BACKOFF_S = 0.4, 0.3, 0.02
NO_CONNECTION = {errno.EHOSTUNREACH}
PLACES: dict[str, tuple[Callable[[], object], set[int], float]] = {
    "silent": (Port, {errno.ETIMEDOUT}, STALL_S),
    "black hole": (black_hole, NO_CONNECTION, CONNECT_S),
    "refused": (closed_port, NO_CONNECTION, 0),
    "no such name": (
        lambda: contextlib.nullcontext("http://no-such.invalid"),
        NO_CONNECTION,
        0,
    ),
    # the reset comes while the connection is made, or a moment after it
    "reset": (lambda: Port(resets=True), NO_CONNECTION | {errno.EIO}, 0),
}


@pytest.mark.parametrize("place", PLACES)
def test_time_to_an_error_is_four_attempts_and_three_pauses(
    tmp_path: Path, place: str
) -> None:
    enter, numbers, attempt_s = PLACES[place]
    with (
        enter() as url,  # type: ignore[attr-defined]
        Mounted(
            tmp_path,
            url,
            warnings=[OTHER],
            stall_timeout_s=STALL_S,
            connect_timeout_s=CONNECT_S,
            first_backoff_s=BACKOFF_S,
            **DEFAULT_MEMORY,
        ) as mounted,
        ThreadPoolExecutor(1) as pool,
    ):
        opening = pool.submit(errno_of_open, mounted / OTHER)
        assert "image.jpg" in os.listdir(mounted / "atlas/100883869/ds4")
        assert opening.result() in numbers
        said = os.getxattr(mounted / OTHER, "user.allenfs.error").decode()
        found = re.search(r"\((\d+) attempts, ([0-9.]+) s, ", said)
        assert found
        attempts, took_s = int(found[1]), float(found[2])
        assert attempts == ATTEMPTS
        pauses_s = BACKOFFS * BACKOFF_S
        # said to a tenth
        assert took_s >= ATTEMPTS * attempt_s + 0.5 * pauses_s - 0.1
        assert took_s <= ATTEMPTS * attempt_s + 1.5 * pauses_s + LATER_S


def test_a_service_that_is_back_is_asked_when_its_failure_is_forgotten(
    tmp_path: Path,
) -> None:
    memory_s = 1.0
    with SampleService() as service:
        port = int(service.url.rpartition(":")[2])
        expected = image_bytes(service.url, OTHER)
        with Mounted(
            tmp_path,
            service.url,
            warnings=["Connection refused"],
            failure_memory_s=memory_s,
        ) as mounted:
            service.close()
            assert errno_of_open(mounted / OTHER) == errno.EHOSTUNREACH
            with pytest.raises(OSError):
                os.listdir(mounted / DATA_SET)
            with SampleService(port=port):
                back_s = time.monotonic()
                # what had not failed is there at once
                assert (mounted / f"section/{IMAGE}/ds6/image.jpg").read_bytes()
                until(lambda: errno_of(opened, mounted / OTHER) == 0)
                until(lambda: errno_of(os.listdir, mounted / DATA_SET) == 0)
                assert time.monotonic() - back_s < memory_s + LATER_S
                assert (mounted / OTHER).read_bytes() == expected
                assert NUMBERED in os.listdir(mounted / DATA_SET)


def test_connections_that_died_meanwhile_cost_no_attempt(tmp_path: Path) -> None:
    paths = [f"section/69750516/ds6/q{number}/image.jpg" for number in range(8)]
    with SampleService() as service:
        port = int(service.url.rpartition(":")[2])
        expected = {path: image_bytes(service.url, path) for path in paths}

        def read(path: str) -> None:
            assert (mounted / path).read_bytes() == expected[path]

        with Mounted(tmp_path, service.url) as mounted, ThreadPoolExecutor(4) as pool:
            list(pool.map(read, paths[:4]))
            service.close()
            with SampleService(port=port) as back:
                list(pool.map(read, paths[4:]))
                assert back.image_requests == 4
            assert "trying again" not in mounted.log


def test_who_waits_for_a_retry_gets_the_image_when_the_service_is_back(
    tmp_path: Path,
) -> None:
    with SampleService() as service:
        port = int(service.url.rpartition(":")[2])
        expected = image_bytes(service.url, OTHER)
        with (
            Mounted(tmp_path, service.url, first_backoff_s=1) as mounted,
            ThreadPoolExecutor(4) as pool,
        ):
            service.close()
            path = mounted / OTHER
            reading = [pool.submit(path.read_bytes) for _ in range(4)]
            until(lambda: "trying again" in mounted.log)
            with SampleService(port=port) as back:
                assert [one.result() for one in reading] == [expected] * 4
                assert back.image_requests == 1


STOPPED_PATHS = [f"section/69750516/ds6/q{number}/image.jpg" for number in range(4)]


STOPPED_STALL_S = 1.5
STOPPED_S = 1.5 * STOPPED_STALL_S


def readers(mounted: Mounted) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(["cat", mounted / path], stdout=subprocess.PIPE)
        for path in STOPPED_PATHS
    ]


def assert_read(
    cats: list[subprocess.Popen[bytes]], expected: dict[str, bytes]
) -> None:
    read = [cat.communicate(timeout=30)[0] for cat in cats]
    assert read == list(expected.values())
    assert [cat.returncode for cat in cats] == [0] * len(cats)


@pytest.mark.parametrize("answers", ["while it is stopped", "when it goes on"])
@pytest.mark.mounted(stall_timeout_s=STOPPED_STALL_S)
def test_a_stopped_daemon_loses_nothing(
    mounted: Mounted, service: SampleService, answers: str
) -> None:
    expected = {path: image_bytes(service.url, path) for path in STOPPED_PATHS}
    service.reset_counters()
    service.pause()
    cats = readers(mounted)
    until(lambda: service.image_requests == len(cats))
    with mounted.stopped(STOPPED_S):
        if answers == "while it is stopped":
            service.resume()
        assert all(cat.poll() is None for cat in cats)
    service.resume()
    assert_read(cats, expected)
    if answers == "while it is stopped":
        # the answers lay in the sockets: no stall
        assert service.image_requests == len(cats)
        assert "trying again" not in mounted.log
    assert service.image_requests <= 2 * len(cats)
    # and all is as before
    assert (mounted / OTHER).read_bytes() == image_bytes(service.url, OTHER)


def test_downloads_that_were_cut_while_the_daemon_was_stopped_are_tried_again(
    tmp_path: Path,
) -> None:
    with SampleService() as service:
        port = int(service.url.rpartition(":")[2])
        expected = {path: image_bytes(service.url, path) for path in STOPPED_PATHS}
        service.reset_counters()
        with Mounted(tmp_path, service.url, stall_timeout_s=STOPPED_STALL_S) as mounted:
            service.fail(Fault.SILENT)
            cats = readers(mounted)
            until(lambda: service.image_requests == len(cats))
            with contextlib.ExitStack() as stack:
                with mounted.stopped(STOPPED_S):
                    service.close()
                    back = stack.enter_context(SampleService(port=port))
                assert_read(cats, expected)
                assert back.image_requests == len(cats)
