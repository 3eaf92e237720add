"""Part 1: a data set copied from a cold mount, and the other ways to its images."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from downloads import allensdk_all, curl_all, install_allensdk
from figures import Part, Row, Series
from mounts import mounted
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

_AT_ONCE = 4
_MOST_TO_IDEAL, _MOST_BESIDE_S = 1.35, 1.0
_MOST_REQUESTS = 62


def measure(setting: Setting, allensdk: Path | None) -> Part:
    """Copy in every way; `allensdk` is a virtual environment that has it, if any."""
    url, sections = setting.slow.url, setting.sections
    counted: list[Counters] = []
    quick: dict[str, Way] = {
        "allenfs": partial(_through_allenfs, setting, (), counted),
        "curl, 4 at a time": partial(curl_all, url, sections, at_once=_AT_ONCE),
    }
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
            for ways, runs in (
                (quick, setting.runs),
                (slow | others, setting.slow_runs),
            )
            for name, way in ways.items()
        ],
    )
    ideal_s = len(sections) * setting.latency_s / _AT_ONCE
    ours = Row(
        "allenfs",
        Series(measured.pop("allenfs"), "s"),
        most=_MOST_TO_IDEAL * ideal_s + _MOST_BESIDE_S,
    )
    requests = Series([counters.image_requests for counters in counted], "")
    at_once = Series([counters.peak_all_requests for counters in counted], "")
    rows = [
        ours,
        Row("its requests for images", requests, most=_MOST_REQUESTS, is_hard=True),
        Row("requests at a time", at_once, most=_AT_ONCE, is_hard=True),
        *(Row(name, Series(took_s, "s"), ours) for name, took_s in measured.items()),
    ]
    title = f"copy: cp -r of {len(sections)} cold images of {setting.latency_s} s each"
    return Part(title, rows, notes + other_notes)


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
