"""A large image goes to disk and to its reader, and not through memory as a whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mounted import Mounted

from allenfs.mount.probe import serving_pid

MB = 10**6
SIZE_BYTES = 100 * MB
HEAD = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x20\x01\x01\x11\x00\xff\xda\x00\x02"
END = b"\xff\xd9"
SCAN_BYTES = SIZE_BYTES - len(HEAD) - len(END)
PIECE = bytes(range(200)) * 500


class LargeImage(BaseHTTPRequestHandler):
    """Answers every request with one image of 100 MB."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(SIZE_BYTES))
        self.end_headers()
        self.wfile.write(HEAD)
        for at in range(0, SCAN_BYTES, len(PIECE)):
            self.wfile.write(PIECE[: SCAN_BYTES - at])
        self.wfile.write(END)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), LargeImage) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_100_mb_image_is_fetched_and_read_in_less_than_120_mb(
    tmp_path: Path, api_url: str
) -> None:
    with Mounted(tmp_path, api_url) as mounted:
        file = mounted / "section/1/image.jpg"
        read_bytes = 0
        fd = os.open(file, os.O_RDONLY)
        try:
            assert os.fstat(fd).st_size == SIZE_BYTES
            while data := os.read(fd, MB):
                if not read_bytes:
                    assert data.startswith(HEAD + PIECE)
                read_bytes += len(data)
                last = data
        finally:
            os.close(fd)
        assert read_bytes == SIZE_BYTES
        assert last.endswith(END)
        assert mounted.process is not None
        assert serving_pid(mounted.root) == mounted.process.pid
        status = Path(f"/proc/{mounted.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        assert int(fields["VmHWM"].split()[0]) * 1024 < 120 * MB
