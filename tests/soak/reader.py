"""A process that reads a mount in every way until SIGTERM, and checks the bytes.

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
from collections.abc import Iterator
from pathlib import Path

from pool import DATA_SET, Pool

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


def _require(condition: object, *words: object) -> None:
    if not condition:
        sys.exit(f"reader: {' '.join(map(str, words))}")


class Reader:
    """Reads, and counts what it met."""

    def __init__(self, root: Path, pool: Pool, seed: int, *, may_be_gone: bool) -> None:
        self._root = root
        self._pool = pool
        self._dice = random.Random(seed)
        self._may_be_gone = may_be_gone
        self._declared = DECLARED | GONE if may_be_gone else DECLARED
        self.counts: Counter[str] = Counter()
        self.is_ended = False
        self._ways = [
            *[self._read_raw] * 4,
            *[self._pread_anywhere] * 4,
            *(self._copy, self._stat, self._close_at_once),
            *(self._list_an_image, self._list_a_data_set, self._ask_for_the_url),
        ]
        if not may_be_gone:  # pages that are no longer served are a SIGBUS
            self._ways.append(self._map)

    def end(self, *_: object) -> None:
        """Stop after the step that is under way."""
        self.is_ended = True

    def step(self) -> None:
        """Do one thing with one image."""
        path = self._dice.choice(self._pool.paths)
        way = self._dice.choice(self._ways)
        self.counts["operations"] += 1
        try:
            way(path)
        except OSError as error:
            if error.errno == errno.EINTR and self.is_ended:
                return  # SIGTERM while it waited
            is_declared = error.errno in self._declared
            _require(is_declared, way.__name__, path, repr(error))
            self.counts["faults"] += 1
            if self._may_be_gone:
                time.sleep(_GONE_S)

    def _check(self, path: str, data: bytes, at: slice = slice(None)) -> None:
        right = self._pool.right(path)[at]
        _require(data == right, path, len(data), "at", at, "are not", len(right))
        self.counts["bytes"] += len(data)

    def _read_raw(self, path: str) -> None:
        """Without a look at its size, as dd does."""
        chunk = self._dice.choice([1000, PAGE, 65_536, 2**20])
        with self._opened(path) as fd:
            data = b"".join(iter(lambda: os.read(fd, chunk), b""))
        self._check(path, data)

    def _pread_anywhere(self, path: str) -> None:
        with self._opened(path) as fd:
            for _ in range(8):
                offset = self._dice.randrange(120_000)
                size = self._dice.choice([1, 511, PAGE, PAGE + 1, 70_000])
                data = os.pread(fd, size, offset)
                self._check(path, data, slice(offset, offset + size))

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        fd = os.open(self._root / path, os.O_RDONLY)
        try:
            yield fd
        finally:
            os.close(fd)

    def _map(self, path: str) -> None:
        with (
            (self._root / path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            self._check(path, view[:])

    def _copy(self, path: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(self._root / path, Path(folder) / "copy.jpg")
            self._check(path, copy.read_bytes())

    def _stat(self, path: str) -> None:
        found = (self._root / path).stat()
        more_bytes = found.st_size - len(self._pool.right(path))
        is_right = more_bytes >= 0 if found.st_blocks == 0 else more_bytes == 0
        _require(is_right, path, "has", found.st_size, "bytes")

    def _close_at_once(self, path: str) -> None:
        with self._opened(path):
            pass

    def _list_an_image(self, path: str) -> None:
        names = os.listdir(self._root.joinpath(*path.split("/")[:2]))
        _require("image.jpg" in names, path, "lists no image.jpg")

    def _list_a_data_set(self, _: str) -> None:
        names = os.listdir(self._root / f"dataset/{DATA_SET}/ds6")
        _require(len(names) == 60, "a data set of", len(names), "images")

    def _ask_for_the_url(self, path: str) -> None:
        url = os.getxattr(self._root / path, "user.allenfs.url")
        _require(url, path, "no URL")


def main() -> None:
    root, folder, seed, progress, place, *gone = sys.argv[1:]
    reader = Reader(Path(root), Pool(Path(folder)), int(seed), may_be_gone=bool(gone))
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
