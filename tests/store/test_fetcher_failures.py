"""Failures are remembered for a while, and then over; a disk's cost no image."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest
from fetcher_doubles import Bench
from store_helpers import (
    content,
    downloads,
    found,
    image_bytes,
    put,
    section,
    store_at,
    warnings_in,
)

from allenfs.errors import CutAnswerError, ImageNotFoundError

DATA = image_bytes(1, 5000)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("error", "memory_s"),
    [(CutAnswerError("17 of 33 bytes"), 10), (ImageNotFoundError("404"), 60)],
)
def test_a_failure_is_remembered_for_its_time_only(bench, error, memory_s):
    bench.service.failures[1] = error
    error.url, error.attempts, error.elapsed_s = "http://h/1", 3, 7.5
    for _ in range(5):
        again = bench.fails(1, type(error))
        assert str(again) == str(error)
    bench.now_s += memory_s - 0.001
    bench.fails(1, type(error))
    assert bench.service.fetches == {1: 1}
    bench.now_s += 0.001
    bench.fails(1, type(error))
    bench.fails(1, type(error))
    assert bench.service.fetches == {1: 2}
    del bench.service.failures[1]
    bench.now_s += memory_s
    assert content(bench.get(1)) == DATA
    assert bench.service.fetches == {1: 3}


def test_a_stored_image_is_returned_although_its_last_download_failed(bench):
    bench.service.failures[1] = CutAnswerError("cut")
    bench.fails(1, CutAnswerError)
    put(store_at(bench.directory), 1, b"from there")
    assert content(bench.get(1)) == b"from there"
    assert bench.fetcher.last_failure(section(1)) is None


def test_a_remembered_failure_does_not_grow_with_each_reader(bench):
    bench.service.failures[1] = CutAnswerError("cut")

    def depth():
        traceback, count = bench.fails(1, CutAnswerError).__traceback__, 0
        while traceback is not None:
            traceback, count = traceback.tb_next, count + 1
        return count

    bench.fails(1, CutAnswerError)
    assert len({depth() for _ in range(20)}) == 1


def test_the_last_failure_can_be_read_for_an_hour_or_until_it_is_over(bench):
    assert bench.fetcher.last_failure(section(1)) is None
    for number in (1, 2):
        bench.service.failures[number] = CutAnswerError("17 of 33 bytes")
        bench.fails(number, CutAnswerError)
    bench.now_s += 3599
    assert "17 of 33 bytes" in bench.fetcher.last_failure(section(1))
    del bench.service.failures[1]
    bench.get(1)
    assert bench.fetcher.last_failure(section(1)) is None
    assert bench.fetcher.last_failure(section(2)) is not None
    bench.now_s += 1
    assert bench.fetcher.last_failure(section(2)) is None


def fails_once(monkeypatch, module, name, number):
    """Let the next call of a function of the system fail; say that it was met."""
    real, met = getattr(module, name), []

    def failing(*args, **kwargs):
        if not met:
            met.append(name)
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, failing)
    return met


def test_a_disk_that_loses_a_download_costs_no_image(bench, monkeypatch, caplog):
    # as the check of a JPEG does, which the scripted service has none of
    real = bench.service.fetch

    def fetch(request, sink, *rest):
        answer = real(request, sink, *rest)
        sink.view()[0:10]
        return answer

    monkeypatch.setattr(bench.service, "fetch", fetch)
    met = fails_once(monkeypatch, os, "pread", errno.EIO)
    assert content(bench.get(1)) == DATA
    assert met
    assert bench.service.fetches[1] == 2
    assert len(warnings_in(caplog)) == 1
    bench.get(2)
    assert found(bench.store, 2) is not None  # and kept again


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [(os, "ftruncate", errno.EROFS), (fcntl, "flock", errno.ENOLCK)],
)
def test_a_download_that_cannot_be_begun_on_disk_goes_to_memory(
    bench, monkeypatch, caplog, module, name, number
):
    bench.store.load()
    met = fails_once(monkeypatch, module, name, number)
    temp_file = bench.store.temp_file()
    temp_file.restart()
    temp_file.write(DATA)
    assert met
    assert content(bench.store.add(section(1), temp_file, None)) == DATA
    assert len(warnings_in(caplog)) == 1
    assert downloads(bench.directory) == []
