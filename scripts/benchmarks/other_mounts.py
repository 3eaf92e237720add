"""The other file systems over HTTP, where they are installed and work.

Neither can read the image service, which has no index and sends no lengths. They
get the same files from a static server.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mounts import mounted_by
from processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Mounting = Callable[[Path, str, list[str]], AbstractContextManager["Files"]]


class Files(NamedTuple):
    """The images in a mount: the directory for `cp -r`, and the path of each image."""

    copied: list[Path]
    each: list[Path]


@contextlib.contextmanager
def _rclone(folder: Path, url: str, names: list[str]) -> Iterator[Files]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        root = Path(own, "mnt")
        with mounted_by(
            root,
            *("rclone", "mount", "--config", "", "--http-url", url, "--read-only"),
            *("--vfs-cache-mode", "full", "--cache-dir", Path(own, "cache")),
            *(":http:", root),
        ):
            yield Files([root], [root / name for name in names])


@contextlib.contextmanager
def _simple_httpfs(folder: Path, url: str, names: list[str]) -> Iterator[Files]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        root = Path(own, "mnt")
        cache = ("--disk-cache-dir", Path(own, "cache"))
        command = ("simple-httpfs", "--foreground", "--schema", "http", *cache, root)
        with mounted_by(root, *command):
            # it lists nothing, and its files end in two dots
            files = [root / urlsplit(url).netloc / f"{name}.." for name in names]
            yield Files(files, files)


_ALL: dict[str, Mounting] = {"rclone mount": _rclone, "simple-httpfs": _simple_httpfs}


def usable(
    folder: Path, url: str, names: list[str]
) -> tuple[dict[str, Mounting], list[str]]:
    """Return those that give one of the files, and why the others do not."""
    working: dict[str, Mounting] = {}
    reasons: list[str] = []
    for name, mounting in _ALL.items():
        if not shutil.which(name.partition(" ")[0]):
            reasons.append(f"{name} is not installed")
            continue
        try:
            with mounting(folder, url, names) as files:
                files.each[0].read_bytes()
        except (BenchError, OSError) as error:
            reasons.append(f"{name} does not work: {error}")
        else:
            working[name] = mounting
    return working, reasons
