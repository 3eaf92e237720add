"""The store against a small model: what is kept, what goes first, and the limit."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_helpers import (
    FOOTER_BYTES,
    KIB,
    PAGE,
    STARTED_NS,
    disk_usage,
    downloads,
    found,
    image_bytes,
    put,
    section,
    store_at,
    stored_files,
)

CAPACITY = 64 * KIB
NUMBERS = st.integers(1, 7)
SIZES = st.sampled_from(
    [1, 4095, PAGE - FOOTER_BYTES, PAGE - FOOTER_BYTES + 1, 12_345, 30_001, 70_000]
) | st.integers(1, 40_000)


class StoreLaws(RuleBasedStateMachine):
    """One store, reopened now and then, and an OrderedDict, oldest use first."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="allenfs-store-"))
        # 1 s a look
        self.clock_ns = itertools.count(STARTED_NS, 10**9).__next__
        self.model: OrderedDict[int, bytes] = OrderedDict()
        self.reopen()

    def teardown(self):
        shutil.rmtree(self.directory)

    @rule()
    def reopen(self):
        self.store = store_at(self.directory, CAPACITY, clock_ns=self.clock_ns)

    @rule()
    def load(self):
        self.store.load()

    @rule(number=NUMBERS, size=SIZES)
    def add(self, number, size):
        data = image_bytes(number, size)
        put(self.store, number, data)
        if cost(data) > self.store.capacity_bytes:
            return
        self.model.pop(number, None)
        while used(self.model) + cost(data) > self.store.capacity_bytes:
            self.model.popitem(last=False)
        self.model[number] = data

    @rule(number=NUMBERS)
    def find(self, number):
        assert found(self.store, number) == self.model.get(number)
        if number in self.model:
            self.model.move_to_end(number)

    @rule(number=NUMBERS)
    def peek(self, number):
        known = self.store.peek(section(number))
        data = self.model.get(number)
        assert (known and known.size_bytes) == (data and len(data))

    @rule()
    def clear(self):
        assert self.store.clear() == len(self.model)
        self.model.clear()

    @invariant()
    def what_the_model_has_is_on_disk_and_nothing_else(self):
        ids = {int(path.parent.name) for path in stored_files(self.directory)}
        assert ids == self.model.keys()
        assert sorted(self.store.used_ids(section(1).service)) == sorted(ids)
        if (self.directory / "incoming").exists():
            assert downloads(self.directory) == []

    @invariant()
    def the_limit_holds(self):
        if (self.directory / "lock").exists():
            bytes_used, _ = disk_usage(self.directory)
            assert bytes_used <= CAPACITY


def cost(data):
    return -(-(len(data) + FOOTER_BYTES) // PAGE) * PAGE


def used(model):
    return sum(map(cost, model.values()))


TestStoreLaws = StoreLaws.TestCase
# A failure is shown as found: to shrink it, with real files, takes minutes.
TestStoreLaws.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
)


def test_everything_below_the_directory_counts_within_the_limit(tmp_path):
    """Files at their length and in whole blocks, the store's own files too."""
    store = store_at(tmp_path, 16 * PAGE)
    worst_bytes = worst_blocks = 0
    for number in range(1, 300):
        put(store, number, image_bytes(number, PAGE - FOOTER_BYTES))
        bytes_used, blocks_used = disk_usage(tmp_path)
        worst_bytes = max(worst_bytes, bytes_used)
        worst_blocks = max(worst_blocks, blocks_used)
    assert worst_bytes <= 16 * PAGE
    assert worst_blocks <= 16 * PAGE
    assert worst_blocks >= 13 * PAGE  # and the room is used
