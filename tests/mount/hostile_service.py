"""A service that sends exactly the given bytes, and how a daemon reacts to them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from listener import Listener
from mounted import Mounted
from typing_extensions import Self

MB = 10**6
# Frame header of 65 535 x 65 535, one scan, end.
JPEG = (
    b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00"
    b"\xff\xda\x00\x02picture\xff\xd9"
)
Says = Callable[[str], Iterable[bytes]]  # the response to a target
# More than four attempts read before the deadline of 2 s: they took 1.6 GB in 1.9 s.
_GREATEST_BYTES = 20_000 * MB
_REQUEST_BYTES = 65_536


def head(status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def whole(body: bytes, *fields: str, kind: str = "image/jpeg") -> bytes:
    fields = (f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields)
    return head("200 OK", *fields) + body


def rows(text: str | bytes) -> bytes:
    """Return an answer to a query whose ``msg`` is the JSON of `text`."""
    body = text if isinstance(text, bytes) else text.encode()
    return envelope(b'{"success":true,"msg":' + body + b"}")


def envelope(body: bytes) -> bytes:
    return whole(body, kind="application/json")


def start_row(target: str) -> int:
    return int(target.partition("start_row$eq")[2].partition("]")[0])


def id_of(target: str) -> str:
    return target.partition("id$eq")[2].partition("]")[0]


def one_page(text: str | bytes) -> Says:
    """Say one page of rows, and then that there is no more."""
    return lambda target: [rows("[]" if start_row(target) else text)]


def once(*pieces: bytes) -> Says:
    return lambda _: pieces


class HostileService(Listener):
    """Sends `image` to image requests, `query` to queries; one per connection.

    Attributes
    ----------
    requests : list of str
        The requested targets.
    """

    def __init__(self, listening: socket.socket | None = None) -> None:
        super().__init__(listening)
        self.requests: list[str] = []
        self.heal()

    def heal(self) -> None:
        self.image: Says = lambda _: [whole(JPEG)]
        self.query: Says = lambda _: [rows("[]")]

    def serve(self, connection: socket.socket) -> None:
        asked = connection.recv(_REQUEST_BYTES).decode("latin-1")
        if not asked:
            return
        target = unquote(asked.split(" ")[1])
        self.requests.append(target)
        sent_bytes = 0
        says = self.query if "/query.json" in target else self.image
        for piece in says(target):
            connection.sendall(piece)
            sent_bytes += len(piece)
            if sent_bytes > _GREATEST_BYTES:
                break
        # a close with unread bytes would be a reset
        connection.shutdown(socket.SHUT_WR)
        connection.recv(_REQUEST_BYTES)


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Give an address whose backlog is full: a connection is never made."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        while True:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{address[1]}"


class Elsewhere:
    """A listener to which no connection must be made."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def was_called(self) -> bool:
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


class Suspect:
    """Looks at a mount whose service is hostile.

    `folder` holds the mount, its store and its log, and nothing else; `most_bytes` is
    what the daemon's memory may grow by.
    """

    def __init__(self, mounted: Mounted, folder: Path, most_bytes: int) -> None:
        assert mounted.process is not None
        self.mounted = mounted
        self._folder = folder
        self._process = Path(f"/proc/{mounted.process.pid}")
        self._most_bytes = most_bytes
        self._new_bytes = self._status("VmRSS")
        self._log_at = len(mounted.log)

    def begin(self) -> None:
        self._process.joinpath("clear_refs").write_text("5")
        self._log_at = len(self.mounted.log)

    def lines(self) -> list[str]:
        """Return the failures since `begin`."""
        lines = self.mounted.log[self._log_at :].split("\n")[:-1]
        return [line for line in lines if not line.startswith("INFO allenfs.")]

    def check(self, *, failures: int = 1) -> str:
        """Return the one line of the log, and look that nothing else has come of it."""
        grown_bytes = self._status("VmHWM") - self._new_bytes
        assert grown_bytes < self._most_bytes, grown_bytes / MB
        log = self.mounted.log[self._log_at :]
        assert log.replace("\n", "").isprintable()
        assert log.isascii()
        for line in log.splitlines():
            assert re.match(r"(INFO|WARNING) allenfs\.[a-z_.]+: ", line), line
            assert len(line) < 3000, line[:200]
        lines = self.lines()
        assert len(lines) == failures, lines
        assert sorted(os.listdir(self._folder)) == ["daemon.log", "mnt", "store"]
        own = {"images", "incoming", "journal", "lock", "locks", "records"}
        assert {*os.listdir(self.mounted.cache_dir)} <= own | {"CACHEDIR.TAG"}
        assert os.listdir(self.mounted.cache_dir / "incoming") == []
        return lines[0] if lines else ""

    def check_failure(self, path: Path) -> str:
        """Return the one line of the log, which says what the attribute does."""
        line = self.check()
        said = os.getxattr(path, "user.allenfs.error").decode()
        assert said in line
        assert said.isprintable()
        assert said.isascii()
        return line

    def _status(self, name: str) -> int:
        text = self._process.joinpath("status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024
