"""The filesystem's promises one by one, without FUSE."""

from __future__ import annotations

import errno
import gc
from pathlib import Path

import pytest
from model_world import (
    MAX_IMAGE_BYTES,
    PAGE,
    Attributes,
    Clock,
    DictionaryService,
    Kernel,
    bytes_of,
    fetcher_on,
    filesystem_of,
    mount,
    request_of,
)

from allenfs.errors import (
    BadHandleError,
    CutAnswerError,
    IsADirError,
    NoAttributeError,
    NotADirError,
    PathNotFoundError,
    StaleSizeError,
)
from allenfs.filesystem.filesystem import Filesystem
from allenfs.service.single_flight import Caller

PATH = "section/69750516/ds4/expression.jpg"
DATA = bytes_of(PATH, 1, 10_001)
MIB = 2**20


class World:
    def __init__(self, directory: Path) -> None:
        self.directory, self.clock = directory, Clock()
        self.service = DictionaryService()
        self.service.images[request_of(PATH)] = DATA
        fetcher = fetcher_on(self.service, directory, MIB, self.clock)
        self.fs = filesystem_of(fetcher, self.clock)
        self.attributes = Attributes(self.fs, fetcher)

    def mounted(self) -> Filesystem:
        return mount(self.service, self.directory, MIB, self.clock)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_stat_gives_a_bound_before_and_the_exact_size_after(world):
    before = world.fs.stat(PATH)
    assert (before.size_bytes, before.blocks) == (MIB, 0)
    assert world.service.fetches == 0
    opened, stale = Kernel(world.fs).open(PATH, 1, looks_up=True)
    assert stale == 1
    for fs, handle in ((world.fs, opened.handle), (world.fs, None)):
        after = fs.stat(PATH, handle)
        assert (after.size_bytes, after.blocks) == (len(DATA), -(-len(DATA) // 512))
    assert world.mounted().stat(PATH).size_bytes == len(DATA)  # after a restart
    assert world.service.fetches == 1


def test_no_bound_is_above_the_largest_image(tmp_path):
    fs = World(tmp_path).fs
    assert fs.stat("section/1/roi99999x99999/image.jpg").size_bytes == MAX_IMAGE_BYTES
    assert fs.stat("section/1/image.jpg").size_bytes == 256 * MIB
    assert fs.stat("section/1/roi10x10/image.jpg").size_bytes == 300 + 65_536


def test_times_are_stable_and_the_images_own(world):
    first = world.fs.stat(PATH).modified_ns
    assert world.fs.stat(PATH).modified_ns == first
    assert world.fs.stat("section").modified_ns == first
    Kernel(world.fs).open(PATH, 1, looks_up=True)
    told = {fs.stat(PATH).modified_ns for fs in (world.fs, world.mounted())}
    assert len(told) == 1


def test_an_exact_size_that_was_reported_outlives_the_image(world):
    """The kernel may hold pages of it: a bound now would pad them."""
    opened, _ = Kernel(world.fs).open(PATH, 1, looks_up=True)
    world.fs.release(opened.handle)
    del opened
    gc.collect()
    for path in (world.directory / "images").rglob("*.jpg"):
        path.unlink()
    attributes = world.fs.stat(PATH)
    assert (attributes.size_bytes, attributes.blocks) == (len(DATA), 0)


def test_each_caller_gets_estale_at_most_once(world):
    for caller in (1, 2):
        with pytest.raises(StaleSizeError) as raised:
            world.fs.open(PATH, caller=Caller(caller))
        assert raised.value.errno == errno.ESTALE
    for caller in (1, 2):
        opened = world.fs.open(PATH, caller=Caller(caller))
        assert opened.direct_io  # never requested the size: bypasses the page cache
        assert not opened.keep_cache
        assert world.fs.read(opened.handle, 0, 2**20) == DATA
        assert world.fs.read(opened.handle, len(DATA), 2**20) == b""
    assert world.service.fetches == 1


def test_a_kernel_that_knows_the_size_opens_at_once_and_keeps_its_pages(world):
    kernel = Kernel(world.fs)
    first, _ = kernel.open(PATH, 1, looks_up=True)
    assert (first.direct_io, first.keep_cache) == (False, False)
    for caller in (1, 2):
        again, stale = kernel.open(PATH, caller, looks_up=True)
        assert stale == 0
        assert (again.direct_io, again.keep_cache) == (False, True)


def test_the_pages_of_another_image_are_not_kept(world):
    kernel = Kernel(world.fs)
    opened, _ = kernel.open(PATH, 1, looks_up=True)
    world.fs.release(opened.handle)
    del opened
    gc.collect()
    for path in (world.directory / "images").rglob("*.jpg"):
        path.unlink()
    other = bytes_of(PATH, 2, len(DATA))  # of the same size
    world.service.images[request_of(PATH)] = other
    opened, _ = kernel.open(PATH, 1, looks_up=True)
    assert not opened.keep_cache
    assert kernel.read_all(PATH, opened, 7) == other


def test_a_size_that_another_mount_changed_is_reported_again(world):
    kernel = Kernel(world.fs)
    kernel.look_up(PATH)
    Kernel(world.mounted()).open(PATH, 1, looks_up=True)
    with pytest.raises(StaleSizeError):
        world.fs.open(PATH, caller=Caller(1))
    assert kernel.look_up(PATH) == len(DATA)
    opened = world.fs.open(PATH, caller=Caller(1))
    assert kernel.read_all(PATH, opened, 70_000) == DATA
    assert world.service.fetches == 1


def test_a_second_open_that_never_comes_is_not_waited_for(world):
    """After 10 s the image is dropped, and the next open starts over."""
    with pytest.raises(StaleSizeError):
        world.fs.open(PATH, caller=Caller(1))
    for path in (world.directory / "images").rglob("*.jpg"):
        path.unlink()
    world.clock.now_s += 10.1
    with pytest.raises(StaleSizeError):
        world.fs.open(PATH, caller=Caller(2))
    world.fs.open(PATH, caller=Caller(2))
    with pytest.raises(StaleSizeError):
        world.fs.open(PATH, caller=Caller(1))


def test_a_read_of_pages_behind_the_end_is_stale_not_short(world):
    opened, _ = Kernel(world.fs).open(PATH, 1, looks_up=True)
    assert world.fs.read(opened.handle, 2 * PAGE, PAGE) == DATA[2 * PAGE :]
    for offset, size in ((2 * PAGE, PAGE + 1), (3 * PAGE, 1), (MIB, MIB)):
        with pytest.raises(StaleSizeError):
            world.fs.read(opened.handle, offset, size)


def test_handles_are_never_reused_and_die_with_their_release(world):
    kernel = Kernel(world.fs)
    seen = set()
    for _ in range(50):
        opened, _ = kernel.open(PATH, 1, looks_up=True)
        seen.add(opened.handle)
        world.fs.release(opened.handle)
        with pytest.raises(BadHandleError):
            world.fs.release(opened.handle)
        with pytest.raises(BadHandleError):
            world.fs.read(opened.handle, 0, 1)
    assert len(seen) == 50
    assert 0 not in seen  # what an unset handle looks like


@pytest.mark.parametrize("path", ["", "/", "section", "section/1", "section/1/ds4"])
def test_a_directory_is_stat_but_not_opened(world, path):
    attributes = world.fs.stat(path)
    assert attributes.is_dir
    assert attributes.blocks == 0
    assert isinstance(world.fs.names(path), list)
    with pytest.raises(IsADirError):
        world.fs.open(path)


def test_a_file_has_no_names_in_it(world):
    with pytest.raises(NotADirError):
        world.fs.names(PATH)


@pytest.mark.parametrize("path", [".Trash", "section/007", "section/1/dsx", "\udcff"])
def test_a_name_outside_the_grammar_is_enoent_everywhere(world, path):
    for look in (
        world.fs.stat,
        world.fs.names,
        world.fs.open,
        world.attributes.names,
        lambda path: world.attributes.value(path, "user.allenfs.url"),
    ):
        with pytest.raises(PathNotFoundError):
            look(path)
    assert world.service.fetches == 0


def test_a_walk_over_everything_listed_downloads_nothing(world):
    opened, _ = Kernel(world.fs).open(PATH, 1, looks_up=True)
    world.fs.release(opened.handle)
    waiting, seen = [""], 0
    while waiting:
        path = waiting.pop()
        for name in world.fs.names(path):
            below = f"{path}/{name}".strip("/")
            seen += 1
            if below in ("dataset", "browse", "structure"):  # the catalog's
                continue
            world.attributes.names(below)
            if world.fs.stat(below).is_dir:
                waiting.append(below)
    assert seen == 6 + 1 + 13 + 8 * 5  # the root, the one image, its tree
    assert world.service.fetches == 1


def test_the_attributes_say_the_url_and_why_it_failed(world):
    always = ["user.allenfs.url", "user.allenfs.size_known"]
    assert world.attributes.names(PATH) == always
    assert world.attributes.value(PATH, "user.allenfs.size_known") == b"false"
    assert world.attributes.value(PATH, "user.allenfs.url") == (
        b"http://h/api/v2/image_download/69750516?downsample=4&view=expression"
    )
    for path, name in (
        (PATH, "user.allenfs.error"),
        (PATH, "user.x"),
        ("", "user.allenfs.url"),
    ):
        with pytest.raises(NoAttributeError):
            world.attributes.value(path, name)
    assert world.attributes.names("section") == []
    world.service.fail_next = [CutAnswerError("17 of 33 bytes")]
    with pytest.raises(CutAnswerError):
        world.fs.open(PATH)
    assert world.attributes.names(PATH) == [*always, "user.allenfs.error"]
    assert b"17 of 33 bytes" in world.attributes.value(PATH, "user.allenfs.error")
    world.clock.now_s += 10
    Kernel(world.fs).open(PATH, 1, looks_up=True)
    here = [*always, "user.allenfs.sha256", "user.allenfs.fetched"]
    assert world.attributes.names(PATH) == here
    assert world.attributes.value(PATH, "user.allenfs.size_known") == b"true"
    with pytest.raises(NoAttributeError):
        world.attributes.value(PATH, "user.allenfs.error")


def test_a_failed_open_leaves_no_handle_and_no_size(world):
    world.service.fail_next = [CutAnswerError("cut")]
    with pytest.raises(CutAnswerError):
        world.fs.open(PATH, caller=Caller(1))
    assert world.fs.stat(PATH).size_bytes == MIB
    assert world.fs.names("section") == []
    world.clock.now_s += 10
    kernel = Kernel(world.fs)
    opened, _ = kernel.open(PATH, 1, looks_up=True)
    assert kernel.read_all(PATH, opened, 4095) == DATA
    assert world.fs.names("section") == ["69750516"]
    assert world.service.fetches == 2


def test_two_paths_of_one_request_are_one_image(world):
    for path in (PATH, "section/69750516/ds4/expression.jpg"):
        Kernel(world.fs).open(path, 1, looks_up=True)
    other = "section/69750516/ds4/roi+5+5/expression.jpg"
    twin = "section/69750516/roi+5+5/ds4/expression.jpg"
    world.service.images[request_of(other)] = b"region"
    for path in (other, twin):
        kernel = Kernel(world.fs)
        opened, _ = kernel.open(path, 1, looks_up=True)
        assert kernel.read_all(path, opened, 3) == b"region"
    assert world.service.fetches == 2


def test_where_nothing_is_mounted_there_is_nothing_that_tells_of_it(world):
    for path in (".allenfs", ".allenfs/status.json", ".allenfs/log"):
        with pytest.raises(PathNotFoundError):
            world.fs.stat(path)
        with pytest.raises(PathNotFoundError):
            world.fs.open(path)
        with pytest.raises(PathNotFoundError):
            world.fs.names(path)
    assert ".allenfs" not in world.fs.names("")
