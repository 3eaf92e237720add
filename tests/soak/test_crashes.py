"""kill -9 of a daemon at random moments, with another one alive on the same store."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from command import allenfs, serving_pid, until_gone
from mounted import STRICT_PYTHON, Mounted, is_bad
from pool import Pool, paths
from readers import Readers
from store_helpers import disk_usage, verify_all

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

# A start takes 0.3 s, or 1 s where the other processes are busy; evictions and
# downloads go on all the time after it.
START_S, RUN_S = 1.0, 0.3
LITTER_S = 30
READERS_EACH = 3


class Crashing:
    """A mount on `root` that is killed again and again."""

    def __init__(self, root: Path, store: Path, url: str, limit_bytes: int) -> None:
        self.root = root
        self._store = store
        self.log = root.with_name("log")
        self._command = [
            *("mount", "--api-url", url, "--cache-dir", str(store)),
            *("--cache-size", str(limit_bytes), "--log-file", str(self.log)),
            str(root),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if is_mounted(self.root):
            done = allenfs("umount", self.root)
            assert (done.returncode, done.stderr) == (0, "")
        assert not is_mounted(self.root)

    def killed_while_it_serves(self, after_s: float) -> None:
        """Mount over what the last one left, look that its litter goes, and kill."""
        litter = self._litter()
        done = allenfs(*self._command)
        assert (done.returncode, done.stderr) == (0, "")
        pid = serving_pid(self.root)
        ends_s = time.monotonic() + LITTER_S
        while litter & set(self._incoming()):
            assert time.monotonic() < ends_s, "litter stays"
            time.sleep(0.01)  # it goes in a thread, after the mount's first answer
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        until_gone(pid)

    def killed_while_it_starts(self, after_s: float) -> None:
        process = subprocess.Popen(
            [*STRICT_PYTHON, "-m", "allenfs", *self._command, "--foreground"],
            stderr=subprocess.PIPE,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
        _, said = process.communicate()
        assert said == b"", said.decode()
        assert process.returncode == -signal.SIGKILL

    def _incoming(self) -> list[Path]:
        return list((self._store / "incoming").iterdir())

    def _litter(self) -> set[Path]:
        """Downloads that nobody writes any more."""
        left = set()
        for path in self._incoming():
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    left.add(path)
        return left


def test_kill_9_at_random_moments_leaves_right_images_and_no_litter(
    tmp_path: Path, duration_s: float, figures: Callable[[str], None]
) -> None:
    store, dice = tmp_path / "store", random.Random(5)
    root = tmp_path / "a" / "mnt"
    root.mkdir(parents=True)
    served = started = 0
    with SampleService(latency_s=0.02) as service:
        pool = Pool.fetched(tmp_path / "right", service.url, paths(60))
        limit_bytes = pool.size_bytes() // 3
        with (
            Mounted(
                tmp_path / "b", service.url, cache_dir=store, capacity_bytes=limit_bytes
            ) as alive,
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
        assert checked > 0
        assert damaged == 0
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
