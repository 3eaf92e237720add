"""How an open is answered, depending on what the kernel may know by then."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from allenfs.catalog.documents import Document
from allenfs.filesystem.kernel_view import KernelView, Opening
from allenfs.store.stored_file import Known

PATH = "section/69750516/ds4/image.jpg"
IMAGE = Document(b"bytes of an image", 0)
EXACT = Known(IMAGE.facts.size_bytes, 0)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


LOOKER, OPENER = 1, 2


def test_an_open_succeeds_at_once_after_the_size_was_reported():
    view = KernelView(Clock())
    view.replied(PATH, EXACT, LOOKER)
    assert view.opening(PATH, LOOKER, IMAGE) is Opening.NEW_PAGES


def test_a_size_that_may_be_on_its_way_for_another_sends_back_once():
    view = KernelView(Clock())
    view.replied(PATH, EXACT, LOOKER)
    assert view.opening(PATH, OPENER, IMAGE) is Opening.AGAIN
    assert view.is_retry(PATH, OPENER)
    assert view.opening(PATH, OPENER, IMAGE) is Opening.NEW_PAGES
    assert not view.is_retry(PATH, OPENER)


def test_an_old_reply_with_a_size_counts_for_every_thread():
    clock = Clock()
    view = KernelView(clock)
    view.replied(PATH, EXACT, LOOKER)
    clock.now_s += 1
    assert view.opening(PATH, OPENER, IMAGE) is Opening.NEW_PAGES


def test_the_same_size_reported_again_delays_no_other_thread():
    clock = Clock()
    view = KernelView(clock)
    view.replied(PATH, EXACT, LOOKER)
    clock.now_s += 1
    view.replied(PATH, EXACT, LOOKER)
    assert view.opening(PATH, OPENER, IMAGE) is Opening.NEW_PAGES


def test_an_open_without_a_lookup_is_repeated_once_and_then_bypasses_the_pages():
    view = KernelView(Clock())
    assert view.opening(PATH, OPENER, IMAGE) is Opening.AGAIN
    assert view.opening(PATH, OPENER, IMAGE) is Opening.SIZE_UNKNOWN


def test_an_open_that_is_not_tried_again_is_never_sent_back():
    view = KernelView(Clock())
    assert view.opening(PATH, OPENER, IMAGE, lambda: True) is Opening.SIZE_UNKNOWN
    view.replied(PATH, EXACT, LOOKER)
    assert view.opening(PATH, OPENER, IMAGE, lambda: True) is Opening.SIZE_UNKNOWN
    assert not view.is_retry(PATH, OPENER)
    # which does not affect the others
    assert view.opening(PATH, LOOKER, IMAGE) is Opening.NEW_PAGES


def test_whether_an_open_is_tried_again_is_asked_only_where_it_matters():
    def unasked() -> bool:
        raise AssertionError

    view = KernelView(Clock())
    view.replied(PATH, EXACT, LOOKER)
    assert view.opening(PATH, LOOKER, IMAGE, unasked) is Opening.NEW_PAGES
    assert view.opening(PATH, OPENER, IMAGE, unasked) is Opening.SAME_PAGES


def test_files_closed_at_once_drop_late_retries_one_after_the_other():
    busy, together = threading.Lock(), []

    def clock() -> float:
        if not busy.acquire(blocking=False):
            together.append(threading.current_thread())
            return 100.0
        time.sleep(0.01)
        busy.release()
        return 100.0

    view = KernelView(clock)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(8):
            pool.submit(view.drop_late_retries)
    assert together == []


def test_a_file_of_known_size_opens_at_once_and_keeps_only_its_own_pages():
    """Whoever looked it up, and also if nobody did."""
    view = KernelView(Clock())
    other = Document(b"another one, as it", 0)
    assert view.opening_at_known_size(PATH, IMAGE) is Opening.NEW_PAGES
    view.replied(PATH, EXACT, LOOKER)
    assert view.opening_at_known_size(PATH, IMAGE) is Opening.SAME_PAGES
    assert view.opening_at_known_size(PATH, other) is Opening.NEW_PAGES
    assert view.opening_at_known_size(PATH, IMAGE) is Opening.NEW_PAGES
