"""What a mount tells of itself: whole whenever it is read, and exact."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command import allenfs, serving_pid
from mounted import Mounted, errno_of_open, until

from allenfs import __version__, config
from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import Fault, SampleService

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "section/69750516/ds6/image.jpg"
OTHERS = [f"section/69750516/ds{number}/image.jpg" for number in (3, 4, 5, 7, 8)]
DATA_SET = "dataset/72109410/ds6"
UNKNOWN = "section/1/image.jpg"
TOOLS = {
    "cat": ["cat", "{}"],
    "dd": ["dd", "if={}", "bs=7", "status=none"],
    "dd past the cache": ["dd", "if={}", "bs=4096", "iflag=direct", "status=none"],
    "tail": ["tail", "-c", "1000000", "{}"],
    "head": ["head", "-n", "100000", "{}"],
    "sed": ["sed", "", "{}"],
    "python": [
        sys.executable,
        "-c",
        "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text(), end='')",
        "{}",
    ],
    "tar": ["sh", "-c", 'tar -cf - -C "$(dirname {})" status.json | tar -xOf -'],
    "cp": ["sh", "-c", 'cp {} "$0" && cat "$0"', "{out}"],
}


def status(mounted: Mounted) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((mounted / ".allenfs/status.json").read_bytes())
    return page


def counted(mounted: Mounted, *names: str) -> list[int]:
    images = status(mounted)["images"]
    return [images[name] for name in names]


@pytest.fixture
def mounted(
    tmp_path: Path, service: SampleService, request: pytest.FixtureRequest
) -> Iterator[Mounted]:
    warnings = [mark.args[0] for mark in request.node.iter_markers("declared")]
    with Mounted(tmp_path, service.url, warnings=warnings) as running:
        yield running


def test_a_mount_says_what_it_is(tmp_path: Path, service: SampleService) -> None:
    with Mounted(tmp_path, service.url, capacity_bytes=2**30) as mounted:
        page = status(mounted)
        assert mounted.process is not None
        assert page["version"] == __version__
        assert page["pid"] == mounted.process.pid
        assert page["mountpoint"] == str(mounted.root)
        started, now = (
            datetime.fromisoformat(page[name].replace("Z", "+00:00"))
            for name in ("started", "time")
        )
        assert started <= now
        assert page["service"] == {
            "url": service.url,
            "name": config.service_name(service.url),
            "is_sample": False,
            "proxy": None,
            "connections": 4,
            "connections_in_use": 0,
            "waiting": 0,
            "reachable": None,
            "last_answer": None,
            "last_failure": None,
            "last_failure_cause": None,
            "requests": 0,
            "failed_requests": 0,
        }
        assert page["store"]["directory"] == str(mounted.cache_dir)
        assert page["store"]["capacity_bytes"] == 2**30
        assert service.image_requests == service.query_requests == 0


def test_crawlers_do_not_meet_it_and_who_knows_the_name_lists_it(
    mounted: Mounted,
) -> None:
    assert ".allenfs" not in os.listdir(mounted.root)
    assert sorted(os.listdir(mounted / ".allenfs")) == ["log", "status.json"]
    for name in ("status.json", "log"):
        found = (mounted / ".allenfs" / name).stat()
        assert found.st_size > 0
        assert found.st_mode & 0o777 == 0o444
    for name in ("x", "status", "status.json/x", "..x", ".allenfs"):
        assert not (mounted / ".allenfs" / name).exists()
    with pytest.raises(NotADirectoryError):
        os.listdir(mounted / ".allenfs/log")
    with pytest.raises(OSError, match="Read-only"):
        (mounted / ".allenfs/status.json").write_text("x")


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_reads_a_whole_status(
    mounted: Mounted, name: str, tmp_path: Path
) -> None:
    file, out = mounted / ".allenfs/status.json", tmp_path / "out"
    command = [word.format(file, out=out) for word in TOOLS[name]]
    for path in [PATH, *OTHERS]:
        (mounted / path).read_bytes()  # so that it changes from one to the next
        said = subprocess.run(command, capture_output=True, check=True)
        page = json.loads(said.stdout)
        assert said.stdout.endswith(b"}\n")
        assert said.stderr == b""
    assert page["images"]["misses"] == 1 + len(OTHERS)


@pytest.mark.both_libfuses
def test_what_is_open_stays_as_it_was_when_it_was_opened(mounted: Mounted) -> None:
    with open(mounted / ".allenfs/status.json", "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        first = os.pread(file.fileno(), 100, 0)
        (mounted / PATH).read_bytes()
        (mounted / PATH).read_bytes()
        assert os.fstat(file.fileno()).st_size == size
        assert file.seek(0, os.SEEK_END) == size
        assert file.seek(0) == 0
        assert counted(mounted, "hits", "misses") == [1, 1]
        data = file.read()
        assert data is not None
        assert len(data) == size
        assert data.startswith(first)
        assert json.loads(data)["images"]["misses"] == 0


@pytest.mark.declared("HTTP 404")
def test_many_read_it_whole_while_it_changes(
    mounted: Mounted, service: SampleService
) -> None:
    ended = threading.Event()

    def change(mounted: Mounted) -> None:
        number = 0
        # as many as are kept, however slow the machine is
        while number < 20 or not ended.is_set():
            number += 1
            errno_of_open(mounted / f"section/{number}/image.jpg")

    def look(file: Path) -> None:
        for _ in range(100):
            with open(file, "rb", buffering=0) as opened:
                data = opened.read()
                assert data is not None
                json.loads(data)
                assert os.pread(opened.fileno(), 2**20, 0) == data

    with ThreadPoolExecutor(5) as pool:
        changing = pool.submit(change, mounted)
        looks = [pool.submit(look, mounted / ".allenfs/status.json") for _ in range(4)]
        try:
            for done in looks:
                done.result()
        finally:
            ended.set()
        changing.result()
    page = status(mounted)
    assert page["service"]["requests"] == service.image_requests
    assert page["images"]["failed"] == service.image_requests
    assert len(page["failures"]) == 20


@pytest.mark.declared("HTTP 404")
def test_counts_are_those_of_the_service(
    mounted: Mounted, tmp_path: Path, service: SampleService
) -> None:
    data = (mounted / PATH).read_bytes()
    assert counted(mounted, "hits", "misses", "failed") == [0, 1, 0]
    assert counted(mounted, "downloaded_bytes") == [len(data)]
    assert counted(mounted, "read_bytes") == [len(data)]
    for _ in range(3):
        assert (mounted / PATH).read_bytes() == data
    assert counted(mounted, "hits", "misses", "failed") == [3, 1, 0]
    # the kernel has the bytes, and does not ask for them again
    assert counted(mounted, "read_bytes") == [len(data)]
    errno_of_open(mounted / UNKNOWN)
    assert counted(mounted, "hits", "misses", "failed") == [3, 1, 1]
    subprocess.run(["cp", "-r", mounted / DATA_SET, tmp_path / "out"], check=True)
    copied = list((tmp_path / "out").iterdir())
    page = status(mounted)
    images = page["images"]
    assert images["hits"] + images["misses"] == 4 + len(copied)
    assert images["downloads"] == 1 + len(copied) == service.image_requests - 1
    assert images["downloaded_bytes"] == len(data) + sum(
        file.stat().st_size for file in copied
    )
    assert page["readahead"]["under_way"] == 0
    assert page["readahead"]["downloaded"] == page["readahead"]["used"] > 40
    asked = service.image_requests + service.query_requests
    assert page["service"]["requests"] == asked
    assert page["service"]["failed_requests"] == 1
    assert page["service"]["reachable"] is True
    assert page["store"]["images"] == images["downloads"]
    assert page["store"]["images_bytes"] >= images["downloaded_bytes"]
    until(lambda: status(mounted)["open_files"] == 0)
    with open(mounted / PATH, "rb"), open(mounted / PATH, "rb"):
        until(lambda: status(mounted)["open_files"] == 2)
    assert page["downloads"] == []
    (failure,) = page["failures"]
    assert failure["path"] == UNKNOWN
    assert failure["url"] == f"{service.url}/api/v2/image_download/1"
    assert failure["errno"] == "ENOENT"
    assert failure["cause"] == "HTTP 404 Not Found"


def test_the_store_is_told_as_other_processes_leave_it(
    mounted: Mounted, service: SampleService
) -> None:
    store = ["--cache-dir", str(mounted.cache_dir)]
    own = mounted / "section/69750516/ds8/image.jpg"
    own.read_bytes()
    told = [status(mounted)["store"]["images"]]
    other = "section/69750516/ds7/image.jpg"
    allenfs("prefetch", "--api-url", service.url, *store, other)
    with (mounted.cache_dir / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        told.append(status(mounted)["store"]["images"])
    told.append(status(mounted)["store"]["images"])
    allenfs("cache", "clear", *store)
    told.append(status(mounted)["store"]["images"])
    assert told == [1, 1, 2, 0]
    assert status(mounted)["store"]["images_bytes"] == 0


def test_it_answers_while_every_connection_stalls_and_tells_of_them(
    mounted: Mounted, service: SampleService
) -> None:
    paths = [PATH, *OTHERS]
    service.pause()
    with ThreadPoolExecutor(len(paths)) as pool:
        readers = [pool.submit((mounted / path).read_bytes) for path in paths]
        try:
            until(lambda: service.image_requests == 4)
            until(lambda: len(status(mounted)["downloads"]) == len(paths))
            until(lambda: status(mounted)["service"]["waiting"] == 2)
            page = status(mounted)
            assert page["service"]["connections_in_use"] == 4
            downloads = page["downloads"]
            assert sorted(one["path"] for one in downloads) == sorted(paths)
            states = sorted(one["state"] for one in downloads)
            assert states == ["downloading"] * 4 + ["waiting"] * 2
            for one in downloads:
                assert one["url"].startswith(service.url)
                assert one["attempt"] == (one["state"] == "downloading")
                assert one["bytes"] == 0
            with mounted.stopped(at_least_s=0):
                pass
            assert status(mounted)["service"]["waiting"] == 2
        finally:
            service.resume()
        total = sum(len(reader.result()) for reader in readers)
    page = status(mounted)
    assert page["downloads"] == []
    assert page["service"]["connections_in_use"] == 0
    assert page["images"]["misses"] == len(paths)
    assert page["images"]["downloaded_bytes"] == total


def test_a_download_tells_how_far_it_is_and_its_attempt(
    mounted: Mounted, service: SampleService
) -> None:
    service.fail(Fault.STATUS_503, times=1)
    service.fail(Fault.DRIP_BODY, times=1)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit((mounted / PATH).read_bytes)
        try:
            until(lambda: [one["bytes"] for one in status(mounted)["downloads"]])
            until(lambda: status(mounted)["downloads"][0]["bytes"] > 100)
            (download,) = status(mounted)["downloads"]
            assert (download["path"], download["attempt"]) == (PATH, 2)
            assert download["state"] == "downloading"
        finally:
            service.heal()
        data = reader.result()
    assert len(data) > 1000
    page = status(mounted)
    assert page["images"]["downloads"] == 1
    assert page["service"]["requests"] == service.image_requests
    assert page["service"]["failed_requests"] == service.image_requests - 1
    assert page["failures"] == []


@pytest.mark.declared("Connection refused")
def test_a_service_that_is_away_is_said_so_and_that_it_is_back(
    mounted: Mounted, service: SampleService
) -> None:
    port = service.url.rpartition(":")[2]
    service.close()
    errno_of_open(mounted / PATH)
    page = status(mounted)
    assert page["service"]["reachable"] is False
    assert "refused" in page["service"]["last_failure_cause"]
    assert page["failures"][0]["errno"] == "EHOSTUNREACH"
    assert page["service"]["failed_requests"] == page["service"]["requests"] == 4
    errno_of_open(mounted / "dataset/72109410/info.json")
    assert status(mounted)["failures"][0]["path"] == "dataset/72109410"
    with SampleService(port=int(port)):
        assert (mounted / PATH).read_bytes()
        page = status(mounted)
    assert page["service"]["reachable"] is True
    assert page["service"]["last_answer"] >= page["service"]["last_failure"]
    assert len(page["failures"]) == 2


@pytest.mark.declared("HTTP 404")
def test_the_log_is_in_the_mount_and_can_be_followed(
    mounted: Mounted, service: SampleService
) -> None:
    log = mounted / ".allenfs/log"
    assert f"mounted {service.url}" in log.read_text()
    with subprocess.Popen(
        ["tail", "-n", "+1", "-f", log], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert " INFO allenfs.mount.daemon: mounted " in following.stdout.readline()
        errno_of_open(mounted / UNKNOWN)
        line = following.stdout.readline()
        following.terminate()
    assert UNKNOWN in line
    assert "HTTP 404" in line
    assert log.read_text().splitlines()[-1] == line.rstrip()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "mnt"
    root.mkdir()
    yield root
    if is_mounted(root):
        subprocess.run(["umount", "-l", root], check=True)


def test_sigusr2_before_there_is_a_mount_ends_nothing(
    root: Path, service: SampleService
) -> None:
    """In the background: a process that a terminal starts is held a moment later."""
    command = [sys.executable, "-m", "allenfs", "mount", "--api-url", service.url, root]
    with subprocess.Popen(command) as mounting:
        children = Path(f"/proc/{mounting.pid}/task/{mounting.pid}/children")
        until(children.read_text)
        os.kill(int(children.read_text()), signal.SIGUSR2)
        assert mounting.wait() == 0
    log = root / ".allenfs/log"
    until(lambda: "log level is now DEBUG" in log.read_text())
    assert allenfs("umount", root).returncode == 0


@pytest.mark.declared("HTTP 404")
@pytest.mark.parametrize("flags", [[], ["-v"]], ids=["quiet", "verbose"])
@pytest.mark.parametrize("where", ["background", "foreground"])
def test_sigusr2_switches_the_log_and_says_so(
    where: str, flags: list[str], root: Path, service: SampleService, tmp_path: Path
) -> None:
    arguments = ["mount", *flags, "--api-url", service.url, str(root)]
    process = None
    if where == "background":
        assert allenfs(*arguments).returncode == 0
    else:
        process = subprocess.Popen(
            [sys.executable, "-m", "allenfs", *arguments, "--foreground"],
            stderr=subprocess.PIPE,
        )
        until(lambda: is_mounted(root))
    log, pid = root / ".allenfs/log", serving_pid(root)
    levels = ["INFO", "DEBUG"] if flags else ["DEBUG", "INFO"]
    is_debug = bool(flags)
    for number, level in enumerate([*levels, *levels], 1):
        os.kill(pid, signal.SIGUSR2)
        until(
            lambda number=number: log.read_text().count("level is now") == number  # type: ignore[misc]
        )
        assert f"log level is now {level}" in log.read_text()
        is_debug = not is_debug
        before = log.read_text().count("DEBUG allenfs.adapters.translator: open")
        errno_of_open(root / f"section/{number}/image.jpg")
        after = log.read_text().count("DEBUG allenfs.adapters.translator: open")
        assert (after > before) == is_debug
    assert allenfs("umount", root).returncode == 0
    if process is not None:
        assert b"log level is now DEBUG" in process.communicate()[1]
        assert process.returncode == 0
