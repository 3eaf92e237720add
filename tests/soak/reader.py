"""A process that reads a mount in every way until it is told to stop, and checks.

Arguments: mountpoint, folder of the right bytes, seed, progress file, its place in it.
It says ``ready``, and on SIGTERM its counts as JSON. A wrong byte, an undeclared errno
or an empty success ends it at once with a line on stderr.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pool import DATA_SET, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What the faults of the sample service may become; see the table of errors.
DECLARED = {
    *(errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EFBIG),
    *(errno.ENOENT, errno.EINVAL, errno.EACCES),
}
# After the process behind the mount was killed, and until there is another one.
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.ESTALE, errno.EINTR, errno.ENODEV}
# Asking again at once would only take the processor from the next one.
_GONE_S = 0.02
PAGE = 4096


class Reader:
    """Reads, and counts what it met."""

    def __init__(self, root: Path, pool: Pool, seed: int, *, may_be_gone: bool) -> None:
        self._root = root
        self._pool = pool
        self._paths = pool.paths
        self._dice = random.Random(seed)
        self._may_be_gone = may_be_gone
        self._declared = DECLARED | GONE if may_be_gone else DECLARED
        self.counts: Counter[str] = Counter()
        self.is_ended = False
        self._ways: list[Callable[[str], None]] = [
            *[self._read_raw] * 4,
            *[self._pread_anywhere] * 4,
            *(self._copy, self._stat, self._close_at_once),
            *(self._list_an_image, self._list_a_data_set, self._ask_for_the_url),
        ]
        if not may_be_gone:  # pages that nobody gives any more are a SIGBUS
            self._ways.append(self._map)

    def end(self, *_: object) -> None:
        """Stop after the step that is under way."""
        self.is_ended = True

    def step(self) -> None:
        """Do one thing with one image."""
        path = self._dice.choice(self._paths)
        way = self._dice.choice(self._ways)
        self.counts["operations"] += 1
        try:
            way(path)
        except OSError as error:
            if error.errno == errno.EINTR and self.is_ended:
                return  # it was told to stop while it waited
            if error.errno not in self._declared:
                _fail(f"{way.__name__} {path}: {error!r}")
            self.counts["faults"] += 1
            if self._may_be_gone:
                time.sleep(_GONE_S)

    def _check(self, path: str, offset: int, data: bytes, size: int) -> None:
        right = self._pool.right(path)[offset : offset + size]
        if data != right:
            _fail(f"{path}: {len(data)} bytes at {offset} are not the {len(right)}")
        self.counts["bytes"] += len(data)

    def _read_raw(self, path: str) -> None:
        """Without a look at its size, as dd does."""
        with self._opened(path) as fd:
            chunk = self._dice.choice([1000, PAGE, 65_536, 2**20])
            parts = []
            while part := os.read(fd, chunk):
                parts.append(part)
        self._check(path, 0, b"".join(parts), sys.maxsize)

    def _pread_anywhere(self, path: str) -> None:
        with self._opened(path) as fd:
            for _ in range(8):
                offset = self._dice.randrange(120_000)
                size = self._dice.choice([1, 511, PAGE, PAGE + 1, 70_000])
                self._check(path, offset, os.pread(fd, size, offset), size)

    def _map(self, path: str) -> None:
        with (
            (self._root / path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            self._check(path, 0, view[:], sys.maxsize)

    def _copy(self, path: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(self._root / path, Path(folder) / "copy.jpg")
            self._check(path, 0, copy.read_bytes(), sys.maxsize)

    def _stat(self, path: str) -> None:
        found = (self._root / path).stat()
        right_bytes = len(self._pool.right(path))
        if found.st_size < right_bytes or (
            found.st_blocks and found.st_size != right_bytes
        ):
            _fail(f"{path}: a size of {found.st_size} in {found.st_blocks} blocks")

    def _close_at_once(self, path: str) -> None:
        with self._opened(path):
            pass

    def _list_an_image(self, path: str) -> None:
        folder = "/".join(path.split("/")[:2])
        if "image.jpg" not in os.listdir(self._root / folder):
            _fail(f"{folder} lists no image.jpg")

    def _list_a_data_set(self, _: str) -> None:
        names = os.listdir(self._root / f"dataset/{DATA_SET}/ds6")
        if len(names) != 60:
            _fail(f"a data set of {len(names)} images")

    def _ask_for_the_url(self, path: str) -> None:
        if not os.getxattr(self._root / path, "user.allenfs.url"):
            _fail(f"{path}: no URL")

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        fd = os.open(self._root / path, os.O_RDONLY)
        try:
            yield fd
        finally:
            os.close(fd)


def _fail(what: str) -> NoReturn:
    sys.exit(f"reader: {what}")


def main() -> None:
    root, folder, seed, progress, place, *gone = sys.argv[1:]
    pool = Pool(Path(folder))
    reader = Reader(Path(root), pool, int(seed), may_be_gone=bool(gone))
    faulthandler.register(signal.SIGUSR1)
    with open(progress, "r+b") as file, mmap.mmap(file.fileno(), 0) as steps:
        at = slice(8 * int(place), 8 * int(place) + 8)
        signal.signal(signal.SIGTERM, reader.end)
        print("ready", flush=True)
        while not reader.is_ended:
            reader.step()
            steps[at] = reader.counts["operations"].to_bytes(8, "little")
    print(json.dumps(reader.counts))


if __name__ == "__main__":
    main()
