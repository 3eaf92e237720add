"""Part 4: what the mount adds to a download, and how soon it is there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from downloads import curl_one
from figures import Part, Row, Series
from mounts import mounted, timed_read
from processes import BenchError, seconds_of
from sections import DATA_SET_ID, DOWNSAMPLE
from turns import Candidate, in_turns, tell

if TYPE_CHECKING:
    from sections import Section
    from services import Sample
    from setting import Setting

_MOST_ADDED_MS, _MOST_ADDED_AFTER_WAIT_MS = 3, 15
_MOST_CONNECTIONS = 4
_MOST_START_S = 1.0
#: of those that are waited for with the latency
_SLOW_IMAGES = 30


def measure(setting: Setting) -> Part:
    """Measure single images, connections and starts."""
    rows = [
        *_rows_of_images(setting, setting.instant, setting.sections, setting.runs),
        *_rows_of_images(setting, setting.slow, setting.sections[:_SLOW_IMAGES], 1),
        _row_of_connections(setting),
        *_rows_of_starts(setting),
    ]
    note = (
        "One image: open, read and close in this process, compared with curl's "
        "time_total for the URL. Neither includes starting a process, which takes curl "
        "longer than cat; curl opens a new connection for each image."
    )
    return Part("cold overhead", rows, [note])


def _rows_of_images(
    setting: Setting, sample: Sample, sections: list[Section], runs: int
) -> list[Row]:
    pairs_ms: list[tuple[float, float]] = []
    for turn in range(runs):
        tell(f"cold: images, {sample.latency_s} s each, {turn + 1} of {runs}")
        with mounted(setting.folder, "--api-url", sample.url) as mount:
            sample.take_counters()
            for section in sections:
                ours_s, _ = timed_read(mount.root / section.path)
                pairs_ms.append((1e3 * ours_s, 1e3 * curl_one(section.url(sample.url))))
            if sample.take_counters().image_requests != 2 * len(sections):
                raise BenchError("an image was not cold, or another one was fetched")
    at = f"{sample.latency_s} s"
    most_ms = _MOST_ADDED_AFTER_WAIT_MS if sample.latency_s else _MOST_ADDED_MS
    ours, curls = (Series(values, "ms") for values in zip(*pairs_ms, strict=True))
    added = Series([ours_ms - curl_ms for ours_ms, curl_ms in pairs_ms], "ms")
    curl = Row(f"curl, {at}", curls)
    return [
        Row(f"one image, {at}", ours, curl),
        curl,
        Row(f"more than curl, {at}", added, most=most_ms),
    ]


def _row_of_connections(setting: Setting) -> Row:
    count = partial(_connections, setting)
    candidate = Candidate("connections", count, setting.runs)
    counts = in_turns("cold", [candidate])[candidate.name]
    what = f"connections, {len(setting.sections)} images"
    return Row(what, Series(counts, ""), most=_MOST_CONNECTIONS, is_hard=True)


def _connections(setting: Setting) -> int:
    with mounted(setting.folder, "--api-url", setting.instant.url) as mount:
        setting.instant.take_counters()
        data_set = mount.root / f"dataset/{DATA_SET_ID}/ds{DOWNSAMPLE}"
        seconds_of("cat", *data_set.iterdir())
        return setting.instant.take_counters().connections


def _rows_of_starts(setting: Setting) -> list[Row]:
    ways = {
        "mount --sample": ("--sample",),
        "mount --api-url": ("--api-url", setting.instant.url),
    }
    measured = in_turns(
        "cold",
        [
            Candidate(name, partial(_start_s, setting, flags), setting.runs)
            for name, flags in ways.items()
        ],
    )
    return [
        Row(name, Series(times_s, "s"), most=_MOST_START_S)
        for name, times_s in measured.items()
    ]


def _start_s(setting: Setting, flags: tuple[str, ...]) -> float:
    with mounted(setting.folder, *flags) as mount:
        return mount.started_s
