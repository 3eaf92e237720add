"""kill -9 of a daemon at random moments, with another one alive on the same store."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import time

from command import allenfs, serving_pid, succeeds, until_gone
from mounted import STRICT_PYTHON, Mounted, is_bad
from pool import Pool
from readers import Readers
from store_helpers import disk_usage, verify_all

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

# A start takes 0.3 s, or 1 s where the other processes are busy; evictions and
# downloads go on all the time after it.
START_S, RUN_S = 1.0, 0.3
LITTER_S = 30
READERS_EACH = 3


class Crashing:
    """A mount on `root` that is killed again and again."""

    def __init__(self, root, store, url, limit_bytes):
        self._root = root
        self._incoming = store / "incoming"
        self.log = root.with_name("log")
        self._command = [
            *("mount", "--api-url", url, "--cache-dir", store),
            *("--cache-size", str(limit_bytes), "--log-file", self.log, root),
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if is_mounted(self._root):
            done = allenfs("umount", self._root)
            assert (done.returncode, done.stderr) == (0, "")
        assert not is_mounted(self._root)

    def killed_while_it_serves(self, after_s):
        """Mount over what the last one left, look that its litter goes, and kill."""
        litter = self._litter()
        succeeds(*self._command)
        pid = serving_pid(self._root)
        ends_s = time.monotonic() + LITTER_S
        while litter & set(self._incoming.iterdir()):
            assert time.monotonic() < ends_s, "litter stays"
            time.sleep(0.01)  # it goes in a thread, after the mount's first answer
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        until_gone(pid)

    def killed_while_it_starts(self, after_s):
        process = subprocess.Popen(
            [*STRICT_PYTHON, "-m", "allenfs", *self._command, "--foreground"],
            stderr=subprocess.PIPE,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
        assert process.communicate()[1] == b""
        assert process.returncode == -signal.SIGKILL

    def _litter(self):
        """Abandoned temporary files."""
        left = set()
        for path in list(self._incoming.iterdir()):
            with (
                contextlib.suppress(FileNotFoundError, BlockingIOError),
                path.open("rb") as file,
            ):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                left.add(path)
        return left


def test_kill_9_at_random_moments_leaves_right_images_and_no_litter(
    tmp_path, duration_s, figures
):
    store, dice = tmp_path / "store", random.Random(5)
    root = tmp_path / "a" / "mnt"
    root.mkdir(parents=True)
    served = started = 0
    with SampleService(latency_s=0.02) as service:
        pool = Pool.fetched(tmp_path / "right", service.url, 60)
        limit_bytes = pool.size_bytes() // 3
        settings = {"cache_dir": store, "capacity_bytes": limit_bytes}
        with (
            Mounted(tmp_path / "b", service.url, **settings) as alive,
            Crashing(root, store, service.url, limit_bytes) as crashing,
        ):
            (alive / pool.paths[0]).read_bytes()
            with Readers(pool.folder, tmp_path) as readers:
                readers.start(alive.root, READERS_EACH)
                readers.start(root, READERS_EACH, may_be_gone=True)
                ends_s = time.monotonic() + duration_s
                while time.monotonic() < ends_s:
                    if dice.random() < 0.5:
                        crashing.killed_while_it_serves(dice.uniform(0, RUN_S))
                        served += 1
                    else:
                        crashing.killed_while_it_starts(dice.uniform(0, START_S))
                        started += 1
                    readers.check()
                    assert disk_usage(store)[0] <= limit_bytes
            for path in pool.paths:
                assert (alive / path).read_bytes() == pool.right(path)
        assert served > 0
        assert [*filter(is_bad, crashing.log.read_text().splitlines())] == []
        checked, damaged, _ = verify_all(store)
        assert (checked > 0, damaged) == (True, 0)
        with Mounted(tmp_path / "c", service.url, cache_dir=store) as after:
            for path in pool.paths:
                assert (after / path).read_bytes() == pool.right(path)
            assert os.listdir(store / "incoming") == []
    figures(
        f"crashes: {served + started} kill -9, {started} of them during a start, "
        f"{readers.counts['operations']} operations, "
        f"{readers.counts['bytes']} bytes checked, 0 wrong, "
        f"{checked} stored images whole, no litter"
    )
