"""The images that the long runs read, and their right bytes."""

from __future__ import annotations

import hashlib
import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mounted import image_bytes

DATA_SET = 72109410


class Pool:
    """Right bytes by path, each in a file below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = (folder / "paths").read_text().split("\n")

    @classmethod
    def fetched(cls, folder: Path, api_url: str, count: int) -> Pool:
        """Download `count` images once, without allenfs."""
        folder.mkdir()
        (folder / "paths").write_text("\n".join(some_paths(count)))
        pool = cls(folder)
        with ThreadPoolExecutor(4) as threads:
            images = threads.map(partial(image_bytes, api_url), pool.paths)
            for path, data in zip(pool.paths, images, strict=True):
                pool.file(path).write_bytes(data)
        return pool

    def file(self, path: str) -> Path:
        return self.folder / hashlib.sha256(path.encode()).hexdigest()

    def right(self, path: str) -> bytes:
        return self.file(path).read_bytes()

    def size_bytes(self) -> int:
        return sum(self.file(path).stat().st_size for path in self.paths)


def some_paths(count: int) -> list[str]:
    """Return paths of different images, of 2 to 100 kB, the same each time."""
    sections = [f"section/{number}" for number in (69750516, 69750520, 69750524)]
    views = list(itertools.product(sections, ("image", "expression")))
    views.append(("atlas/100883869", "image"))
    paths = [
        f"{image}/{tier}/q{quality}/{view}.jpg"
        for image, view in views
        for tier in ("ds7", "ds6", "ds5", "ds4")
        for quality in range(30, 90, 10)
    ]
    return random.Random(count).sample(paths, count)
