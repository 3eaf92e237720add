"""Serves the JPEGs of a folder: a process of its own, until its stdin ends.

For what cannot read the image service as it is (no lengths, a redirect): with
lengths, ranges, and an index of the folder as HTML. A file is answered after the
latency, a HEAD and the index at once.

    python static_server.py FOLDER LATENCY_S
"""

from __future__ import annotations

import functools
import re
import sys
import threading
import time
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
_CHUNK_BYTES = 2**20


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    extensions_map = {"": "image/jpeg"}  # noqa: RUF012 - as in the base class

    def __init__(self, *args: object, latency_s: float, directory: str) -> None:
        self._latency_s = latency_s
        super().__init__(*args, directory=directory)

    def do_GET(self) -> None:
        """Answer with the file, or with the range of it that was asked for."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            super().do_GET()
            return
        time.sleep(self._latency_s)
        size = path.stat().st_size
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        end = min(size, int(found[2]) + 1) if found and found[2] else size
        self.send_response(HTTPStatus.PARTIAL_CONTENT if found else HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(end - start))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            while start < end:
                start += self.wfile.write(file.read(min(_CHUNK_BYTES, end - start)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as there
        """Stay silent."""


def main() -> None:
    """Serve; the first line on stdout is the address."""
    folder, latency_s = sys.argv[1], float(sys.argv[2])
    handler = functools.partial(_Handler, latency_s=latency_s, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
