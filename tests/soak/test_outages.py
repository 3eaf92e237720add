"""A service that is away for a minute, a daemon that is stopped for 20 s: nothing lost.

In a soak of 20 minutes; a shorter one takes its share of both.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from command import cat
from mounted import Mounted, image_bytes, port_of, until

from allenfs.sample.server import SampleService

LISTED = "dataset/70813257"
OUTAGE_SHARE, STOPPED_SHARE = 1 / 2, 1 / 6
MEMORY_SHARE, MEMORY_S = 1 / 12, 10.0
READERS = 4
# for a machine that is busy with something else
LATER_S = 30.0


class Outage:
    """What readers of ever new images meet."""

    def __init__(self, mounted):
        self._mounted = mounted
        self._numbers = itertools.count()
        self.over = threading.Event()
        self.read = 0
        self.errnos = set()

    def go_on(self):
        """Read until it is over; one image again and again until it is there."""
        while not self.over.is_set():
            number = next(self._numbers)
            name = f"section/{71592261 + number // 101}/ds7/q{number % 101}"
            while not self._has_read(self._mounted / name / "image.jpg"):
                pass

    def _has_read(self, path):
        try:
            data = path.read_bytes()
        except OSError as error:
            self.errnos.add(error.errno)
            # the sample has no image of every number
            return error.errno == errno.ENOENT
        assert (data[:2], data[-2:]) == (b"\xff\xd8", b"\xff\xd9")
        self.read += 1
        return True


def test_a_service_that_is_away_for_a_minute(tmp_path, duration_s, figures):
    outage_s = OUTAGE_SHARE * duration_s
    memory_s = min(MEMORY_S, MEMORY_SHARE * duration_s)
    stored = "section/69750516/ds5/image.jpg"
    settings = {"failure_memory_s": memory_s, "first_backoff_s": 0.5}
    settings["warnings"] = ["HTTP 404", "ProtocolError", "Connection"]
    with (
        SampleService() as service,
        Mounted(tmp_path, service.url, **settings) as mounted,
        ThreadPoolExecutor(READERS) as pool,
    ):
        expected = (mounted / stored).read_bytes()
        listed = os.listdir(mounted / LISTED)
        outage = Outage(mounted)
        try:
            readers = [pool.submit(outage.go_on) for _ in range(READERS)]
            until(lambda: outage.read >= READERS)
            service.close()
            ends_s = time.monotonic() + outage_s
            while time.monotonic() < ends_s:
                # what is stored, and what was listed, is there all the time
                assert (mounted / stored).read_bytes() == expected
                assert os.listdir(mounted / LISTED) == listed
            read = outage.read
            with SampleService(port=port_of(service.url)) as back:
                back_s = time.monotonic()
                until(lambda: outage.read > read + READERS)
                recovered_s = time.monotonic() - back_s
                assert recovered_s < memory_s + LATER_S / 3
                assert back.image_requests
                outage.over.set()
                for reader in readers:
                    reader.result(LATER_S)
        finally:
            outage.over.set()
        assert outage.errnos <= {errno.EHOSTUNREACH, errno.EIO, errno.ENOENT}
    figures(
        f"outages: {outage_s:.0f} s without the service, {outage.read} images read, "
        f"the next ones {recovered_s:.1f} s after its return"
    )


def test_a_daemon_that_is_stopped_for_20_seconds(tmp_path, duration_s, figures):
    stopped_s = STOPPED_SHARE * duration_s
    paths = [f"section/69750516/ds6/q{number}/image.jpg" for number in range(3)]
    record = "section/69750516/info.json"
    with SampleService(query_latency_s=1) as service:
        expected = [image_bytes(service.url, path) for path in paths]
        service.reset_counters()
        with Mounted(tmp_path, service.url) as mounted:
            service.pause()
            cats = [cat(mounted / path) for path in (*paths, record)]
            until(lambda: service.image_requests == len(paths))
            until(lambda: service.query_requests)
            with mounted.stopped(stopped_s):
                service.resume()
            *read, document = [one.communicate(timeout=LATER_S)[0] for one in cats]
            assert read == expected
            assert b'"id": 69750516' in document
            assert {one.returncode for one in cats} == {0}
            assert service.image_requests == len(paths)
            assert service.query_requests == len(set(service.queried))
    figures(f"outages: stopped for {stopped_s:.0f} s, all read, nothing asked twice")
