"""The ledger of a mount: every count, and what is under way."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from store_helpers import section

from allenfs.errors import (
    BusyError,
    ImageNotFoundError,
    PortalError,
    ServiceTimeoutError,
    UnreachableError,
    WebPageError,
)
from allenfs.fetch.metrics import (
    DOWNLOADING,
    PAUSING,
    STORING,
    WAITING,
    Activity,
    Contact,
    Counts,
    FailureStatus,
)
from allenfs.service.slots import Priority, Slots
from allenfs.store.stored_file import TempFile
from allenfs.text import utc_time

NOW_NS = 1_000_000_000


class World:
    """An activity whose time stands still, and one slot."""

    def __init__(self):
        self.now_s = 100.0
        self.activity = Activity(
            "http://h", clock=lambda: self.now_s, clock_ns=lambda: NOW_NS
        )
        self.slots = Slots(1)

    @contextlib.contextmanager
    def downloading(self, number=1, *, is_ahead=False):
        temp_file = TempFile(None, pytest.fail)
        with contextlib.closing(temp_file):
            with self.activity.downloading(
                section(number),
                temp_file,
                self.slots.at(Priority.IMAGE),
                is_ahead=is_ahead,
            ) as slot:
                yield slot, temp_file

    def download(self, number=1, *, is_ahead=False):
        with self.downloading(number, is_ahead=is_ahead) as (slot, temp_file):
            with slot:
                temp_file.restart()
                temp_file.write(bytes(10))


@pytest.fixture
def world():
    return World()


def test_an_open_is_a_hit_a_miss_or_a_failure():
    activity = Activity()
    assert activity.counts == Counts()
    assert activity.contact == Contact(None, None, None, None)
    assert activity.failures == activity.downloads == []
    for was_here in (True, True, True, False):
        activity.opened(section(1), was_here=was_here)
    activity.add("failed")
    activity.add("hits", -1)  # the kernel repeated an open
    assert activity.counts == Counts(hits=2, misses=1, failed=1)


def test_every_count_is_exact_with_many_threads(world):
    threads, times = 8, 250

    def work(number):
        for _ in range(times):
            world.activity.opened(section(number), was_here=bool(number % 2))
            world.activity.add("read_bytes", 3)
            world.activity.attempted(None)
            world.download(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(1, threads + 1)))
    total = threads * times
    assert world.activity.counts == Counts(
        hits=total // 2,
        misses=total // 2,
        read_bytes=3 * total,
        requests=total,
        downloads=total,
        downloaded_bytes=10 * total,
    )


def test_a_download_is_shown_from_its_wait_to_its_end(world):
    def told():
        (only,) = world.activity.downloads
        return only

    with world.downloading(7) as (slot, temp_file):
        url = "http://h/api/v2/image_download/7"
        assert (told().path, told().url) == ("section/7/image.jpg", url)
        assert (told().state, told().attempt, told().bytes) == (WAITING, 0, 0)
        with contextlib.suppress(BusyError), slot:
            temp_file.restart()
            temp_file.expect(400)
            temp_file.write(bytes(100))
            world.now_s += 5
            assert (told().state, told().attempt) == (DOWNLOADING, 1)
            assert (told().bytes, told().total_bytes, told().seconds) == (100, 400, 5)
            raise BusyError("HTTP 503")
        assert told().state == PAUSING
        with slot:
            temp_file.restart()
            assert told().attempt == 2
            assert (told().bytes, told().total_bytes) == (0, None)
            temp_file.write(bytes(400))
        assert told().state == STORING
    assert world.activity.downloads == []
    assert world.activity.counts == Counts(downloads=1, downloaded_bytes=500)


def test_a_download_that_waits_for_its_slot_is_shown_as_waiting(world):
    with ThreadPoolExecutor(1) as pool:
        with world.slots.at(Priority.IMAGE):
            waiting = pool.submit(world.download)
            pause = threading.Event()
            while not world.slots.waiting:
                assert not waiting.done()
                pause.wait(0.001)
            assert [one.state for one in world.activity.downloads] == [WAITING]
        waiting.result()


def test_a_failed_download_is_not_counted_and_leaves_nothing_in_progress(world):
    with pytest.raises(BusyError):
        with world.downloading(is_ahead=True) as (slot, temp_file):
            with slot:
                temp_file.write(bytes(30))
                raise BusyError("HTTP 503")
    assert world.activity.downloads == []
    assert world.activity.counts == Counts(downloaded_bytes=30)
    assert world.slots.in_use == 0


def test_what_was_downloaded_ahead_is_used_once_by_its_first_open(world):
    for number in (1, 2, 4):
        world.download(number, is_ahead=True)
    world.download(3)
    world.download(4)  # it was evicted in between: of no use
    for number in (1, 1, 3):
        world.activity.opened(section(number), was_here=True)
    world.activity.opened(section(4), was_here=False)
    counts = world.activity.counts
    assert (counts.ahead, counts.ahead_used) == (3, 1)


@pytest.mark.parametrize(
    ("error", "is_reachable"),
    [
        (None, True),
        (ImageNotFoundError("HTTP 404"), True),
        (BusyError("HTTP 503"), True),
        (UnreachableError("refused"), False),
        (ServiceTimeoutError("no byte for 30 s"), False),
        (PortalError("HTTP 511"), False),
        (WebPageError("a web page"), False),
    ],
)
def test_an_answer_is_an_answer_whatever_it_says(world, error, is_reachable):
    activity = world.activity
    activity.attempted(error)
    assert activity.contact == Contact(
        is_reachable,
        NOW_NS if is_reachable else None,
        NOW_NS if error else None,
        error.cause if error else None,
    )
    assert activity.counts == Counts(requests=1, failed_requests=int(error is not None))
    activity.attempted(None)  # it comes back, and its failure is not forgotten
    assert activity.contact.is_reachable
    assert activity.contact.cause == (error.cause if error else None)


def test_the_newest_twenty_failures_are_kept_the_newest_first(world):
    for number in range(25):
        error = ImageNotFoundError("HTTP 404")
        error.url = f"http://h/{number}"
        world.activity.failed(f"section/{number}/image.jpg", error)
    failures = world.activity.failures
    assert len(failures) == 20
    assert failures[0] == FailureStatus(
        time=utc_time(NOW_NS),
        path="section/24/image.jpg",
        url="http://h/24",
        cause="HTTP 404",
        errno="ENOENT",
    )
    assert failures[-1].path == "section/5/image.jpg"
