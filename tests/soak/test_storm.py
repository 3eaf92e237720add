"""32 processes, a small store, a service of which a tenth of the answers is broken."""

from __future__ import annotations

import operator
import os
import random
import statistics
import time
from pathlib import Path

from mounted import Mounted, until
from pool import Pool
from reader import DECLARED
from readers import Readers
from store_helpers import disk_usage

from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

PROCESSES = 32
CONNECTIONS = 4
BROKEN = 0.1
LOOK_S = 0.25
KILLED = 0.05  # of the looks end a reader
# Threads that libfuse keeps for the next calls, and the connections' sockets.
IDLE_THREADS, IDLE_FDS = 10, CONNECTIONS
# The kernel's names of all paths and directories come in the first minutes.
GROWTH_BYTES = 16 * 2**20
SETTINGS = {
    # each failure says how often; empty and cut lists are no failures
    "warnings": [
        "1 attempt, ",
        " attempts, ",
        "stays in use",
        "requesting it again soon",
    ],
    "stall_timeout_s": 0.5,
    "deadline_s": 4.0,
    "max_image_bytes": 4 * 2**20,
    "first_backoff_s": 0.05,
    "failure_memory_s": 0.2,
    "not_found_memory_s": 0.2,
    "catalog_ttl_s": 1.0,
}


class Daemon:
    """What a process takes, look by look."""

    def __init__(self, pid):
        self._process = Path(f"/proc/{pid}")
        self.pid = pid
        self.memory_bytes = []

    def look(self):
        status = (self._process / "status").read_text()
        resident = next(line for line in status.splitlines() if "VmRSS" in line)
        self.memory_bytes.append(int(resident.split()[1]) * 1024)

    def in_use(self):
        """Descriptors and threads."""
        return tuple(len(os.listdir(self._process / what)) for what in ("fd", "task"))

    def growth_bytes(self):
        """Median of the last fifth over that of the second one."""
        fifth = len(self.memory_bytes) // 5
        early = statistics.median(self.memory_bytes[fifth : 2 * fifth])
        return int(statistics.median(self.memory_bytes[-fifth:]) - early)


def is_whole(file, right):
    try:
        data = file.read_bytes()
    except OSError as error:
        assert error.errno in DECLARED
        return False
    assert data == right
    return True


def test_a_storm_over_a_small_store_and_a_faulty_service_loses_nothing(
    tmp_path, duration_s, figures
):
    with SampleService() as service:
        pool = Pool.fetched(tmp_path / "right", service.url, 120)
        limit_bytes = pool.size_bytes() // 3
        limits = {"capacity_bytes": limit_bytes, **SETTINGS}
        with Mounted(tmp_path, service.url, **limits) as mounted:
            for path in pool.paths[:5]:
                (mounted / path).read_bytes()
            daemon = Daemon(mounted.pid)
            fds, threads = daemon.in_use()
            service.reset_counters()
            service.fail_sometimes(BROKEN, tuple(Fault), seed=1)
            dice = random.Random(1)
            with Readers(pool.folder, tmp_path) as readers:
                readers.start(mounted.root, PROCESSES)
                ends_s = time.monotonic() + duration_s
                while time.monotonic() < ends_s:
                    time.sleep(LOOK_S)  # between two looks
                    readers.check()
                    if dice.random() < KILLED:
                        readers.kill_one(dice)
                    daemon.look()
                    assert disk_usage(mounted.cache_dir)[0] <= limit_bytes
            assert mounted.pid == daemon.pid
            assert service.peak_all_requests <= CONNECTIONS
            service.heal()
            # what failed before is whole, once its failure is forgotten
            for path in pool.paths:
                until(lambda path=path: is_whole(mounted / path, pool.right(path)))
            limits = fds + IDLE_FDS, threads + IDLE_THREADS
            # threads of the last downloads and their timers may still be ending
            until(lambda: all(map(operator.le, daemon.in_use(), limits)))
            assert daemon.growth_bytes() <= GROWTH_BYTES
        counts = readers.counts
        assert counts["operations"] > 10 * PROCESSES
        assert counts["faults"] > 0
        figures(
            f"storm: {duration_s:.0f} s, {PROCESSES} processes, "
            f"{counts['operations']} operations, {counts['faults']} faults met, "
            f"{counts['bytes']} bytes checked, 0 lost; "
            f"{service.image_requests} images asked, memory "
            f"{daemon.memory_bytes[-1] / 2**20:.0f} MiB, "
            f"{daemon.growth_bytes() / 2**20:+.1f} MiB over the run"
        )
