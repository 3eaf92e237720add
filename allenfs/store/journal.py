"""The journal of a store: files that the processes sharing it added and removed.

Every change appends a line, so that each process learns at its next change what the
others did. The stored files are authoritative: a process lists them once, and a journal
that was replaced or lost only makes it list them again.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from allenfs.store.stored_file import OpenFile
from allenfs.store.trust import is_at, open_own

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"^(?:\+([0-9]+) |-)(\S+)$", re.MULTILINE)
# A 64th of the store; 1 MiB holds about 15 000 changes.
_SHARE, _MIN_BYTES, _MAX_BYTES = 64, 4096, 2**20


class Journal:
    """One reader and writer of a store's journal. Call it while holding the lock."""

    def __init__(self, directory: Path, capacity_bytes: int) -> None:
        self._path = directory / "journal"
        share_bytes = capacity_bytes // _SHARE
        # A longer journal is replaced by an empty one.
        self.max_bytes = min(max(share_bytes, _MIN_BYTES), _MAX_BYTES)
        self._file: OpenFile | None = None
        self._offset = 0

    def skip_to_end(self) -> None:
        """Treat every change so far as known."""
        self._offset = os.fstat(self._open()).st_size

    def news(self) -> list[tuple[str, int | None]] | None:
        """Return the (name, bytes or None if removed) since the last call.

        None if changes were missed, because the journal was replaced: list the stored
        files again.
        """
        if self._file is None or not is_at(self._file.fd, self._path):
            return None
        with open(self._file.fd, "rb", closefd=False) as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        # a line that power loss has torn does not match
        changes = _LINE.findall(data.decode(errors="surrogateescape"))
        return [(name, int(size) if size else None) for size, name in changes]

    def append(self, name: str, size_bytes: int | None) -> None:
        """Append one change of this process, which it will not read as news.

        Call `news` first: what was appended before this line would be skipped.
        """
        fd = self._open() if self._file is None else self._file.fd
        change = f"-{name}" if size_bytes is None else f"+{size_bytes} {name}"
        # between newlines: a line cut off by a full disk spoils no other
        line = f"\n{change}\n".encode(errors="surrogateescape")
        if self._offset + len(line) > self.max_bytes:
            fd = self.replace()
        self._offset += os.write(fd, line)

    def replace(self) -> int:
        """Begin a new journal, which makes every other process list the files again."""
        fresh = self._path.with_name("journal.new")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fresh.rename(self._path)
        return self._open()

    def _open(self) -> int:
        self._file = None
        self._file, self._offset = OpenFile(open_own(self._path, os.O_APPEND)), 0
        return self._file.fd
