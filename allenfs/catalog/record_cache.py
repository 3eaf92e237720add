"""The record cache: answers in memory and in the store, with their age and TTL."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cachetools import LRUCache

from allenfs.model.records import row_count
from allenfs.store.record_files import Key, StoredRecord
from allenfs.text import in_one_line, safe_logger

if TYPE_CHECKING:
    from allenfs.catalog.queries import Question
    from allenfs.config import ServiceSettings
    from allenfs.store.record_files import RecordFiles

log = safe_logger(__name__)

_Record = TypeVar("_Record")
_RecordT_co = TypeVar("_RecordT_co", covariant=True)

# Estimated sizes: a data set of 2600 images takes 12 MB, most take 300 kB, the longest
# lists 8 MB. Evicted answers remain in the store.
_REMEMBERED_BYTES = 64 * 2**20
_REMEMBERED_WARNINGS = 4096
# A list that never has as many rows as the service announces.
_SHORT_LIST_S = 3600.0


@dataclass(frozen=True, slots=True)
class CachedRecord(Generic[_RecordT_co]):
    """A record, and when it was fetched (nanoseconds since the epoch).

    If it `is_suspect`, rows seem to be missing: names that are not in it may exist.
    """

    record: _RecordT_co
    fetched_ns: int
    fresh_until_s: float = 0.0
    weight_bytes: int = 0
    is_suspect: bool = False


class RecordCache:
    """Records by question. Safe to use from many threads."""

    def __init__(
        self,
        files: RecordFiles,
        settings: ServiceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._files = files
        self._settings = settings
        self._clock = clock
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        # expired records stay, for use while the service is unreachable
        self._memory: LRUCache[Key, CachedRecord[Any]] = LRUCache(
            _REMEMBERED_BYTES, getsizeof=lambda cached: cached.weight_bytes
        )
        self._warned: LRUCache[Key, None] = LRUCache(_REMEMBERED_WARNINGS)

    def fresh(self, question: Question[_Record]) -> CachedRecord[_Record] | None:
        """Return a record that is in memory and not expired."""
        cached = self._remembered(question)
        return cached if cached is not None and self.is_fresh(cached) else None

    def any(self, question: Question[_Record]) -> CachedRecord[_Record] | None:
        """Return a record of any age from memory or the store."""
        cached = self._remembered(question)
        if cached is not None:
            return cached
        stored = self._files.get(question.key)
        if stored is None:
            return None
        try:
            weight_bytes = _weight_bytes(stored.answer)
            record = question.read(stored.answer)
            cached = CachedRecord(
                record, stored.fetched_ns, 0, weight_bytes, stored.is_suspect
            )
        except Exception:  # noqa: BLE001 - whatever another version has written
            log.warning(
                "%s: unreadable in the store, requesting it again", shown(question.key)
            )
            self._files.remove(question.key)
            return None
        age_s = (self._clock_ns() - stored.fetched_ns) / 1e9
        # if the clock was set back, the answer counts as old
        left_s = self._ttl_s(cached) - age_s if age_s >= 0 else 0
        return self.extend(question, cached, left_s)

    def is_fresh(self, cached: CachedRecord[Any]) -> bool:
        """Return whether a record has not expired."""
        return self._clock() < cached.fresh_until_s

    def add(
        self, question: Question[_Record], answer: Any, *, cut: str = ""
    ) -> CachedRecord[_Record]:
        """Cache a new answer; an absence only for a short time.

        A suspect answer (an empty list, or one that is `cut`) is also cached for a
        short time, and does not replace an older one with more rows, which is returned.
        If it equals the older one it is cached for an hour: some lists never have as
        many rows as the service announces. A known record is removed only after two
        answers without it. `cut` is a text that says how many rows are missing.
        """
        record, weight_bytes = question.read(answer), _weight_bytes(answer)
        cached = CachedRecord(record, self._clock_ns(), 0, weight_bytes)
        older, fresh_s = None, self._settings.catalog_ttl_s
        rows = row_count(record)
        if cut or not rows:
            older = self.any(question)
            fresh_s = self._settings.not_found_memory_s
        with self._lock:
            is_news = record is not None or question.key not in self._warned
        if older is not None and rows < row_count(older.record) and is_news:
            effect = f"the older answer with {row_count(older.record)} stays in use"
            self._warn(question.key, cut or "no rows", effect)
            return self.extend(question, older, fresh_s)
        if cut or (record is not None and not rows):
            cached = replace(cached, is_suspect=True)
            if rows and older is not None and record == older.record:
                fresh_s = min(_SHORT_LIST_S, self._settings.catalog_ttl_s)
            elif cut or question.expects_rows:
                effect = "requesting it again soon"
                self._warn(question.key, cut or "no rows", effect)
        else:
            with self._lock:
                self._warned.pop(question.key, None)
        if record:
            stored = StoredRecord(answer, cached.fetched_ns, cached.is_suspect)
            self._files.put(question.key, stored)
        else:
            self._files.remove(question.key)
        return self.extend(question, cached, fresh_s)

    def add_part(self, question: Question[Any], answer: Any) -> None:
        """Cache a part of another answer, unless an older answer has more rows."""
        older = self.any(question)
        rows = row_count(question.read(answer))
        if older is None or rows >= row_count(older.record):
            self.add(question, answer)

    def extend(
        self, question: Question[_Record], cached: CachedRecord[_Record], fresh_s: float
    ) -> CachedRecord[_Record]:
        """Cache a record in memory, and treat it as fresh for `fresh_s`."""
        cached = replace(cached, fresh_until_s=self._clock() + fresh_s)
        with self._lock:
            self._memory[question.key] = cached
        return cached

    def names(self, kind: str) -> list[str]:
        """Return the names of the questions of a kind that have a cached answer."""
        with self._lock:
            in_memory = list(self._memory.items())
        names = {key[1] for key, one in in_memory if key[0] == kind and one.record}
        return sorted(names.union(self._files.names(kind)))

    def _ttl_s(self, cached: CachedRecord[Any]) -> float:
        if cached.record and not cached.is_suspect:
            return self._settings.catalog_ttl_s
        return self._settings.not_found_memory_s

    def _warn(self, key: Key, rows: str, effect: str) -> None:
        """Warn once about a suspect answer, until a good one arrives."""
        with self._lock:
            is_known, self._warned[key] = key in self._warned, None
        level = logging.INFO if is_known else logging.WARNING
        log.log(level, "%s: the service's answer has %s; %s", shown(key), rows, effect)

    def _remembered(self, question: Question[_Record]) -> CachedRecord[_Record] | None:
        with self._lock:
            cached: CachedRecord[_Record] | None = self._memory.get(question.key)
        if cached is None or cached.record or self.is_fresh(cached):
            return cached
        return None  # an expired absence is not an answer


def _weight_bytes(answer: Any) -> int:
    """Return an upper bound of an answer's memory, from its text and its values."""
    text = json.dumps(answer)
    values = sum(map(text.count, ",[{"))
    return min(_REMEMBERED_BYTES, 1000 + 4 * len(text) + 100 * values)


def shown(key: Key) -> str:
    """Return a key for the log, escaped, because its name is untrusted."""
    return in_one_line("/".join(key), 300)
