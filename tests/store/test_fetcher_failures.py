"""Failures are shared, remembered for a while, and then over."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
from typing import TYPE_CHECKING

import pytest
from fetcher_doubles import READERS, Bench
from store_helpers import (
    content,
    downloads,
    image_bytes,
    open_files,
    put,
    section,
    store_at,
    stored_files,
    warnings_in,
)

from allenfs.errors import (
    BusyError,
    CutAnswerError,
    ExhaustedError,
    ImageNotFoundError,
    ServiceError,
    ServiceTimeoutError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from allenfs.store.stored_file import TempFile


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("bug"), MemoryError(), SystemExit(3)])
def test_an_unexpected_exception_reaches_every_waiter_and_wedges_nothing(
    bench: Bench, error: BaseException
) -> None:
    bench.service.failures[1] = error
    assert [future.exception() for future in bench.get_at_once(1)] == [error] * READERS
    assert bench.service.fetches == {1: 1}
    del bench.service.failures[1]
    assert content(bench.get(1)) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 2}
    assert bench.service.under_way == 0


def test_a_failed_download_gives_its_connection_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, connections=1)
    for number, error in enumerate([CutAnswerError("x"), RuntimeError(), SystemExit()]):
        bench.service.failures[number + 1] = error
        bench.fails(number + 1, type(error))
    assert content(bench.get(9)) == image_bytes(9, 5000)


@pytest.mark.parametrize(
    ("error", "memory_s"),
    [
        (CutAnswerError("cut"), 10),
        (ServiceTimeoutError("stall"), 10),
        (BusyError("503"), 10),
        (ImageNotFoundError("404"), 60),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_failure_is_remembered_so_long_and_no_longer(
    bench: Bench, error: ServiceError, memory_s: int
) -> None:
    bench.service.failures[1] = error
    error.url, error.attempts, error.elapsed_s = "http://h/1", 3, 7.5
    for _ in range(5):
        again = bench.fails(1, ServiceError)
        assert (type(again), str(again)) == (type(error), str(error))
        assert again is not bench.fails(1, ServiceError)  # each reader's own
    bench.now_s += memory_s - 0.001
    bench.fails(1, type(error))
    assert bench.service.fetches == {1: 1}
    bench.now_s += 0.001
    bench.fails(1, type(error))
    bench.fails(1, type(error))
    assert bench.service.fetches == {1: 2}
    del bench.service.failures[1]
    bench.now_s += memory_s
    assert content(bench.get(1)) == image_bytes(1, 5000)
    assert bench.service.fetches == {1: 3}


def test_a_stored_image_is_given_though_its_last_download_failed(bench: Bench) -> None:
    bench.service.failures[1] = CutAnswerError("cut")
    bench.fails(1, CutAnswerError)
    put(store_at(bench.directory), 1, b"from there")
    assert content(bench.get(1)) == b"from there"
    assert bench.fetcher.last_failure(section(1)) is None


def test_a_remembered_failure_does_not_grow_with_each_reader(bench: Bench) -> None:
    bench.service.failures[1] = CutAnswerError("cut")

    def depth() -> int:
        traceback, count = bench.fails(1, CutAnswerError).__traceback__, 0
        while traceback is not None:
            traceback, count = traceback.tb_next, count + 1
        return count

    bench.fails(1, CutAnswerError)
    first = depth()
    assert {depth() for _ in range(20)} == {first}


def test_the_last_failure_can_be_read_until_it_is_over(bench: Bench) -> None:
    assert bench.fetcher.last_failure(section(1)) is None
    bench.service.failures[1] = CutAnswerError("17 of 33 bytes")
    bench.fails(1, CutAnswerError)
    bench.now_s += 30
    assert "17 of 33 bytes" in bench.fetcher.last_failure(section(1))
    bench.now_s += 3600
    assert bench.fetcher.last_failure(section(1)) is None
    bench.fails(1, CutAnswerError)
    bench.service.failures[2] = CutAnswerError("another")
    bench.fails(2, CutAnswerError)
    bench.now_s += 30
    del bench.service.failures[1]
    bench.get(1)
    assert bench.fetcher.last_failure(section(1)) is None
    assert bench.fetcher.last_failure(section(2)) is not None


def test_a_failed_download_leaves_no_file_stored_or_open(bench: Bench) -> None:
    """A crawler over a service that is down must not run out of descriptors."""
    gc.collect()
    before = open_files()
    for number in range(1, 101):
        bench.service.failures[number] = CutAnswerError("cut")
        bench.fails(number, CutAnswerError)
    bench.service.failures.clear()
    assert open_files() <= before + 5
    assert downloads(bench.directory) == stored_files(bench.directory) == []


def test_no_descriptor_for_a_download_is_one_warning_and_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def exhausted() -> TempFile:
        raise ExhaustedError("no place for a download")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "temp_file", exhausted)
        bench.fails(1, ExhaustedError)
    (said,) = [one.getMessage() for one in caplog.records]
    assert said == "section/1/image.jpg: no place for a download"
    assert content(bench.get(1)) == image_bytes(1, 5000)


def fails_once(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, number: int
) -> list[str]:
    """Let the next call of a function of the system fail; say that it was met."""
    real, met = getattr(module, name), []

    def failing(*args: object, **kwargs: object) -> object:
        if not met:
            met.append(name)
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, failing)
    return met


def test_a_disk_that_does_not_give_back_a_download_costs_no_image(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # as the check of a JPEG does, which the scripted service has none of
    real = bench.service.fetch

    def fetch(request: object, sink: TempFile, *rest: object) -> object:
        answer = real(request, sink, *rest)
        sink.view()[0:10]
        return answer

    monkeypatch.setattr(bench.service, "fetch", fetch)
    met = fails_once(monkeypatch, os, "pread", errno.EIO)
    image = bench.get(1)
    assert met
    assert image.read(0, 5000) == image_bytes(1, 5000)
    assert bench.service.fetches[1] == 2
    assert len(warnings_in(caplog)) == 1
    assert bench.get(2).read(0, 5000) == image_bytes(2, 5000)
    assert bench.store.find(section(2)) is not None  # and kept again


def test_a_download_that_cannot_be_begun_again_on_disk_goes_to_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    met = fails_once(monkeypatch, os, "ftruncate", errno.EROFS)
    assert bench.get(1).read(0, 5000) == image_bytes(1, 5000)
    assert met
    assert bench.service.fetches[1] == 1
    assert len(warnings_in(caplog)) == 1
    assert downloads(bench.directory) == []


def test_a_download_whose_file_cannot_be_locked_leaves_none_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = fails_once(monkeypatch, fcntl, "flock", errno.ENOLCK)
    temp_file = bench.store.temp_file()
    assert met
    assert temp_file.path is None
    assert downloads(bench.directory) == []
    temp_file.close()
