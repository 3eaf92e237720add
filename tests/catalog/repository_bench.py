"""An repository over a service that does what a test says, and a clock to turn."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from allenfs.catalog.queries import Question
from allenfs.catalog.record_cache import CachedRecord, RecordCache
from allenfs.catalog.repository import Repository
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import (
    BusyError,
    CutAnswerError,
    QueryError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.model.rows import Row
from allenfs.service.rma import Query, Rows
from allenfs.service.single_flight import NOT_INTERRUPTED
from allenfs.service.slots import Slots
from allenfs.store.record_files import RecordFiles

FAILURES = [
    UnreachableError("no connection"),
    ServiceTimeoutError("a stall"),
    BusyError("HTTP 503"),
    CutAnswerError("cut"),
    WrongAnswerError("no JSON"),
    QueryError("line 1, column 92"),
]

PATIENCE_S = 30
DAY_S = 86_400


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]


class ScriptedService:
    """One row per model, or an error, behind a gate; each asking is counted."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.once: list[bool] = []
        self.errors: dict[str, Exception] = {}
        self.error: Exception | None = None
        self.rows: dict[str, list[Row | None]] = {}
        self.total_rows = 0
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()
        self._lock = threading.Lock()

    def page(
        self,
        query: Query,
        *,
        start_row: int,
        num_rows: int,
        slot: AbstractContextManager[object],
        once: bool,
    ) -> Rows:
        with slot:
            with self._lock:
                self.asked[query.model] += 1
                self.once.append(once)
                version = self.asked[query.model]
            self.arrived.set()
            assert self.gate.wait(PATIENCE_S)
            error = self.errors.get(query.model, self.error)
            if error is not None:
                raise error
            rows: list[Row | None] = [{"id": 1, "version": version}]
            page = Rows(self.rows.get(query.model, rows))
            page.total_rows = self.total_rows
            return page


def thing(name: str, kind: str = "thing") -> Question[Any]:
    """Ask for the one row of the model `name`."""
    from allenfs.catalog.paging import one_row
    from allenfs.service.rma import Query

    return Question((kind, name), lambda page: one_row(page, Query(name), 1), _as_it_is)


def _as_it_is(answer: Any) -> Any:
    json.dumps(answer)  # it is plain
    return answer


class Bench:
    """One process: its memory is lost at its end, its stored records remain."""

    def __init__(
        self,
        directory: Path,
        service: ScriptedService | None = None,
        *,
        slots: int = 4,
        now_s: float = 1000.0,
    ) -> None:
        self.directory = directory
        self.now_s = now_s
        self.service = service or ScriptedService()
        self.files = RecordFiles(StoreSettings(directory, 2**26, "test"))
        self.slots = Slots(slots)
        settings = ServiceSettings("http://h", connections=slots)
        self.cache = RecordCache(
            self.files,
            settings,
            clock=lambda: self.now_s,
            clock_ns=lambda: int(self.now_s * 1e9),
        )
        self.repository = Repository(
            self.service, self.cache, settings, self.slots, clock=lambda: self.now_s
        )

    def again(self, *, slots: int = 4) -> Bench:
        """Start another process on the same directory."""
        return Bench(self.directory, self.service, slots=slots, now_s=self.now_s)

    def get(self, name: str) -> CachedRecord[Any]:
        return self.repository.get(thing(name), NOT_INTERRUPTED)

    def version(self, name: str) -> int:
        return self.get(name).record["version"]

    def optional(self, name: str) -> int | None:
        record = self.repository.optional(thing(name), hash(name), NOT_INTERRUPTED)
        return None if record is None else record["version"]
