"""The file of a log: renamed, removed, full, and written again."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from allenfs.mount.log_output import LogOutput


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "allenfs" / "allenfs.log"


@pytest.fixture
def output(file):
    output = LogOutput(file)
    output.prepare()
    output.setFormatter(logging.Formatter("%(message)s"))
    yield output
    output.close()


def say(output: LogOutput, message: str, *arguments: object) -> str | None:
    record = logging.LogRecord("x", logging.INFO, "", 1, message, arguments, None)
    output.handle(record)
    return output.failure


def test_renamed_log_is_reopened_and_truncated_log_continues(output, file):
    assert say(output, "%s, %s", "мозг", "a\udcffb") is None
    rotated = file.rename(file.with_name("allenfs.log.1"))
    say(output, "two")
    assert rotated.read_text() == "мозг, a\\udcffb\n"
    assert file.read_text() == "two\n"
    os.truncate(file, 0)
    say(output, "three")
    assert file.read_text() == "three\n"


def test_a_removed_directory_is_created_again_but_not_its_parents(output, file):
    shutil.rmtree(file.parent)
    assert say(output, "one") is None
    assert file.read_text() == "one\n"
    assert file.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(file.parent.parent)
    assert say(output, "lost") == "No such file or directory"
    assert not file.parent.parent.exists()
    file.parent.parent.mkdir()
    assert say(output, "one") is None
    assert file.read_text() == "one\n"


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (lambda file: file.symlink_to("/dev/full"), "No space left on device"),
        (os.mkfifo, "No such device or address"),
    ],
)
def test_full_disk_or_pipe_without_reader_loses_lines_until_it_is_gone(
    output, file, replace, reason
):
    file.unlink()
    replace(file)
    for _ in range(2):
        assert say(output, "lost") == reason
    file.unlink()
    assert say(output, "one") is None
    assert file.read_text() == "one\n"


class Unprintable:
    def __str__(self) -> str:
        raise KeyError("bug")


def test_a_message_that_cannot_be_formatted_is_a_failure(output, file):
    assert say(output, "%s", Unprintable()) == "KeyError: 'bug'"
    reason = "TypeError: not enough arguments for format string"
    assert say(output, "%d %d", 1) == reason
    assert say(output, "one") is None
    output.close()  # the next line opens it again
    assert say(output, "two") is None
    assert file.read_text() == "one\ntwo\n"


def test_a_log_that_cannot_be_made_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        LogOutput(tmp_path / "file" / "log").prepare()
    with pytest.raises(IsADirectoryError):
        LogOutput(tmp_path).prepare()


def test_lines_of_many_threads_are_whole_while_the_log_is_renamed(output, file):
    written = [f"{number:04}" * 50 for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        failures = pool.map(lambda line: say(output, line), written)
        for number in range(20):
            if file.exists():
                file.rename(file.with_name(f"log.{number}"))
        assert set(failures) == {None}
    text = "".join(path.read_text() for path in file.parent.iterdir())
    assert sorted(text.splitlines()) == written


def test_a_file_system_that_hangs_delays_one_line_and_loses_none(
    output, file, monkeypatch
):
    back, write = threading.Event(), os.write

    def hang(fd: int, data: bytes) -> int:
        assert back.wait(30)
        return write(fd, data)

    monkeypatch.setattr(os, "write", hang)
    try:
        assert say(output, "0") == "it does not respond"
        started_s = time.monotonic()
        for number in range(1, 100):
            assert say(output, str(number)) == "it does not respond"
        assert time.monotonic() - started_s < 30  # and not 1 s each
    finally:
        back.set()
    while output.failure is not None or file.read_text().count("\n") < 100:
        time.sleep(0.01)  # the thread that writes has no event to wait for
    assert say(output, "100") is None
    assert file.read_text().split() == [str(number) for number in range(101)]
