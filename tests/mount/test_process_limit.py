"""Few processes allowed (`ulimit -u`), which count threads: an errno, and it recovers.

Of a user who is not root: root's are not counted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import image_bytes, is_bad
from plain_user import PlainUser

from allenfs.sample.server import SampleService

WARM = "section/69750516/ds7/image.jpg"
COLD = [f"section/69750516/ds7/q{quality}/image.jpg" for quality in range(30)]
LISTING = "dataset/71670687/ds6"
SHEET = "dataset/71670687/contact_sheet.jpg"
_MANY = 1000
# of each path: an errno, or the SHA-256 of what it is
_READ_ALL = """
import concurrent.futures, hashlib, json, os, sys
def read(path):
    try:
        if os.path.isdir(path):
            return hashlib.sha256("".join(os.listdir(path)).encode()).hexdigest()
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return error.errno
root, *paths = sys.argv[1:]
with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
    print(json.dumps(list(pool.map(read, (os.path.join(root, one) for one in paths)))))
"""


@pytest.fixture
def user(place: Path) -> Iterator[PlainUser]:
    with PlainUser(place, is_known=True) as user:
        yield user


class Mount:
    """A mount of the user, whose process gets a limit while it runs."""

    def __init__(self, user: PlainUser) -> None:
        self._user = user

    def limit(self, processes: int) -> None:
        """Limit processes and threads; those that exist do not end."""
        done = self._user.run("prlimit", f"--pid={self.pid}", f"--nproc={processes}:")
        assert done.returncode == 0, done.stderr

    @property
    def pid(self) -> int:
        status = self._user.run("cat", self._user.root / ".allenfs/status.json")
        return int(json.loads(status.stdout)["pid"])

    def read(self, *paths: str) -> list[int | str]:
        done = self._user.python(_READ_ALL, self._user.root, *paths)
        assert done.returncode == 0, done.stderr
        answers: list[int | str] = json.loads(done.stdout)
        return answers

    @property
    def bad_lines(self) -> list[str]:
        lines = (self._user.home / "log").read_text().splitlines()
        return [line for line in lines if is_bad(line)]


def mount_arguments(user: PlainUser, service: SampleService) -> list[str | Path]:
    flags = ("--cache-dir", user.home / "store", "--log-file", user.home / "log")
    return ["mount", "--api-url", service.url, *flags, user.root]


@pytest.fixture
def mount(user: PlainUser, service: SampleService) -> Iterator[Mount]:
    done = user.allenfs(*mount_arguments(user, service))
    assert (done.returncode, done.stderr) == (0, "")
    yield Mount(user)
    done = user.allenfs("umount", user.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert not user.is_mounted()


def _expected(service: SampleService, path: str) -> str:
    return hashlib.sha256(image_bytes(service.url, path)).hexdigest()


@pytest.mark.both_libfuses
def test_thread_limit_is_eagain_with_one_warning_and_recovers(
    mount: Mount, service: SampleService
) -> None:
    warm = _expected(service, WARM)
    assert mount.read(WARM) == [warm]
    mount.limit(1)
    cold = [*COLD, LISTING, SHEET]
    assert mount.read(*cold) == [errno.EAGAIN] * len(cold)
    assert mount.read(WARM) == [warm]
    (line,) = mount.bad_lines
    assert "cannot start a thread or process" in line
    assert "ulimit -u" in line

    mount.limit(_MANY)
    assert mount.read(*COLD) == [_expected(service, path) for path in COLD]
    assert all(isinstance(one, str) for one in mount.read(LISTING, SHEET))
    assert mount.bad_lines == [line]


def test_with_a_few_threads_thirty_opens_are_right_or_eagain(
    mount: Mount, service: SampleService
) -> None:
    threads = len(os.listdir(f"/proc/{mount.pid}/task"))
    # those of the reader count, too
    mount.limit(threads + 1 + len(COLD) + 6)
    for path, answer in zip(COLD, mount.read(*COLD), strict=True):
        assert answer in (errno.EAGAIN, _expected(service, path))
    assert [line for line in mount.bad_lines if "ulimit -u" not in line] == []

    mount.limit(_MANY)
    assert mount.read(*COLD) == [_expected(service, path) for path in COLD]


def test_mount_at_process_limit_fails_cleanly(
    user: PlainUser, service: SampleService
) -> None:
    codes = []
    for processes in range(1, 13):
        done = user.allenfs(*mount_arguments(user, service), processes=processes)
        codes.append(done.returncode)
        if done.returncode == 0:
            names = user.run("ls", user.root).stdout.split()
            assert "section" in names
            assert user.allenfs("umount", user.root).returncode == 0
        else:
            assert done.returncode == 3
            (line,) = done.stderr.splitlines()
            assert line.startswith("allenfs: ")
        assert not user.is_mounted(), f"{processes} allowed: {done.stderr}"
    assert codes[0] == 3
    assert codes[-1] == 0


@pytest.mark.one_libfuse
def test_commands_that_can_start_nothing_are_one_line(
    mount: Mount, user: PlainUser, service: SampleService
) -> None:
    store = ("--cache-dir", user.home / "other")
    for command in (
        ["status", user.root],
        ["umount", user.root],
        ["prefetch", user.root / WARM],
        ["prefetch", "--api-url", service.url, *store, WARM],
    ):
        assert "ulimit -u" in user.fails(1, *command, processes=1), command
    doctor = ("doctor", "--api-url", service.url, *store)
    done = user.allenfs(*doctor, processes=1)
    assert (done.returncode, done.stderr) == (1, "")
    assert "cannot start a thread or process" in done.stdout
    assert "bug" not in done.stdout
    assert mount.read(WARM) == [_expected(service, WARM)]
