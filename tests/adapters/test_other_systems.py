"""Reading without a mount needs nothing that only Linux has."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from mounted import STRICT_PYTHON, image_bytes
from pyramid import CHUNK_BYTES

from allenfs.sample.server import SampleService

IMAGE = "section/69750516/ds4/image.jpg"
DOCUMENT = "dataset/69782969/info.json"
CHUNK = "section/69750516/image.zarr/4/0/0/0"

# macOS and the BSDs lack these. They and bare containers also lack libfuse.
AS_ELSEWHERE = """
import errno, fcntl, os, resource, select, signal, socket, sys, time

LACKING = {
    os: "O_NOATIME O_DIRECT O_PATH O_TMPFILE O_LARGEFILE memfd_create pidfd_open "
    "eventfd getxattr setxattr listxattr removexattr copy_file_range splice getrandom "
    "pipe2 posix_fadvise posix_fallocate sched_getaffinity sched_setaffinity fdatasync "
    "getresuid setresuid",
    errno: "ENODATA EREMOTEIO ENOMEDIUM ENOTUNIQ",
    fcntl: "F_NOTIFY F_SETLEASE F_SETPIPE_SZ F_ADD_SEALS F_OFD_SETLK",
    resource: "prlimit",
    select: "epoll",
    signal: "pidfd_send_signal sigtimedwait sigwaitinfo SIGPWR SIGSTKFLT",
    socket: "AF_NETLINK AF_PACKET SO_BINDTODEVICE SO_DOMAIN SO_PROTOCOL SOCK_CLOEXEC "
    "SOCK_NONBLOCK TCP_USER_TIMEOUT TCP_QUICKACK TCP_CORK TCP_KEEPIDLE",
    time: "CLOCK_BOOTTIME CLOCK_TAI pthread_getcpuclockid",
}
for module, names in LACKING.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

def refuse(event, arguments):
    name = str(arguments[0]) if event in PATHS else ""
    if name.startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(errno.ENOENT, "not on this system", name)
    if event == "import" and arguments[0] in ("fuse", "mfusepy"):
        raise ImportError(arguments[0])
    if event == "ctypes.dlopen" and "fuse" in str(arguments[0]):
        raise OSError("no libfuse")

PATHS = {"open", "os.listdir", "os.scandir"}
sys.addaudithook(refuse)
"""
READ = """
import hashlib

import fsspec

api_url, directory, *paths = sys.argv[1:]
allen = fsspec.filesystem("allen", api_url=api_url, cache_dir=directory)
for path in paths:
    data = allen.cat(path)
    print(len(data), hashlib.sha256(data).hexdigest())
"""


@pytest.fixture(scope="module")
def service():
    with SampleService() as service:
        yield service


def read_by(script, service, directory):
    """Return length and digest of what the script reads, and its stderr."""
    command = [*STRICT_PYTHON, "-c", script, service.url, str(directory)]
    done = subprocess.run(
        [*command, IMAGE, DOCUMENT, CHUNK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_images_documents_and_chunks_are_read_without_what_linux_alone_has(
    service, tmp_path
):
    expected, _ = read_by("import sys" + READ, service, tmp_path / "here")
    image = image_bytes(service.url, IMAGE)
    assert expected[0] == f"{len(image)} {hashlib.sha256(image).hexdigest()}"
    assert expected[2].startswith(f"{CHUNK_BYTES} ")
    service.reset_counters()
    for _ in range(2):  # the second time from the store
        found = read_by(AS_ELSEWHERE + READ, service, tmp_path / "elsewhere")
        assert found == (expected, "")
    assert service.image_requests == 2


def test_images_are_kept_in_memory_without_what_linux_alone_has(service, tmp_path):
    expected, _ = read_by("import sys" + READ, service, tmp_path / "here")
    occupied = tmp_path / "file"
    occupied.touch()
    found, stderr = read_by(AS_ELSEWHERE + READ, service, occupied / "store")
    assert found == expected
    assert stderr.startswith("trouble with the store")
    assert len(stderr.splitlines()) == 1
