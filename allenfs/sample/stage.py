"""State shared by the handlers of one service: counters, faults, database, hold."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from allenfs.sample.content import sample_database
from allenfs.sample.fault_plan import FaultPlan
from allenfs.sample.rma import evaluate
from allenfs.sample.traffic import Traffic

if TYPE_CHECKING:
    from allenfs.sample.database import Database
    from allenfs.sample.faults import Fault
    from allenfs.sample.rma import Answer, Rules
    from allenfs.sample.rma_query import Query

_POLL_S: Final = 0.05


class Stage:
    """The state of one service, shared by all connections."""

    def __init__(
        self,
        *,
        latency_s: float,
        query_latency_s: float,
        database: Database | None,
        rules: Rules,
    ) -> None:
        self.traffic = Traffic()
        self.url = ""
        self._latency_s = latency_s
        self._query_latency_s = query_latency_s
        self._database = sample_database() if database is None else database
        self._rules = rules
        self._plan = FaultPlan()
        self._query_plan = FaultPlan()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._closed = threading.Event()
        self.running = threading.Event()
        self.running.set()

    def open(self, url: str) -> None:
        """Begin to serve at that address."""
        self.url = url
        self._closed.clear()

    def close(self) -> None:
        """End everything that waits."""
        self._closed.set()
        self._end_open_answers()

    def fail(self, fault: Fault, *, image_id: int | None, times: int | None) -> None:
        """Plan a fault of image requests."""
        with self._lock:
            self._plan.add(fault, image_id=image_id, times=times)

    def fail_queries(self, fault: Fault, *, times: int | None) -> None:
        """Plan a fault of queries."""
        with self._lock:
            self._query_plan.add(fault, image_id=None, times=times)

    def fail_sometimes(self, share: float, faults: Sequence[Fault], seed: int) -> None:
        """Give a share of all answers a fault, chosen by a seeded generator."""
        dice = random.Random(seed)  # noqa: S311 - of faults, not of secrets
        with self._lock:
            self._plan.add_chance(share, faults, dice)
            self._query_plan.add_chance(share, faults, dice)

    def heal(self) -> None:
        """Forget all faults, and end the faulty answers in progress."""
        with self._lock:
            self._plan.clear()
            self._query_plan.clear()
        self._end_open_answers()

    def take_fault(self, image_id: int | None) -> Fault | None:
        """Return the fault planned for this image request, and count it as used."""
        with self._lock:
            return self._plan.take(image_id)

    def take_query_fault(self) -> Fault | None:
        """Return the fault planned for this query, and count it as used."""
        with self._lock:
            return self._query_plan.take(None)

    def hold(self, spent_s: float = 0) -> None:
        """Wait as long as an image answer is to be held before its first byte.

        Drawing it may have taken some of that time.
        """
        self._closed.wait(max(0, self._latency_s - spent_s))
        while not (self.running.wait(_POLL_S) or self._closed.is_set()):
            pass

    def hold_query(self) -> None:
        """Wait as long as the answer to a query is to be held."""
        self._closed.wait(self._query_latency_s)

    def evaluate(self, query: Query) -> Answer:
        """Answer a query from this service's database, by its rules."""
        return evaluate(query, self._database, self._rules)

    def pauser(self) -> Callable[[float], bool]:
        """Return a sleep function: true means that open-ended answers should end."""
        with self._lock:
            return self._ended.wait

    def _end_open_answers(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, threading.Event()
        ended.set()
