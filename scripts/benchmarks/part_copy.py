"""Part 1: a data set copied from a cold mount, and the other ways to its images."""

from __future__ import annotations

import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from downloads import allensdk_all, curl_all, install_allensdk
from figures import Part, Row, Series
from mounts import mounted, timed_read
from other_mounts import usable
from processes import BenchError, seconds_of
from sections import DATA_SET_ID, DOWNSAMPLE
from turns import Candidate, in_turns, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from other_mounts import Mounting
    from services import Counters
    from setting import Setting

    # fills a folder and returns seconds
    Way = Callable[[Path], float]

_CONNECTIONS = (2, 4, 8)
_DEFAULT_CONNECTIONS = 4
_MOST_TO_CURL = 1.1
_MOST_REQUESTS = 62
# of the latency: the median, and the longest
_MOST_OTHER_OPENS = 1.6, 2.2
_OTHER_DATA_SET_ID = 69782969
_OTHER_DOWNSAMPLES = (4, 5, 6, 7)
_PAUSE_S = 0.5


def measure(setting: Setting, allensdk: Path | None) -> Part:
    """Copy in every way; `allensdk` is a virtual environment that has it, if any."""
    url, sections = setting.slow.url, setting.sections
    counted: dict[int, list[Counters]] = {number: [] for number in _CONNECTIONS}
    ways: dict[str, Way] = {}
    for number, counters in counted.items():
        ways[_ours(number)] = partial(
            _through_allenfs, setting, ("--connections", number), counters
        )
        ways[_curl(number)] = partial(curl_all, url, sections, at_once=number)
    slow: dict[str, Way] = {
        "allenfs --readahead 0": partial(
            _through_allenfs, setting, ("--readahead", 0), []
        ),
        "curl, one at a time": partial(curl_all, url, sections, at_once=1),
    }
    notes = ["AllenSDK's seconds are without its imports."]
    try:
        python = _python_with_allensdk(setting, allensdk)
        slow["AllenSDK"] = partial(allensdk_all, python, url, sections)
    except BenchError as error:
        notes = [f"Without AllenSDK: {error}"]
    others, other_notes = _others(setting)
    measured = in_turns(
        "copy",
        [
            Candidate(name, partial(_checked, way, setting), runs)
            for group, runs in (
                (ways, setting.runs),
                (slow | others, setting.slow_runs),
            )
            for name, way in group.items()
        ],
    )
    rows: list[Row] = []
    for number, counters in counted.items():
        curl = Row(_curl(number), Series(measured.pop(_curl(number)), "s"))
        requests = Series([one.image_requests for one in counters], "")
        at_once = Series([one.peak_all_requests for one in counters], "")
        rows += [
            curl,
            Row(
                _ours(number),
                Series(measured.pop(_ours(number)), "s"),
                curl,
                most_ratio=_MOST_TO_CURL,
            ),
            Row("its requests", requests, most=_MOST_REQUESTS, is_hard=True),
            Row("at a time", at_once, most=number, is_hard=True),
        ]
    ours = next(row for row in rows if row.what == _ours(_DEFAULT_CONNECTIONS))
    rows += [Row(name, Series(took_s, "s"), ours) for name, took_s in measured.items()]
    rows += _rows_of_other_opens(setting)
    title = f"copy: cp -r of {len(sections)} cold images of {setting.latency_s} s each"
    return Part(title, rows, notes + other_notes)


def _ours(number: int) -> str:
    return f"allenfs --connections {number}"


def _curl(number: int) -> str:
    return f"curl, {number} at a time"


def _rows_of_other_opens(setting: Setting) -> list[Row]:
    """Open single images of another data set while one is copied."""
    waits_s = [
        wait_s for _ in range(setting.runs) for wait_s in _waits_during_copy(setting)
    ]
    median, longest = (most * setting.latency_s for most in _MOST_OTHER_OPENS)
    return [
        Row("another image during a copy", Series(waits_s, "s"), most=median),
        Row("the longest of them", Series([max(waits_s)], "s"), most=longest),
    ]


def _waits_during_copy(setting: Setting) -> list[float]:
    waits_s: list[float] = []
    with (
        tempfile.TemporaryDirectory(dir=setting.folder) as out,
        mounted(setting.folder, "--api-url", setting.slow.url) as mount,
    ):
        data_set = mount.root / f"dataset/{_OTHER_DATA_SET_ID}"
        others = [
            path
            for downsample in _OTHER_DOWNSAMPLES
            for path in sorted(data_set.glob(f"ds{downsample}/*.jpg"))[::2]
        ]
        copied = mount.root / f"dataset/{DATA_SET_ID}/ds{DOWNSAMPLE}"
        copying = subprocess.Popen(  # noqa: S603 - no shell
            ["cp", "-r", "-t", out, copied]  # noqa: S607 - the user's cp
        )
        time.sleep(_PAUSE_S + 3 * setting.latency_s)  # it is sure by then
        for other in others:
            took_s, _ = timed_read(other)
            if copying.poll() is not None:
                break
            waits_s.append(took_s)
            time.sleep(_PAUSE_S)
        copying.wait()
    return waits_s


def _python_with_allensdk(setting: Setting, given: Path | None) -> Path:
    if given is not None:
        return given / "bin/python"
    if setting.is_quick:
        raise BenchError("--quick does not install it")
    tell("copy: installing AllenSDK")
    return install_allensdk(setting.folder / "allensdk")


def _others(setting: Setting) -> tuple[dict[str, Way], list[str]]:
    names = [section.file_name for section in setting.sections]
    server = setting.static_server(setting.truth, setting.latency_s)
    mountings, notes = usable(setting.folder, server.url, names)
    ways: dict[str, Way] = {
        name: partial(_through_other, setting, mounting, server.url, names)
        for name, mounting in mountings.items()
    }
    if ways:
        notes.append(
            f"{' and '.join(ways)}: the same files from a static server, which sends "
            "lengths, and has the same latency for GET requests, none for HEAD."
        )
    return ways, notes


def _through_allenfs(
    setting: Setting, flags: tuple[object, ...], counted: list[Counters], out: Path
) -> float:
    with mounted(setting.folder, "--api-url", setting.slow.url, *flags) as mount:
        setting.slow.take_counters()
        data_set = mount.root / f"dataset/{DATA_SET_ID}/ds{DOWNSAMPLE}"
        seconds = seconds_of("cp", "-r", "-t", out, data_set)
        counted.append(setting.slow.take_counters())
    return seconds


def _through_other(
    setting: Setting, mounting: Mounting, url: str, names: list[str], out: Path
) -> float:
    with mounting(setting.folder, url, names) as files:
        return seconds_of("cp", "-r", "-t", out, *files.copied)


def _checked(way: Way, setting: Setting) -> float:
    """Fill a folder, and look that every byte is the service's."""
    with tempfile.TemporaryDirectory(dir=setting.folder) as folder:
        seconds = way(Path(folder))
        found = {
            path.name.removesuffix(".."): path.read_bytes()
            for path in Path(folder).rglob("*.jpg*")
        }
    if found != {path.name: path.read_bytes() for path in setting.truth.iterdir()}:
        raise BenchError("a copy differs from what the service answers")
    return seconds
