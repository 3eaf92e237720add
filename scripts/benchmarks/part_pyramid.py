"""Part 5: tiles of a pyramid beside the whole section, and the memory they take."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from figures import Part, Row, Series
from mounts import mounted, timed_read
from PIL import Image  # noqa: TID251 - as people read a whole section
from processes import BenchError
from turns import Candidate, in_turns, tell

from allenfs.model.pyramids import ARRAY_FILE, CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from services import Sample
    from setting import Setting

_IMAGE_ID = 69750516
_SIZE_PX = (14065, 7297)
_SECTION = f"section/{_IMAGE_ID}"
#: the service's seconds for an image
_LATENCY_S = 0.4
#: a pixel in the middle of the section
_X_PX, _Y_PX = 7600, 3600
_TILE_PX = 1024
_MOST_FIRST_S = 0.5
#: tiles of one row at full resolution
_PANNED = 12
_AT_ONCE = 4
_IDEAL_S = _PANNED * _LATENCY_S / _AT_ONCE
_MOST_AT_ONCE_S = 1.15 * _IDEAL_S + _LATENCY_S
#: as for copying: read-ahead leaves a slot free, and begins after two tiles
_MOST_ONE_BY_ONE_S = 1.35 * _IDEAL_S + 1
_MOST_REQUESTS = _PANNED + 2
_READERS = 8
_MOST_MB = 150
_MB = 10**6

Image.MAX_IMAGE_PIXELS = None  # the section has more than Pillow trusts


class _Look(NamedTuple):
    """What one way took: seconds, downloaded megabytes, requests of the service."""

    took_s: float
    downloaded_mb: float
    requests: int = 0
    at_once: int = 0


def measure(setting: Setting) -> Part:
    """Measure the time to a value, panning along a row, and the memory."""
    service = setting.sample(_LATENCY_S)
    alone, at_once, panned, unaided, whole = (
        "one value, its tile",
        f"{_PANNED} tiles of a row at once",
        f"{_PANNED} tiles, one by one",
        f"{_PANNED} tiles, --readahead 0",
        "one value, the whole section",
    )
    ways: dict[str, Callable[[], _Look]] = {
        alone: partial(_counted, setting, service, _value_of_tile),
        at_once: partial(_counted, setting, service, _show),
        panned: partial(_counted, setting, service, _pan),
        unaided: partial(_counted, setting, service, _pan, "--readahead", 0),
        whole: partial(_value_of_section, setting, _served_whole(setting)),
    }
    looks = in_turns(
        "pyramid",
        [Candidate(name, way, setting.slow_runs) for name, way in ways.items()],
    )
    peak = Candidate("peak memory", partial(_peak_mb, setting), setting.slow_runs)
    peaks_mb = in_turns("pyramid", [peak])[peak.name]
    rows = {
        name: Row(name, Series([look.took_s for look in of_way], "s"))
        for name, of_way in looks.items()
    }
    megabytes = Row("downloaded, the whole section", _megabytes(looks[whole]))
    return Part(
        f"pyramid: {_SIZE_PX[0]} x {_SIZE_PX[1]} pixels, {_LATENCY_S} s an image",
        [
            Row(alone, rows[alone].figure, rows[whole], most=_MOST_FIRST_S),
            _row_of_requests(looks[alone], 1),
            rows[whole],
            Row("downloaded, its tile", _megabytes(looks[alone]), megabytes),
            megabytes,
            *(
                row
                for name, most_s in (
                    (at_once, _MOST_AT_ONCE_S),
                    (panned, _MOST_ONE_BY_ONE_S),
                )
                for row in (
                    Row(name, rows[name].figure, rows[unaided], most=most_s),
                    _row_of_requests(looks[name], _MOST_REQUESTS),
                    _row_of(
                        "requests at a time",
                        [look.at_once for look in looks[name]],
                        _AT_ONCE,
                    ),
                )
            ),
            rows[unaided],
            Row(
                f"peak memory, {_READERS} readers",
                Series(peaks_mb, "MB"),
                most=_MOST_MB,
                is_hard=True,
            ),
        ],
        [
            "One value: a pixel at full resolution. Of its tile: the array's metadata "
            "and one chunk. Of the whole section: image.jpg, decoded with Pillow, from "
            "a static server on this machine with the same latency.",
            f"Memory: of the mount, while {_READERS} threads each read all chunks of "
            "all levels, from a service without latency.",
        ],
    )


def _megabytes(looks: Sequence[_Look]) -> Series:
    return Series([look.downloaded_mb for look in looks], "MB")


def _row_of_requests(looks: Sequence[_Look], most: int) -> Row:
    return _row_of("its requests for images", [look.requests for look in looks], most)


def _row_of(what: str, counts: Sequence[int], most: int) -> Row:
    return Row(what, Series(counts, ""), most=most, is_hard=True)


def _counted(
    setting: Setting, service: Sample, way: Callable[[Path], None], *flags: object
) -> _Look:
    """Do something with a cold mount of the service."""
    with mounted(setting.folder, "--api-url", service.url, *flags) as mount:
        service.take_counters()
        started_s = time.perf_counter()
        way(mount.root / _SECTION / "image.zarr")
        took_s = time.perf_counter() - started_s
        downloaded_mb = _downloaded_mb(mount.root)
    counters = service.take_counters()
    return _Look(
        took_s, downloaded_mb, counters.image_requests, counters.peak_all_requests
    )


def _downloaded_mb(root: Path) -> float:
    status = json.loads((root / ".allenfs/status.json").read_text())
    size_bytes: int = status["images"]["downloaded_bytes"]
    return size_bytes / _MB


def _value_of_tile(pyramid: Path) -> None:
    array = json.loads((pyramid / "0" / ARRAY_FILE).read_text())
    channels, height_px, width_px = array["chunks"]
    row, column = _Y_PX // height_px, _X_PX // width_px
    data = (pyramid / f"0/0/{row}/{column}").read_bytes()
    at = _Y_PX % height_px * width_px + _X_PX % width_px
    if not any(data[at :: height_px * width_px]) or len(data) != CHUNK_BYTES:
        raise BenchError(f"the chunk has {len(data)} bytes of {channels} channels")


def _pan(pyramid: Path) -> None:
    """Read tiles one after the other, as someone does who moves along a row."""
    _read(*_row(pyramid))


def _show(pyramid: Path) -> None:
    """Read all tiles at the same time, as zarr does for one selection."""
    with ThreadPoolExecutor(_PANNED) as readers:
        list(readers.map(_read, _row(pyramid)))


def _row(pyramid: Path) -> list[Path]:
    row = pyramid / f"0/0/{_Y_PX // _TILE_PX}"
    return [row / f"{column}" for column in range(_PANNED)]


def _served_whole(setting: Setting) -> str:
    """Return the address of a server of the whole section, drawn once."""
    tell("pyramid: draws the whole section")
    folder = setting.folder / "whole"
    path = f"api/v2/image_download/{_IMAGE_ID}"
    (folder / path).parent.mkdir(parents=True)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{setting.instant.url}/{path}") as answer:
        (folder / path).write_bytes(answer.read())
    return setting.static_server(folder, _LATENCY_S).url


def _value_of_section(setting: Setting, api_url: str) -> _Look:
    with mounted(setting.folder, "--api-url", api_url) as mount:
        started_s = time.perf_counter()
        with Image.open(mount.root / _SECTION / "image.jpg") as image:
            image.getpixel((_X_PX, _Y_PX))
            if image.size != _SIZE_PX:
                raise BenchError(f"the section has {image.size} pixels")
        took_s = time.perf_counter() - started_s
        return _Look(took_s, _downloaded_mb(mount.root))


def _peak_mb(setting: Setting) -> float:
    with mounted(setting.folder, "--api-url", setting.instant.url) as mount:
        pyramid = mount.root / _SECTION / "image.zarr"
        chunks = sorted(path for path in pyramid.rglob("*") if path.name.isdecimal())
        chunks = [path for path in chunks if path.is_file()]
        starts = range(0, len(chunks), -(-len(chunks) // _READERS))
        with ThreadPoolExecutor(_READERS) as readers:
            list(readers.map(lambda at: _read(*chunks[at:], *chunks[:at]), starts))
        return mount.memory_bytes("VmHWM") / _MB


def _read(*chunks: Path) -> None:
    for chunk in chunks:
        _, size_bytes = timed_read(chunk)
        if size_bytes != CHUNK_BYTES:
            raise BenchError(f"{chunk} has {size_bytes} bytes")
