"""Part 6: the genes of a product, and its data sets by prefetch."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from downloads import curl_urls
from figures import Part, Row, Series
from mounts import mounted
from processes import run, seconds_of
from sections import PRODUCT
from services import ProductServer
from turns import Candidate, in_turns, tell

from allenfs.service.rma import Query

if TYPE_CHECKING:
    from setting import Setting

_CONNECTIONS = 4
_GENES, _PAGE_ROWS = 20_000, 2000
_PAGE_S, _MOST_LIST_S, _LIST_RUNS = 0.5, 2.5, 3
_DATA_SETS, _IMAGES, _MOST_TO_IDEAL = 40, 20, 1.1
_MANY_DATA_SETS = 400
_PATTERN = f"browse/product/{PRODUCT}/dataset/*/ds4"
# In a small process: the peak of a child begins with the memory of its parent.
_PEAK_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def measure(setting: Setting) -> Part:
    """Measure lists, and prefetch."""
    rows = [*_rows_of_lists(setting), *_rows_of_prefetch(setting)]
    notes = [
        f"{_GENES} genes in pages of {_PAGE_ROWS}, each sent after {_PAGE_S} s; "
        f"{_DATA_SETS} data sets of {_IMAGES} images, each answer sent after "
        f"{setting.latency_s} s.",
        "Ideal: the latency of all requests, divided by the four connections. Prefetch "
        "includes its start, and the lists that lead to the first data set.",
    ]
    return Part("product: a long list, and every data set", rows, notes)


def _rows_of_lists(setting: Setting) -> list[Row]:
    ways = {"ls of the genes": _list, "curl, 4 at a time": _curl}
    with _server(setting, _PAGE_S, _GENES, 0) as server:
        measured = in_turns(
            "product",
            [
                Candidate(name, partial(way, setting, server), _LIST_RUNS)
                for name, way in ways.items()
            ],
        )
    ours_s, curls_s = measured.values()
    ours = Row("ls of the genes", Series(ours_s, "s"), most=_MOST_LIST_S)
    return [ours, Row("curl, 4 at a time", Series(curls_s, "s"), ours)]


def _list(setting: Setting, server: ProductServer) -> float:
    with mounted(setting.folder, "--api-url", server.url) as mount:
        product = mount.root / "browse/product" / PRODUCT
        os.listdir(product)
        return seconds_of("ls", product / "gene")


def _curl(setting: Setting, server: ProductServer) -> float:
    query = Query("Gene", f"products[abbreviation$eq'{PRODUCT}']", order="genes.id")
    urls = [
        query.url(server.url, start_row=start_row, num_rows=_PAGE_ROWS)
        for start_row in range(0, _GENES + 1, _PAGE_ROWS)
    ]
    with tempfile.TemporaryDirectory(dir=setting.folder) as folder:
        return curl_urls(urls, Path(folder), at_once=_CONNECTIONS)


def _rows_of_prefetch(setting: Setting) -> list[Row]:
    tell(f"product: prefetch of {_DATA_SETS} data sets")
    with _server(setting, setting.latency_s, 0, _DATA_SETS) as server:
        took_s, memory_bytes = _prefetch(setting, server)
        counts = json.loads(server.ask())
    requests = counts["images"] + counts["queries"]
    ideal_s = requests * setting.latency_s / _CONNECTIONS
    ideal = Row("ideal", Series([ideal_s], "s"))
    rows = [
        Row("prefetch", Series([took_s], "s"), ideal, most_ratio=_MOST_TO_IDEAL),
        ideal,
        Row("its requests", Series([requests], "")),
        Row("requests at a time", Series([counts["peak"]], ""), most=_CONNECTIONS),
        Row(f"its memory, {_DATA_SETS} data sets", Series([memory_bytes / 1e6], "MB")),
    ]
    if not setting.is_quick:
        tell(f"product: prefetch of {_MANY_DATA_SETS} data sets")
        with _server(setting, 0, 0, _MANY_DATA_SETS) as server:
            memory_bytes = _prefetch(setting, server)[1]
        name = f"its memory, {_MANY_DATA_SETS} data sets"
        rows.append(Row(name, Series([memory_bytes / 1e6], "MB"), rows[-1]))
    return rows


def _prefetch(setting: Setting, server: ProductServer) -> tuple[float, int]:
    """Return seconds, and the peak of its memory in bytes."""
    with tempfile.TemporaryDirectory(dir=setting.folder) as store:
        flags = ("--quiet", "--api-url", server.url, "--cache-dir", store)
        started_s = time.perf_counter()
        command = (sys.executable, "-m", "allenfs", "prefetch", *flags, _PATTERN)
        peak_kib = run(sys.executable, "-c", _PEAK_MEMORY, *command)
        return time.perf_counter() - started_s, int(peak_kib) * 1024


def _server(
    setting: Setting, latency_s: float, genes: int, data_sets: int
) -> ProductServer:
    jpeg = min(setting.truth.iterdir(), key=lambda path: path.stat().st_size)
    return ProductServer(jpeg, latency_s, genes, data_sets, _IMAGES)
