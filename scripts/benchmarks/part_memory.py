"""Part 3: a large image in little memory, and a store of many images."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from figures import Part, Row, Series
from mounts import mounted, timed_read
from processes import BenchError
from stores import fill, image_path, jpeg
from turns import Candidate, in_turns, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from setting import Setting

_MB = 10**6
_LARGE_MB, _MOST_PEAK_MB = 100, 120

#: nothing listens there: what is not stored fails
_NO_SERVICE = "http://127.0.0.1:9"
_STORED_BYTES = 3000
#: the images that are opened; the smallest store has no others
_OPENED = 200
_COUNTS = (1_000, 10_000, 100_000)
_MOST_START_S = 1.5
_MOST_GROWTH_MB = 40
#: equally fast, within the noise of a machine that also does other work
_MOST_OPEN_RATIO = 1.25
_LOAD_S = 60
_LOOK_S = 0.01


def measure(setting: Setting) -> Part:
    """Measure both."""
    counts = _COUNTS[:-1] if setting.is_quick else _COUNTS
    rows = [*_rows_of_large(setting), *_rows_of_stores(setting, counts)]
    note = (
        f"Each run opens the same {_OPENED} images once in every store, alternating "
        "between stores; growth is relative to the store without other images."
    )
    return Part("memory and size", rows, [note])


def _rows_of_large(setting: Setting) -> list[Row]:
    folder = setting.folder / "large"
    image = folder / "api/v2/image_download/1"
    image.parent.mkdir(parents=True)
    image.write_bytes(jpeg(_LARGE_MB * _MB))
    server = setting.static_server(folder, latency_s=0)
    name = f"{_LARGE_MB} MB image"
    fetch = partial(_fetch_large, setting, server.url)
    measured = in_turns("memory", [Candidate(name, fetch, setting.runs)])
    times_s, peaks_mb = zip(*measured[name], strict=True)
    return [
        Row(
            f"peak memory, {name}",
            Series(peaks_mb, "MB"),
            most=_MOST_PEAK_MB,
            is_hard=True,
        ),
        Row("fetching and reading it", Series(times_s, "s")),
    ]


def _fetch_large(setting: Setting, api_url: str) -> tuple[float, float]:
    """Return seconds, and the most MB of memory that the mount took."""
    with mounted(setting.folder, "--api-url", api_url) as mount:
        seconds, size_bytes = timed_read(mount.root / image_path(1))
        peak_mb = mount.memory_bytes("VmHWM") / _MB
    if size_bytes != _LARGE_MB * _MB:
        raise BenchError(f"the large image has {size_bytes} bytes")
    return seconds, peak_mb


class _Store(NamedTuple):
    """A store that was filled."""

    name: str
    folder: Path
    disk_bytes: int


class _Look(NamedTuple):
    """What one mount of a store shows."""

    started_s: float
    open_us: float
    memory_mb: float


def _rows_of_stores(setting: Setting, counts: tuple[int, ...]) -> list[Row]:
    data = jpeg(_STORED_BYTES)
    stores = []
    for count in (_OPENED, *counts):
        name = f"{count} images"
        tell(f"memory: fills a store with {name}")
        folder = setting.folder / f"store-{count}"
        stores.append(_Store(name, folder, fill(folder, _NO_SERVICE, count, data)))
    turns = []
    for turn in range(setting.runs):
        tell(f"memory: stores, {turn + 1} of {setting.runs}")
        turns.append(_looks(setting, stores))
    names = [store.name for store in stores]
    looks = dict(zip(names, zip(*turns, strict=True), strict=True))
    return [*_rows_of_starts(looks), *_rows_of_opens(looks), *_rows_of_growth(looks)]


def _rows_of_starts(looks: Mapping[str, Sequence[_Look]]) -> list[Row]:
    return [
        Row(
            f"mount, {name}",
            Series([look.started_s for look in of_store], "s"),
            most=_MOST_START_S,
        )
        for name, of_store in looks.items()
    ]


def _rows_of_opens(looks: Mapping[str, Sequence[_Look]]) -> list[Row]:
    few, *many = (
        Row(f"open, {name}", Series([look.open_us for look in of_store], "µs"))
        for name, of_store in looks.items()
    )
    return [
        few,
        *(replace(row, against=few, most_ratio=_MOST_OPEN_RATIO) for row in many),
    ]


def _rows_of_growth(looks: Mapping[str, Sequence[_Look]]) -> list[Row]:
    few, *many = (
        (name, [look.memory_mb for look in of_store])
        for name, of_store in looks.items()
    )
    memory = Row(f"memory, {few[0]}", Series(few[1], "MB"))
    return [
        memory,
        *(
            Row(
                f"growth, {name}",
                Series([mb - memory.figure.median for mb in of_store_mb], "MB"),
                most=_MOST_GROWTH_MB,
            )
            for name, of_store_mb in many
        ),
    ]


def _looks(setting: Setting, stores: list[_Store]) -> list[_Look]:
    """Mount all of the stores, and open the same images of each in turns."""
    with ExitStack() as stack:
        mounts = []
        for store in stores:
            mount = stack.enter_context(
                mounted(setting.folder, "--api-url", _NO_SERVICE, store=store.folder)
            )
            _wait_until_loaded(mount.root, store.disk_bytes)
            mounts.append(mount)
        times_s = [
            [timed_read(mount.root / image_path(image_id))[0] for mount in mounts]
            for image_id in range(1, _OPENED + 1)
        ]
        return [
            _Look(
                mount.started_s,
                1e6 * statistics.median(of_mount),
                mount.memory_bytes("VmRSS") / _MB,
            )
            for mount, of_mount in zip(mounts, zip(*times_s, strict=True), strict=True)
        ]


def _wait_until_loaded(root: Path, disk_bytes: int) -> None:
    ends_s = time.monotonic() + _LOAD_S
    while True:
        found = os.statvfs(root)
        used_bytes = (found.f_blocks - found.f_bfree) * found.f_frsize
        if used_bytes == disk_bytes:
            return
        if time.monotonic() > ends_s:
            raise BenchError(
                f"the store says it holds {used_bytes} bytes, not {disk_bytes}"
            )
        time.sleep(_LOOK_S)
