"""What of the stored files was compared with its seal, which is done once each."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from allenfs.store.sealed_file import read_facts, signature_of, verify

if TYPE_CHECKING:
    from allenfs.store.sealed_file import Facts, Signature

# Forgetting one costs reading the file to its end again: 1 ms for 300 kB.
_REMEMBERED_FACTS = 8192


class Compared:
    """Facts of stored files, by name. Safe to use from many threads."""

    def __init__(self) -> None:
        # and how the file looked when it was compared
        self._facts: dict[str, tuple[Signature, Facts]] = {}

    def __len__(self) -> int:
        return len(self._facts)

    def facts(self, name: str, fd: int, *, unread: bool) -> Facts | None:
        """Return the facts of an open file; where `unread`, also compare it first.

        Raises
        ------
        DamagedStoreError
            It is not what was sealed.
        """
        signature = signature_of(fd)
        seen, facts = self._facts.get(name, (None, None))
        if signature == seen:
            return facts
        if not unread:
            return None
        facts = verify(fd, name)
        self._remember(name, signature, facts)
        return facts

    def sealed_facts(self, name: str, fd: int) -> Facts:
        """Return what the seal of an open file says, without comparing anything.

        Raises
        ------
        DamagedStoreError
            It has no seal, or none of its own.
        """
        return self.facts(name, fd, unread=False) or read_facts(fd, name)

    def add(self, name: str, fd: int, facts: Facts) -> None:
        """Note the facts of a file that was written just now."""
        self._remember(name, signature_of(fd), facts)

    def forget(self, name: str) -> None:
        """Forget a file."""
        self._facts.pop(name, None)

    def _remember(self, name: str, signature: Signature, facts: Facts) -> None:
        self._facts[name] = signature, facts
        if len(self._facts) > _REMEMBERED_FACTS:
            with contextlib.suppress(KeyError, RuntimeError):  # another thread did
                del self._facts[next(iter(self._facts))]
