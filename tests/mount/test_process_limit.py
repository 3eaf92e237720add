"""Few processes allowed (`ulimit -u`), which count threads: an errno, and it recovers.

As a user other than root, whose processes are not counted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest
from mounted import image_bytes, is_bad
from plain_user import PlainUser

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
def user(place):
    with PlainUser(place, is_known=True) as user:
        yield user


@pytest.fixture
def mount_arguments(user, service):
    flags = ("--cache-dir", user.home / "store", "--log-file", user.home / "log")
    return ["mount", "--api-url", service.url, *flags, user.root]


@pytest.fixture
def mount(user, mount_arguments):
    """A mount of the user."""
    done = user.allenfs(*mount_arguments)
    assert (done.returncode, done.stderr) == (0, "")
    yield
    done = user.allenfs("umount", user.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert not user.is_mounted()


def pid_of(user):
    status = user.run("cat", user.root / ".allenfs/status.json")
    return int(json.loads(status.stdout)["pid"])


def limit(user, processes):
    """Limit processes and threads of the mount; those that exist do not end."""
    done = user.run("prlimit", f"--pid={pid_of(user)}", f"--nproc={processes}:")
    assert done.returncode == 0, done.stderr


def read(user, *paths):
    done = user.python(_READ_ALL, user.root, *paths)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bad_lines(user):
    return [*filter(is_bad, (user.home / "log").read_text().splitlines())]


def _expected(service, *paths):
    return [hashlib.sha256(image_bytes(service.url, one)).hexdigest() for one in paths]


@pytest.mark.both_libfuses
@pytest.mark.usefixtures("mount")
def test_thread_limit_is_eagain_with_one_warning_and_recovers(user, service):
    assert read(user, WARM) == _expected(service, WARM)
    limit(user, 1)
    cold = [*COLD, LISTING, SHEET]
    assert read(user, *cold) == [errno.EAGAIN] * len(cold)
    assert read(user, WARM) == _expected(service, WARM)
    (line,) = bad_lines(user)
    assert "cannot start a thread or process" in line
    # a few; those of the reader count, too
    threads = len(os.listdir(f"/proc/{pid_of(user)}/task"))
    limit(user, threads + 1 + len(COLD) + 6)
    expected = _expected(service, *COLD)
    for answer, right in zip(read(user, *COLD), expected, strict=True):
        assert answer in (errno.EAGAIN, right)
    limit(user, _MANY)
    assert read(user, *COLD) == expected
    assert all(isinstance(one, str) for one in read(user, LISTING, SHEET))
    assert all("ulimit -u" in line for line in bad_lines(user))


def test_mount_at_process_limit_fails_cleanly(user, mount_arguments):
    codes = []
    for processes in range(1, 13):
        done = user.allenfs(*mount_arguments, processes=processes)
        codes.append(done.returncode)
        if done.returncode == 0:
            assert "section" in user.run("ls", user.root).stdout.split()
            assert user.allenfs("umount", user.root).returncode == 0
        else:
            assert done.returncode == 3
            (line,) = done.stderr.splitlines()
            assert line.startswith("allenfs: ")
        assert not user.is_mounted(), f"{processes} allowed: {done.stderr}"
    assert (codes[0], codes[-1]) == (3, 0)


@pytest.mark.one_libfuse
@pytest.mark.usefixtures("mount")
def test_commands_that_can_start_nothing_are_one_line(user, service):
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
    assert read(user, WARM) == _expected(service, WARM)
