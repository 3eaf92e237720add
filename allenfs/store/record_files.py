"""The records of one service in a store: answers of the catalog, until evicted.

Each file is one answer in JSON, gzipped (the CRC-32 detects damage), with the time when
it was fetched. Part of the store is reserved for records, so that no number of images
evicts them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from allenfs.errors import DamagedStoreError, ExhaustedError
from allenfs.store.cache import DiskCache
from allenfs.text import HASHED, file_name

if TYPE_CHECKING:
    from allenfs.config import StoreSettings
    from allenfs.store.directory import StoreDirectory
    from allenfs.store.open_files import OpenFile

# Answers in older formats lack fields of images or their alignment: they are used only
# while the service is unreachable.
_FORMAT, _OLDER_FORMATS = 4, (1, 2, 3)
_DAMAGE = (
    *(OSError, EOFError, zlib.error, RecursionError),
    *(ValueError, KeyError, TypeError, OverflowError),
)
_SUFFIX = ".json.gz"

Key = tuple[str, str]


class StoredRecord(NamedTuple):
    """An answer, and when it was fetched (nanoseconds since the epoch)."""

    answer: Any
    fetched_ns: int
    is_suspect: bool = False  # rows seem to be missing: request it again soon


class RecordFiles(DiskCache):
    """Answers by kind and name."""

    FOLDER = "records"
    NAME = re.compile(r"[^/]+/[a-z-]+/[^/]*\.json\.gz")

    def __init__(
        self, settings: StoreSettings, directory: StoreDirectory | None = None
    ) -> None:
        super().__init__(settings, directory)
        self.capacity_bytes = settings.records_bytes

    def get(self, key: Key) -> StoredRecord | None:
        """Return an answer, however old."""
        name = self._name(key)
        with self._reading(name):
            file = self._open(name)
            record = self._check(name, file)
            self._touch(name, file)
            return record
        return None

    def put(self, key: Key, record: StoredRecord) -> None:
        """Store an answer in place of an older one."""
        content = {"allenfs": _FORMAT, "key": key} | record._asdict()
        text = json.dumps(content, separators=(",", ":"))
        with (
            # no more open files, or a broken disk: the answer is in memory only
            contextlib.suppress(ExhaustedError, DamagedStoreError),
            contextlib.closing(self.temp_file()) as temp_file,
        ):
            # level 1 makes rows a tenth of their size, and is the fastest
            temp_file.write(gzip.compress(text.encode(), 1, mtime=0))
            self._commit(self._name(key), temp_file)

    def remove(self, key: Key) -> None:
        """Remove an answer, because the service has no such record."""
        self._remove(self._name(key))

    def names(self, kind: str) -> list[str]:
        """Return the names of the answers of one kind, in no order."""
        try:
            files = os.listdir(self._root / self._service_name / kind)
        except OSError:
            return []
        return [
            unquote(file.removesuffix(_SUFFIX))
            for file in files
            if file.endswith(_SUFFIX) and not file.startswith(HASHED)
        ]

    def _name(self, key: Key) -> str:
        kind, name = key
        return f"{self._service_name}/{kind}/{file_name(name)}{_SUFFIX}"

    def _check(self, name: str, file: OpenFile) -> StoredRecord:
        try:
            with open(file.fd, "rb", closefd=False) as packed:
                data = json.loads(gzip.decompress(packed.read()))
            if data["allenfs"] not in (_FORMAT, *_OLDER_FORMATS):
                raise ValueError("another format version")
            kind, text = data["key"]
            if name.partition("/")[2] != f"{kind}/{file_name(text)}{_SUFFIX}":
                raise ValueError("the record of another file")
            is_suspect = data["allenfs"] != _FORMAT or bool(data["is_suspect"])
            return StoredRecord(data["answer"], int(data["fetched_ns"]), is_suspect)
        except _DAMAGE as error:
            raise DamagedStoreError(
                f"stored record is damaged: {name}: {error}"
            ) from error
