"""The images that the long runs read, and their right bytes."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mounted import image_bytes

DATA_SET = 72109410
ATLAS_ID = 100883869


@dataclass(frozen=True)
class Pool:
    """Right bytes by path, each in a file below `folder`."""

    folder: Path

    @classmethod
    def fetched(cls, folder: Path, api_url: str, paths: list[str]) -> Pool:
        """Download each image once, without allenfs."""
        pool = cls(folder)
        folder.mkdir()
        with ThreadPoolExecutor(4) as threads:
            for path, data in zip(
                paths,
                threads.map(lambda one: image_bytes(api_url, one), paths),
                strict=True,
            ):
                pool.file(path).write_bytes(data)
        (folder / "paths").write_text("\n".join(paths))
        return pool

    @property
    def paths(self) -> list[str]:
        return (self.folder / "paths").read_text().split("\n")

    def file(self, path: str) -> Path:
        return self.folder / hashlib.sha256(path.encode()).hexdigest()

    def right(self, path: str) -> bytes:
        return self.file(path).read_bytes()

    def size_bytes(self) -> int:
        return sum(self.file(path).stat().st_size for path in self.paths)


def paths(count: int) -> list[str]:
    """Return paths of different images, of 2 to 100 kB, the same each time."""
    dice = random.Random(count)
    tiers = ("ds7", "ds6", "ds5", "ds4")
    some = [
        f"section/{image_id}/{tier}/q{quality}/{view}.jpg"
        for image_id in (69750516, 69750520, 69750524)
        for tier in tiers
        for quality in range(30, 90, 10)
        for view in ("image", "expression")
    ]
    some += [
        f"atlas/{ATLAS_ID}/{tier}/q{quality}/image.jpg"
        for tier in tiers
        for quality in range(30, 90, 10)
    ]
    return dice.sample(some, count)
