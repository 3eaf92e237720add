"""Stands in for the service with one long product, in a process of its own.

The sample service draws images and evaluates queries, which takes time that the live
service takes elsewhere; here every answer is ready, and sent after the latency. The
first line on stdout is the address; each line on stdin is answered with what was
counted since the last one.

    python product_server.py JPEG LATENCY_S GENES DATA_SETS IMAGES
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from sections import PRODUCT

_MAX_ROWS = 2000
_IMAGE_IDS = 1000  # from one data set to the next
_QUERY = re.compile(r"model::(\w+).*num_rows\$eq(\w+)\]\[start_row\$eq(\d+)\]")
_ONE = re.compile(r"\[(?:data_set_)?id\$eq(\d+)\]")


class _Answers:
    """What is ready, and what was counted."""

    def __init__(self, jpeg: str, genes: int, data_sets: int, images: int) -> None:
        self.jpeg = Path(jpeg).read_bytes()
        self._images = images
        self._lists: dict[str, list[object]] = {
            "Product": [{"id": 1, "abbreviation": PRODUCT}],
            "Gene": [
                {"id": number, "acronym": f"Gene{number}", "name": "of a gene " * 20}
                for number in range(1, genes + 1)
            ],
            "SectionDataSet": [
                {"id": number, "failed": False, "plane_of_section_id": 2}
                for number in range(1, data_sets + 1)
            ],
        }
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(("images", "queries", "now", "peak"), 0)

    def page(self, target: str) -> bytes:
        """Return the answer to a query."""
        asked, one = _QUERY.search(target), _ONE.search(target)
        assert asked is not None
        model, num_rows, start = asked[1], asked[2], int(asked[3])
        rows = self._lists.get(model, [])
        if one is not None:
            rows = self._images_of(int(one[1]))
            if model == "SectionDataSet":
                rows = [{"id": int(one[1]), "section_images": rows}]
        most = _MAX_ROWS if num_rows == "all" else min(_MAX_ROWS, int(num_rows))
        page = rows[start : start + most]
        facts = {"success": True, "total_rows": len(rows), "num_rows": len(page)}
        return json.dumps(facts | {"msg": page}).encode()

    def _images_of(self, data_set_id: int) -> list[object]:
        first_id = data_set_id * _IMAGE_IDS
        same = {"data_set_id": data_set_id, "width": 640, "height": 480}
        return [
            same | {"id": first_id + n, "section_number": n, "alignment2d": []}
            for n in range(1, self._images + 1)
        ]

    def taken(self) -> dict[str, int]:
        """Return what was counted since the last call."""
        with self.lock:
            counted = self.counts
            now = counted["now"]
            self.counts = {"images": 0, "queries": 0, "now": now, "peak": now}
        return counted


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    answers: _Answers
    latency_s: float

    def do_GET(self) -> None:
        """Answer after the latency."""
        started_s, answers = time.monotonic(), self.answers
        is_query = "/query.json" in self.path
        with answers.lock:
            counts = answers.counts
            counts["queries" if is_query else "images"] += 1
            counts["now"] += 1
            counts["peak"] = max(counts["peak"], counts["now"])
        body = answers.page(unquote(self.path)) if is_query else answers.jpeg
        time.sleep(max(0, started_s + self.latency_s - time.monotonic()))
        with answers.lock:
            answers.counts["now"] -= 1
        kind = "application/json" if is_query else "image/jpeg"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as there
        """Stay silent."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until stdin ends."""
    jpeg, latency_s, *counts = sys.argv[1:]
    _Handler.latency_s = float(latency_s)
    _Handler.answers = _Answers(jpeg, *map(int, counts))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _say(f"http://127.0.0.1:{server.server_address[1]}")
    for _ in sys.stdin:
        _say(json.dumps(_Handler.answers.taken()))


if __name__ == "__main__":
    main()
