"""The ledger of a mount: every count, and what is under way."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

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
from allenfs.model.images import ImageRequest, ImageService
from allenfs.service.slots import Priority, Slots
from allenfs.store.stored_file import TempFile
from allenfs.text import utc_time

if TYPE_CHECKING:
    from allenfs.errors import ServiceError

NOW_NS = 1_000_000_000


def request(number: int = 1) -> ImageRequest:
    return ImageRequest(ImageService.SECTION, number)


def unwarned(error: OSError) -> None:
    raise error


class World:
    """An activity whose time stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.activity = Activity(
            "http://h", clock=lambda: self.now_s, clock_ns=lambda: NOW_NS
        )
        self.slots = Slots(1)

    def download(
        self, number: int = 1, *, is_ahead: bool = False, size: int = 10
    ) -> None:
        temp_file = TempFile(None, unwarned)
        with self.activity.downloading(
            request(number), temp_file, self.slots.at(Priority.IMAGE), is_ahead=is_ahead
        ) as slot:
            with slot:
                temp_file.restart()
                temp_file.write(bytes(size))
        temp_file.close()


def test_nothing_has_happened_before_anything_happens() -> None:
    activity = Activity()
    assert activity.counts == Counts()
    assert activity.contact == Contact(None, None, None, None)
    assert activity.failures == activity.downloads == []


def test_an_open_is_a_hit_a_miss_or_a_failure() -> None:
    activity = Activity()
    activity.opened(request(), was_here=True)
    activity.opened(request(), was_here=True)
    activity.opened(request(), was_here=False)
    activity.add("failed")
    assert activity.counts == Counts(hits=2, misses=1, failed=1)


def test_an_open_that_the_kernel_repeats_counts_once() -> None:
    activity = Activity()
    activity.opened(request(), was_here=False)
    activity.opened(request(), was_here=True)
    activity.add("hits", -1)
    assert activity.counts == Counts(misses=1)


def test_every_count_is_exact_with_many_threads() -> None:
    world, threads, times = World(), 8, 250

    def work(number: int) -> None:
        for _ in range(times):
            world.activity.opened(request(number), was_here=bool(number % 2))
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


def test_a_download_is_told_from_its_wait_to_its_end() -> None:
    world = World()
    temp_file = TempFile(None, unwarned)
    following = world.activity.downloading(
        request(7), temp_file, world.slots.at(Priority.IMAGE), is_ahead=False
    )
    with following as slot:
        (told,) = world.activity.downloads
        assert (told.path, told.url) == (
            "section/7/image.jpg",
            "http://h/api/v2/image_download/7",
        )
        assert (told.state, told.attempt, told.bytes) == (WAITING, 0, 0)
        with contextlib.suppress(BusyError), slot:
            temp_file.restart()
            temp_file.expect(400)
            temp_file.write(bytes(100))
            world.now_s += 5
            (told,) = world.activity.downloads
            assert (told.state, told.attempt) == (DOWNLOADING, 1)
            assert (told.bytes, told.total_bytes) == (100, 400)
            assert told.seconds == 5
            raise BusyError("HTTP 503")
        assert world.activity.downloads[0].state == PAUSING
        with slot:
            temp_file.restart()
            (told,) = world.activity.downloads
            assert (told.attempt, told.bytes, told.total_bytes) == (2, 0, None)
            temp_file.write(bytes(400))
        assert world.activity.downloads[0].state == STORING
    temp_file.close()
    assert world.activity.downloads == []
    assert world.activity.counts == Counts(downloads=1, downloaded_bytes=500)


def test_a_download_waits_for_its_turn_and_says_so() -> None:
    world = World()
    with ThreadPoolExecutor(1) as pool:
        with world.slots.at(Priority.IMAGE):
            waiting = pool.submit(world.download)
            pause = threading.Event()
            while not world.slots.waiting:
                assert not waiting.done()
                pause.wait(0.001)
            assert [one.state for one in world.activity.downloads] == [WAITING]
            assert (world.slots.in_use, world.slots.waiting) == (1, 1)
        waiting.result()
    assert (world.slots.in_use, world.slots.waiting) == (0, 0)


def test_a_download_that_fails_is_none_and_leaves_nothing_under_way() -> None:
    world = World()
    temp_file = TempFile(None, unwarned)
    with pytest.raises(BusyError):
        with world.activity.downloading(
            request(), temp_file, world.slots.at(Priority.IMAGE), is_ahead=True
        ) as slot:
            with slot:
                temp_file.write(bytes(30))
                raise BusyError("HTTP 503")
    temp_file.close()
    assert world.activity.downloads == []
    assert world.activity.counts == Counts(downloaded_bytes=30)
    assert world.slots.in_use == 0


def test_what_was_downloaded_ahead_is_used_once_by_its_first_open() -> None:
    world = World()
    world.download(1, is_ahead=True)
    world.download(2, is_ahead=True)
    world.download(3)
    for number in (1, 1, 3):
        world.activity.opened(request(number), was_here=True)
    counts = world.activity.counts
    assert (counts.ahead, counts.ahead_used) == (2, 1)


def test_what_was_evicted_and_downloaded_again_is_no_use_of_reading_ahead() -> None:
    world = World()
    world.download(1, is_ahead=True)
    world.download(1)
    world.activity.opened(request(1), was_here=False)
    assert world.activity.counts.ahead_used == 0


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
def test_an_answer_is_an_answer_whatever_it_says(
    error: ServiceError | None, is_reachable: bool
) -> None:
    activity = Activity(clock_ns=lambda: NOW_NS)
    activity.attempted(error)
    contact = activity.contact
    assert contact.is_reachable is is_reachable
    assert contact.answered_ns == (NOW_NS if is_reachable else None)
    assert contact.failed_ns == (NOW_NS if error else None)
    assert contact.cause == (error.cause if error else None)
    assert activity.counts == Counts(requests=1, failed_requests=int(error is not None))


def test_a_service_that_comes_back_is_reachable_and_its_failure_not_forgotten() -> None:
    activity = Activity(clock_ns=lambda: NOW_NS)
    activity.attempted(UnreachableError("refused"))
    activity.attempted(None)
    assert activity.contact == Contact(True, NOW_NS, NOW_NS, "refused")


def test_the_newest_twenty_failures_are_kept_the_newest_first() -> None:
    activity = Activity(clock_ns=lambda: NOW_NS)
    for number in range(25):
        error = ImageNotFoundError("HTTP 404")
        error.url = f"http://h/{number}"
        activity.failed(f"section/{number}/image.jpg", error)
    failures = activity.failures
    assert len(failures) == 20
    assert failures[0] == FailureStatus(
        time=utc_time(NOW_NS),
        path="section/24/image.jpg",
        url="http://h/24",
        cause="HTTP 404",
        errno="ENOENT",
    )
    assert failures[-1].path == "section/5/image.jpg"
