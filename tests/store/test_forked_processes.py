"""A child that is forked during downloads leaves them, and their locks, to its parent.

``flock`` belongs to the open file, and a forked child has all open files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess

import pytest
from mounted import STRICT_PYTHON, image_bytes, until

from allenfs.assembly import assemble
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.model.tree import parse, request_of
from allenfs.sample.server import SampleService

PATHS = [f"section/69750516/ds6/q{n}/image.jpg" for n in range(4)]
DOWNLOADS = len(PATHS) - 1
# The parent forks while it downloads all but the first. Each line that it reads lets it
# go on; the child reads the last one.
FORKING = """
import gc, hashlib, os, sys, threading
from pathlib import Path

from allenfs.assembly import assemble
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.model.tree import parse, request_of

api_url, directory, *paths = sys.argv[1:]
store = StoreSettings(Path(directory), 2**30, "test")
assembly = assemble(ServiceSettings(api_url, proxy=""), store)
digests = {}

def image_of(path):
    return assembly.fetcher.get(request_of(parse(path)))

def digest(image):
    return hashlib.sha256(image.read(0, 2**30)).hexdigest()

def read(path):
    digests[path] = digest(image_of(path))

image = image_of(paths[0])
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=read, args=(path,)) for path in paths[1:]]
for thread in threads:
    thread.start()
sys.stdin.readline()
if not os.fork():
    del assembly, threads
    gc.collect()
    print("child", digest(image), flush=True)
    sys.stdin.readline()
    sys.exit()
os.wait()
print("child ended", flush=True)
for thread in threads:
    thread.join()
print(*map(digests.get, paths[1:]), flush=True)
"""


@pytest.fixture
def service():
    with SampleService() as service:
        yield service


@pytest.fixture
def images(service):
    """The images that the parent downloads."""
    images = [image_bytes(service.url, path) for path in PATHS]
    service.reset_counters()
    return images


@contextlib.contextmanager
def forked(service, images, directory):
    """Yield a process that downloads four images, and has a child."""
    with subprocess.Popen(
        [*STRICT_PYTHON, "-c", FORKING, service.url, str(directory), *PATHS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            service.pause()
            process.stdin.write(b"download\n")
            until(lambda: service.image_requests == len(PATHS))
            process.stdin.write(b"fork\n")
            assert process.stdout.readline() == b"child %s\n" % digest_of(images[0])
            yield process
        finally:
            process.kill()


def digest_of(image):
    return hashlib.sha256(image).hexdigest().encode()


def locked_files(directory):
    files = [*directory.glob("locks/test/*"), *directory.glob("incoming/*")]
    return {file.name for file in files if is_locked(file)}


def is_locked(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_killed_parent_frees_everything_although_its_child_lives(
    service, images, tmp_path
):
    with forked(service, images, tmp_path) as parent:
        assert len(locked_files(tmp_path)) == 3 * DOWNLOADS
        parent.kill()
        parent.wait()
        assert locked_files(tmp_path) == set()
        service.resume()
        service.reset_counters()
        store = StoreSettings(tmp_path, 2**30, "test")
        fetcher = assemble(ServiceSettings(service.url), store).fetcher
        for path in PATHS:
            image = fetcher.get(request_of(parse(path)))
            assert image.read(0, 2**30) == image_bytes(service.url, path)
        assert service.image_requests == DOWNLOADS + len(
            PATHS
        )  # the latter by the test
        assert [*tmp_path.glob("incoming/*")] == []
        parent.stdin.close()
        assert parent.stdout.read() == b""  # the child has ended


def test_a_child_that_ends_takes_nothing_from_its_parent(service, images, tmp_path):
    with forked(service, images, tmp_path) as parent:
        before = locked_files(tmp_path)
        parent.stdin.write(b"end\n")
        assert parent.stdout.readline() == b"child ended\n"
        assert locked_files(tmp_path) == before
        service.resume()
        digests = parent.stdout.readline().split()
        assert digests == [digest_of(image) for image in images[1:]]
        assert parent.wait() == 0
