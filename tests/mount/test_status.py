"""The status and the log in a mount: whole whenever they are read, and exact."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import allenfs, serving_pid
from mounted import Mounted, errno_of_open, until

from allenfs import __version__, config
from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import Fault, SampleService

PATH = "section/69750516/ds6/image.jpg"
OTHERS = [f"section/69750516/ds{number}/image.jpg" for number in (3, 4, 5, 7, 8)]
DATA_SET = "dataset/72109410/ds6"
UNKNOWN = "section/1/image.jpg"
TOOLS = (
    ["cat", "{}"],
    ["dd", "if={}", "bs=7", "status=none"],
    ["dd", "if={}", "bs=4096", "iflag=direct", "status=none"],
    ["tail", "-c", "1000000", "{}"],
    ["sh", "-c", 'tar -cf - -C "$(dirname {})" status.json | tar -xOf -'],
    ["sh", "-c", 'cp {} "$0" && cat "$0"', "{out}"],
)


def counted(mounted: Mounted, *names: str) -> list[int]:
    return [mounted.status["images"][name] for name in names]


@pytest.mark.mounted(capacity_bytes=2**30)
def test_a_mount_says_what_it_is(mounted, service):
    page = mounted.status
    assert page["version"] == __version__
    assert page["pid"] == mounted.pid
    assert page["mountpoint"] == str(mounted.root)
    # ISO 8601 in UTC
    assert page["started"] <= page["time"]
    assert page["time"].endswith("Z")
    unknown = ("proxy", "reachable", "last_answer", "last_failure")
    none_yet = ("connections_in_use", "waiting", "requests", "failed_requests")
    assert page["service"] == {
        "url": service.url,
        "name": config.service_name(service.url),
        "is_sample": False,
        "connections": 4,
        "last_failure_cause": None,
        **dict.fromkeys(unknown),
        **dict.fromkeys(none_yet, 0),
    }
    assert page["store"]["directory"] == str(mounted.cache_dir)
    assert page["store"]["capacity_bytes"] == 2**30
    assert service.image_requests == service.query_requests == 0


def test_the_status_directory_is_not_listed_but_can_be(mounted):
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


def test_every_tool_reads_a_whole_status(mounted, tmp_path):
    file, out = mounted / ".allenfs/status.json", tmp_path / "out"
    # so that it changes from one to the next
    for misses, (path, words) in enumerate(zip([PATH, *OTHERS], TOOLS, strict=True), 1):
        (mounted / path).read_bytes()
        command = [word.format(file, out=out) for word in words]
        said = subprocess.run(command, capture_output=True, check=True)
        assert json.loads(said.stdout)["images"]["misses"] == misses
        assert said.stdout.endswith(b"}\n")
        assert said.stderr == b""


@pytest.mark.both_libfuses
def test_an_open_status_does_not_change(mounted):
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


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_many_readers_get_a_complete_status_while_it_changes(mounted, service):
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
    page = mounted.status
    assert page["service"]["requests"] == service.image_requests
    assert page["images"]["failed"] == service.image_requests
    assert len(page["failures"]) == 20


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_counts_are_those_of_the_service(mounted, tmp_path, service):
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
    page = mounted.status
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
    until(lambda: mounted.status["open_files"] == 0)
    with open(mounted / PATH, "rb"), open(mounted / PATH, "rb"):
        until(lambda: mounted.status["open_files"] == 2)
    assert page["downloads"] == []
    (failure,) = page["failures"]
    assert failure["path"] == UNKNOWN
    assert failure["url"] == f"{service.url}/api/v2/image_download/1"
    assert failure["errno"] == "ENOENT"
    assert failure["cause"] == "HTTP 404 Not Found"


def test_the_store_is_shown_as_other_processes_leave_it(mounted, service):
    store = ["--cache-dir", str(mounted.cache_dir)]
    own = mounted / "section/69750516/ds8/image.jpg"
    own.read_bytes()
    told = [mounted.status["store"]["images"]]
    other = "section/69750516/ds7/image.jpg"
    allenfs("prefetch", "--api-url", service.url, *store, other)
    with (mounted.cache_dir / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        told.append(mounted.status["store"]["images"])
    told.append(mounted.status["store"]["images"])
    allenfs("cache", "clear", *store)
    told.append(mounted.status["store"]["images"])
    assert told == [1, 1, 2, 0]
    assert mounted.status["store"]["images_bytes"] == 0


def test_it_answers_while_every_connection_stalls(mounted, service):
    paths = [PATH, *OTHERS]
    service.pause()
    with ThreadPoolExecutor(len(paths)) as pool:
        readers = [pool.submit((mounted / path).read_bytes) for path in paths]
        try:
            until(lambda: service.image_requests == 4)
            until(lambda: len(mounted.status["downloads"]) == len(paths))
            until(lambda: mounted.status["service"]["waiting"] == 2)
            page = mounted.status
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
            assert mounted.status["service"]["waiting"] == 2
        finally:
            service.resume()
        total = sum(len(reader.result()) for reader in readers)
    page = mounted.status
    assert page["downloads"] == []
    assert page["service"]["connections_in_use"] == 0
    assert page["images"]["misses"] == len(paths)
    assert page["images"]["downloaded_bytes"] == total


def test_a_download_has_its_progress_and_attempt(mounted, service):
    service.fail(Fault.STATUS_503, times=1)
    service.fail(Fault.DRIP_BODY, times=1)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit((mounted / PATH).read_bytes)
        try:
            until(lambda: [one["bytes"] for one in mounted.status["downloads"]])
            until(lambda: mounted.status["downloads"][0]["bytes"] > 100)
            (download,) = mounted.status["downloads"]
            assert (download["path"], download["attempt"]) == (PATH, 2)
            assert download["state"] == "downloading"
        finally:
            service.heal()
        data = reader.result()
    assert len(data) > 1000
    page = mounted.status
    assert page["images"]["downloads"] == 1
    assert page["service"]["requests"] == service.image_requests
    assert page["service"]["failed_requests"] == service.image_requests - 1
    assert page["failures"] == []


@pytest.mark.mounted(warnings=["Connection refused"])
def test_an_unreachable_service_and_its_return_are_shown(mounted, service):
    port = service.url.rpartition(":")[2]
    service.close()
    errno_of_open(mounted / PATH)
    page = mounted.status
    assert page["service"]["reachable"] is False
    assert "refused" in page["service"]["last_failure_cause"]
    assert page["failures"][0]["errno"] == "EHOSTUNREACH"
    assert page["service"]["failed_requests"] == page["service"]["requests"] == 4
    errno_of_open(mounted / "dataset/72109410/info.json")
    assert mounted.status["failures"][0]["path"] == "dataset/72109410"
    with SampleService(port=int(port)):
        assert (mounted / PATH).read_bytes()
        page = mounted.status
    assert page["service"]["reachable"] is True
    assert page["service"]["last_answer"] >= page["service"]["last_failure"]
    assert len(page["failures"]) == 2


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_the_log_is_in_the_mount_and_can_be_followed(mounted, service):
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


def test_sigusr2_before_there_is_a_mount_ends_nothing(root, service):
    """In the background: a process started by a terminal is stopped a moment later."""
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
@pytest.mark.parametrize(
    ("where", "flags"), [("background", []), ("foreground", ["-v"])]
)
def test_sigusr2_toggles_verbose_logging_and_logs_it(
    where, flags, root, service, tmp_path
):
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
    opened = "DEBUG allenfs.adapters.translator: open"
    for number in range(1, 4):
        is_debug = bool(flags) == (number % 2 == 0)
        os.kill(pid, signal.SIGUSR2)
        until(lambda number=number: log.read_text().count("level is now") == number)
        before = log.read_text().count(opened)
        errno_of_open(root / f"section/{number}/image.jpg")
        assert (log.read_text().count(opened) > before) == is_debug
        level = "DEBUG" if is_debug else "INFO"
        assert log.read_text().count(f"log level is now {level}") == (number + 1) // 2
    assert allenfs("umount", root).returncode == 0
    if process is not None:
        assert b"log level is now DEBUG" in process.communicate()[1]
        assert process.returncode == 0
