"""``allen://`` in real processes: forks, spawns, signals, and the end of a program."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from mounted import STRICT_PYTHON, image_bytes, until

README = Path(__file__).parents[2] / "README.md"
IMAGE, OTHER = "section/69750516/ds6/image.jpg", "section/69750516/ds7/image.jpg"
PRELUDE = """
import hashlib, json, multiprocessing, os, sys, threading, warnings

import fsspec

warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads: the point
options, (image, other) = json.loads(sys.argv[1])
allen = fsspec.filesystem("allen", **options)

def digest(path):
    return hashlib.sha256(allen.cat(path)).hexdigest()

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())  # in one piece
"""
# A download is under way when this process is forked; each of the two ends as a
# program does, and reads what the other wants.
FORKS = """
thread = threading.Thread(target=digest, args=[image])
thread.start()
input()
if child := os.fork():
    say("parent", digest(image))
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
else:
    say("forked")
    say("child", digest(image), digest(other))
"""
# What is read later imports nothing: an import that is under way when a process is
# forked never ends in the child.
IMPORTS = """
allen.cat(image)
loaded, section = {*sys.modules}, "section/69750516"
for drawn in (f"{section}/image.zarr/5/0/0/0", f"{section}/dataset/contact_sheet.jpg"):
    assert allen.cat(drawn)
say(*{*sys.modules} - loaded)
"""
POOLS = """
digest(image)
for method in ("fork", "spawn"):
    with multiprocessing.get_context(method).Pool(2) as pool:
        images = pool.map(allen.cat, [image, other])
        say(*(hashlib.sha256(one).hexdigest() for one in images))
"""
# The sample starts and draws in threads, which forks interrupt anywhere.
FIRST_USES = """
def first(number):
    # one instance for each thread, all with equal options
    fsspec.filesystem("allen", **options).cat(f"section/69750516/ds{number}/image.jpg")

threads = [threading.Thread(target=first, args=[5 + number]) for number in range(4)]
for thread in threads:
    thread.start()
children = []
for _ in range(4):
    if not (child := os.fork()):
        digest(image)
        os._exit(0)
    children.append(child)
    threads[0].join(0.03)  # at different moments of the drawings
say(*(str(os.waitpid(child, 0)[1]) for child in children))
"""
WAITS = """
try:
    allen.cat(image)
except KeyboardInterrupt:
    say("interrupted")
"""
# The signal arrives after a download was noted, and before it has a thread.
INTERRUPTED_ANYWHERE = """
import signal

from allenfs.service import single_flight

start = single_flight.start_thread

def interrupted(thread):
    single_flight.start_thread = start
    signal.raise_signal(signal.SIGINT)
    start(thread)

single_flight.start_thread = interrupted
try:
    allen.cat(image)
except KeyboardInterrupt:
    say("interrupted")
say(digest(image))
"""
# The main thread is interrupted; Python waits for the pool, which has one more to read.
# zarr starts its pool in a daemon thread, whose threads are daemons.
POOL_WAITS = """
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
given = dict(target=pool.map, args=[allen.cat, [image, other]], daemon={daemon})
threading.Thread(**given).start()
threading.Event().wait()
"""
ENDS = """
threading.Thread(target=allen.cat, args=[image], daemon=True).start()
input()
"""
# What is registered first runs last.
CLOSES = """
import atexit

def sockets():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.islink(link)]

@atexit.register
def report():
    say(*[name for name in sockets() if name.startswith("socket:")])

digest(image)
assert any(name.startswith("socket:") for name in sockets())
"""
# Nothing of FUSE is loaded; the sample serves in this process, and is stopped.
SAMPLE = """
say(digest(image))
assert not {"fuse", "mfusepy", "allenfs.adapters.fuse_operations"} & {*sys.modules}
"""


@pytest.fixture
def program(opened):
    """Starts a program that has `allen`; ends without a word to stderr."""
    running = []

    def started(code, **options):
        given = json.dumps([options or opened.keywords, [IMAGE, OTHER]])
        process = subprocess.Popen(
            [*STRICT_PYTHON, "-c", PRELUDE + code, given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield started
    for process in running:
        process.kill()
        process.communicate()


def printed(process, said=None):
    """Return the lines of a program, once it has ended as it should."""
    stdout, stderr = process.communicate(said)
    assert stderr == ""
    assert process.returncode == 0
    return stdout.splitlines()


def digests(service, *paths):
    return [hashlib.sha256(image_bytes(service.url, one)).hexdigest() for one in paths]


def test_a_child_forked_during_a_download_begins_anew(program, service):
    service.pause()
    process = program(FORKS)
    until(lambda: service.image_requests == 1)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "forked\n"
    service.resume()
    lines = printed(process)
    assert service.image_requests == 2  # the child waits for the parent's download
    image, other = digests(service, IMAGE, OTHER)
    assert sorted(lines) == [f"child {image} {other}", f"parent {image}"]


def test_instances_work_in_forked_and_spawned_processes(program, service):
    lines = printed(program(POOLS))
    assert service.image_requests == 2
    assert lines == [" ".join(digests(service, IMAGE, OTHER))] * 2


def test_a_download_imports_nothing_that_a_forked_child_would_wait_for(program):
    assert printed(program(IMPORTS)) == [""]


def test_children_forked_during_first_uses_read_as_well(program, tmp_path):
    process = program(FIRST_USES, sample=True, cache_dir=str(tmp_path / "sample"))
    assert printed(process) == ["0 0 0 0"]


def test_ctrl_c_ends_a_wait_and_the_program(program, service):
    service.pause()
    process = program(WAITS)
    until(lambda: service.image_requests == 1)
    process.send_signal(signal.SIGINT)
    assert printed(process) == ["interrupted"]
    service.resume()


def test_ctrl_c_at_any_moment_leaves_an_image_that_can_be_read(program, service):
    lines = printed(program(INTERRUPTED_ANYWHERE))
    assert lines == ["interrupted", *digests(service, IMAGE)]


@pytest.mark.parametrize("daemon", [False, True])
def test_ctrl_c_ends_a_pool_of_threads_that_waits(program, service, daemon):
    service.pause()
    process = program(POOL_WAITS.format(daemon=daemon))
    until(lambda: service.image_requests == 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert service.image_requests == 1  # the other one is not started
    service.resume()


def test_a_program_ends_during_a_download_without_a_word(program, service):
    service.pause()
    process = program(ENDS)
    until(lambda: service.image_requests == 1)
    assert printed(process, "\n") == []
    service.resume()


def test_a_program_closes_its_connections_when_it_ends(program):
    assert printed(program(CLOSES)) == [""]


def test_the_embedded_sample_needs_neither_fuse_nor_network(program, service, tmp_path):
    process = program(SAMPLE, sample=True, cache_dir=str(tmp_path / "sample"))
    assert printed(process) == digests(service, IMAGE)
    assert service.image_requests == 1  # that of the test


def test_the_readme_s_example_works_as_it_stands(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (line,) = printed(program(example))
    assert re.fullmatch("[1-9][0-9]* [0-9]{4,}", line)
    assert json.loads(Path("info.json").read_bytes())["id"] == 69782969
