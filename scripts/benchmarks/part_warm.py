"""Part 2: files that were read before, and a long listing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from figures import Part, Row, Series
from mounts import mounted
from other_mounts import usable
from processes import seconds_of
from sections import DATA_SET_ID, DOWNSAMPLE, LONG_LIST_ID, LONG_LIST_IMAGES
from turns import Candidate, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from setting import Setting

_TIMES = 5
_MOST_TO_LOCAL = 3.0
_MOST_LISTING_S = 1.0
_LOCAL, _OURS = "local", "allenfs"


def measure(setting: Setting) -> Part:
    """Read and list on the mount, on the disk, and on the other mounts."""
    names = [section.file_name for section in setting.sections]
    server = setting.static_server(setting.truth, latency_s=0)
    others, notes = usable(setting.folder, server.url, names)
    with ExitStack() as stack:
        mount = stack.enter_context(
            mounted(setting.folder, "--api-url", setting.instant.url)
        )
        data_set = mount.root / f"dataset/{DATA_SET_ID}/ds{DOWNSAMPLE}"
        files = {
            _LOCAL: [setting.truth / name for name in names],
            _OURS: [data_set / name for name in names],
        }
        for name, mounting in others.items():
            tree = stack.enter_context(mounting(setting.folder, server.url, names))
            files[name] = tree.each
        rows = _rows_of_reads("cat of all", _read_together_ms, files, setting.runs)
        rows += _rows_of_reads("cat of each", _read_each_ms, files, setting.runs)
        long_list = mount.root / f"dataset/{LONG_LIST_ID}/ds{DOWNSAMPLE}"
        rows += _rows_of_listings(long_list, setting)
    title = f"warm: {len(names)} files read {_TIMES} times over; a long listing"
    note = (
        f"cat of all: {_TIMES} processes that read all files; of each: one process per "
        "file. All figures include starting the processes."
    )
    return Part(title, rows, [note, *notes])


def _rows_of_reads(
    what: str,
    read_ms: Callable[[list[Path]], float],
    files: Mapping[str, list[Path]],
    runs: int,
) -> list[Row]:
    for each in files.values():
        seconds_of("cat", *each)  # they are warm from here on
    measured = in_turns(
        f"warm, {what}",
        [Candidate(name, partial(read_ms, each), runs) for name, each in files.items()],
    )
    local = Row(f"{what}, {_LOCAL}", Series(measured.pop(_LOCAL), "ms"))
    limits = {_OURS: _MOST_TO_LOCAL}
    return [
        *(
            Row(
                f"{what}, {name}",
                Series(values, "ms"),
                local,
                most_ratio=limits.get(name),
            )
            for name, values in measured.items()
        ),
        local,
    ]


def _read_together_ms(files: list[Path]) -> float:
    return 1000 * sum(seconds_of("cat", *files) for _ in range(_TIMES))


def _read_each_ms(files: list[Path]) -> float:
    return 1000 * sum(seconds_of("cat", file) for _ in range(_TIMES) for file in files)


def _rows_of_listings(long_list: Path, setting: Setting) -> list[Row]:
    local_list = setting.folder / "listed"
    local_list.mkdir()
    for name in os.listdir(long_list):
        (local_list / name).touch()
    folders = {_LOCAL: local_list, _OURS: long_list}
    measured = in_turns(
        "listing",
        [
            Candidate(name, partial(seconds_of, "ls", "-l", folder), setting.runs)
            for name, folder in folders.items()
        ],
    )
    what = f"ls -l of {LONG_LIST_IMAGES}"
    local = Row(f"{what}, {_LOCAL}", Series(measured[_LOCAL], "s"))
    ours = Series(measured[_OURS], "s")
    return [Row(f"{what}, {_OURS}", ours, local, most=_MOST_LISTING_S), local]
