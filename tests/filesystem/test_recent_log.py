"""The newest lines of the log: bounded, readable, and followed."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from allenfs.filesystem import recent_log
from allenfs.filesystem.recent_log import RecentLog


def log_of(*messages: object) -> RecentLog:
    kept = RecentLog()
    for message in messages:
        say(kept, message)
    return kept


def say(kept: RecentLog, message: object, *arguments: object) -> None:
    kept.handle(
        logging.LogRecord("allenfs.x", logging.INFO, "", 1, message, arguments, None)
    )


def text_of(kept: RecentLog) -> str:
    reader = kept.reader()
    return reader.read(0, 2**30).decode()


def test_a_line_has_time_level_and_logger():
    line = text_of(log_of("mounted"))
    assert line[:2] == "20"
    assert line.endswith(" INFO allenfs.x: mounted\n")


def test_nothing_logged_is_an_empty_file():
    assert RecentLog().reader().facts.size_bytes == 0
    assert text_of(RecentLog()) == ""


@pytest.mark.parametrize("control", ["\x1b[2J", "\r", "\x00", "\x9b", "\u202e", "\x07"])
def test_no_words_of_others_move_a_cursor(control):
    said = text_of(log_of(f"before{control}after"))
    assert control[0] not in said
    assert "before" in said
    assert said.count("\n") == 1


def test_what_is_no_unicode_is_escaped_and_what_cannot_be_formatted_is_left_out(
    monkeypatch,
):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    kept = log_of("a\udcffb")
    say(kept, "%d", "no number")
    assert text_of(kept).endswith("a\\udcffb\n")


def test_a_traceback_keeps_its_lines():
    kept = RecentLog()
    try:
        raise ValueError("x")
    except ValueError:
        kept.handle(
            logging.LogRecord(
                "allenfs.x", logging.ERROR, "", 1, "a bug", (), sys.exc_info()
            )
        )
    lines = text_of(kept).splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: x"


def test_the_newest_lines_are_kept_whole_and_a_quarter_of_a_megabyte_of_them():
    kept = log_of(*(f"{number:06} " + "x" * 1000 for number in range(1000)))
    lines = text_of(kept).splitlines()
    assert 250 * 1024 < sum(map(len, lines)) + len(lines) <= 256 * 1024
    assert " 000999 " in lines[-1]
    assert all(line.endswith("x" * 1000) for line in lines)


def test_one_endless_line_is_cut():
    kept = log_of("first", "y" * 10**7, "last")
    said = text_of(kept)
    assert len(said) < 20_000
    assert "first" in said
    assert said.endswith("last\n")


def test_a_reader_keeps_what_it_opened_and_gets_what_comes_behind_it():
    kept = log_of("one")
    reader = kept.reader()
    before = reader.read(0, 10_000)
    size = reader.facts.size_bytes
    assert len(before) == size
    say(kept, "two")
    assert reader.facts.size_bytes > size
    assert reader.read(0, size) == before
    assert reader.read(size, 10_000).endswith(b": two\n")
    assert reader.read(reader.facts.size_bytes, 10_000) == b""


def test_a_slow_follower_misses_no_line():
    kept = log_of("one")
    reader = kept.reader()
    size = reader.facts.size_bytes
    for number in range(1000):
        say(kept, f"{number:06} " + "x" * 1000)
    more = reader.read(size, 2**21)
    assert len(more.splitlines()) == 1000
    assert b" 000000 " in more.splitlines()[0]
    assert b" 000999 " in more.splitlines()[-1]
    assert more == reader.read(size, 2**21)


def test_open_readers_share_the_log_and_the_next_one_starts_over():
    kept = log_of("one")
    first = kept.reader()
    say(kept, "two")
    second = kept.reader()
    assert first.facts == second.facts
    size = first.facts.size_bytes
    assert first.read(0, size) == second.read(0, size)
    del first, second
    for number in range(1000):
        say(kept, f"{number:06} " + "x" * 1000)
    assert size < kept.reader().facts.size_bytes <= 256 * 1024
    assert text_of(kept).endswith("x\n")
    assert "one" not in text_of(kept)


def test_a_long_follower_starts_over_as_with_a_rotated_log(monkeypatch):
    monkeypatch.setattr(recent_log, "FOLLOWED_BYTES", 4000)
    monkeypatch.setattr(recent_log, "KEPT_BYTES", 1000)
    kept = log_of("one")
    reader, sizes = kept.reader(), []
    for number in range(200):
        say(kept, f"{number:06} " + "x" * 50)
        sizes.append(reader.facts.size_bytes)
        assert f" {number:06} ".encode() in reader.read(0, 10_000).splitlines()[-1]
    assert max(sizes) <= 4000
    assert sizes != sorted(sizes)


def test_many_threads_log_and_many_read_whole_lines():
    kept = RecentLog()

    def write(thread: int) -> None:
        for number in range(300):
            say(kept, f"<{thread} {number}>")

    def read(_: int) -> None:
        for _ in range(100):
            for line in text_of(kept).splitlines():
                assert line.endswith(">")

    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write, thread) for thread in range(4)]
        reading = [pool.submit(read, thread) for thread in range(4)]
        for done in writing + reading:
            done.result()
    assert len(text_of(kept).splitlines()) == 1200


def test_a_log_is_kept_for_a_block_and_no_longer():
    logger = logging.getLogger("allenfs.only_here")
    logger.propagate = False
    with RecentLog.of(logger.name) as kept:
        logger.warning("inside")
    logger.warning("outside")
    assert "inside" in text_of(kept)
    assert "outside" not in text_of(kept)
    assert logger.handlers == []
