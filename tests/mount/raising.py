"""Serves a mount whose filesystem raises a given exception at a given place."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import requests
from raising_log import break_logging

from allenfs.adapters import fuse_operations
from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Attributes
from allenfs.errors import AllenFSError, ServiceTimeoutError
from allenfs.filesystem.kernel_view import Opened

CONTENT = bytes(range(251)) * 2000
DIRECTORIES = {"/", "/names"}

EXCEPTIONS: dict[str, BaseException] = {
    "requests.ConnectionError": requests.ConnectionError("refused"),
    "requests.Timeout": requests.Timeout(),
    "requests.HTTPError": requests.HTTPError("502"),
    "TimeoutError": TimeoutError(),
    "OSError without errno": OSError("no usable URL"),
    "OSError errno 0": OSError(0, "zero"),
    "OSError errno -5": OSError(-5, "negative"),
    "asyncio.TimeoutError": asyncio.TimeoutError(),
    "RuntimeError": RuntimeError("bug"),
    "KeyError": KeyError("bug"),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError(),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bug"),
    "StopIteration": StopIteration(),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "SystemExit": SystemExit(0),
    "GeneratorExit": GeneratorExit(),
    "AllenFSError": AllenFSError("own, without an errno of its own"),
    "ServiceTimeoutError": ServiceTimeoutError("own"),
}


class Raising:
    """Every file raises in the operation that it is named after."""

    def __init__(self, exception: BaseException) -> None:
        self._exception = exception
        self._paths: list[str] = []

    def _fail(self, operation: str, path: str) -> None:
        if path == f"/{operation}":
            raise self._exception

    def stat(self, path: str, handle: int | None, caller: object) -> Attributes:
        self._fail("stat", path)
        return Attributes(
            size_bytes=len(CONTENT),
            blocks=0,
            modified_ns=0,
            is_dir=path in DIRECTORIES,
            is_link=path == "/target",
        )

    def names(self, path: str, *_: object, **__: object) -> list[str]:
        self._fail("names", path)
        return ["names"]

    def open(self, path: str, caller: object, **_: object) -> Opened:
        self._fail("open", path)
        self._paths.append(path)
        file = Document(CONTENT, 0)
        return Opened(len(self._paths), path, file, keep_cache=False, direct_io=False)

    def read(self, handle: int, offset: int, size: int) -> bytes:
        path = self._paths[handle - 1]
        self._fail("read", path)
        if offset >= 128 * 1024:
            self._fail("late read", path)
        return CONTENT[offset : offset + size]

    def release(self, handle: int) -> None:
        self._fail("release", self._paths[handle - 1])

    def target(self, path: str, caller: object) -> str:
        self._fail("target", path)
        return "names"


class RaisingAttributes(Raising):
    """The same for the extended attributes."""

    def value(self, path: str, name: str, caller: object) -> bytes:
        self._fail("attribute", path)
        return b"value"

    def names(self, path: str, *_: object, **__: object) -> list[str]:
        self._fail("attribute_names", path)
        return ["user.allenfs.url"]


def main() -> None:
    mountpoint, name, log_raises = sys.argv[1:]
    exception = EXCEPTIONS[name]
    break_logging(log_raises)

    def usage() -> tuple[int, int]:
        raise exception

    def started() -> None:
        raise exception

    fuse_operations.serve(
        fuse_operations.Operations(
            Raising(exception),
            RaisingAttributes(exception),
            usage=usage,
            started=started,
        ),
        Path(mountpoint),
        {"ro": True, "attr_timeout": "0", "subtype": "allenfs"},
    )


if __name__ == "__main__":
    main()
