"""Names in the order of their last use, small and exact."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import PAGE

from allenfs.store.index import LruIndex, Use

ALL = [f"service/section/{number}/ds4_image.jpg" for number in "123"]
NAMES = st.sampled_from(ALL)
BLOCKS = st.integers(1, 2**32 - 1)
MICROSECONDS = st.integers(0, 2**63)
USES = st.builds(lambda blocks, at: Use(blocks * PAGE, at), BLOCKS, MICROSECONDS)
STEPS = st.one_of(
    st.tuples(st.just("add"), NAMES, USES),
    st.tuples(st.just("touch"), NAMES, MICROSECONDS),
    st.tuples(st.just("remove"), NAMES, st.none()),
    st.tuples(st.just("pop"), st.none(), st.none()),
)


@given(st.lists(STEPS, max_size=40))
def test_it_is_a_dictionary_in_the_order_of_use(steps):
    index, model = LruIndex(), {}
    for step, name, value in steps:
        if step == "add":
            index.add(name, value)
            model.pop(name, None)
            model[name] = value
        elif step == "touch":
            index.touch(name, value)
            if name in model:
                model[name] = model.pop(name)._replace(used_us=value)
        elif step == "remove":
            index.remove(name)
            model.pop(name, None)
        else:
            oldest = next(iter(model), None)
            expected = None if oldest is None else (oldest, model.pop(oldest))
            assert index.pop_oldest() == expected
        assert index.used_bytes == sum(use.cost_bytes for use in model.values())
        assert all((name in index) == (name in model) for name in ALL)
    while model:
        oldest = next(iter(model))
        assert index.pop_oldest() == (oldest, model.pop(oldest))
    assert index.pop_oldest() is None


@given(st.dictionaries(NAMES, USES))
def test_files_that_are_listed_again_are_in_the_order_of_their_times(files):
    index = LruIndex()
    index.add("gone", Use(PAGE, 1))
    index.replace(files.items())
    assert "gone" not in index
    assert index.used_bytes == sum(use.cost_bytes for use in files.values())
    popped = [index.pop_oldest() for _ in files]
    assert dict(popped) == files
    times = [use.used_us for _, use in popped]
    assert times == sorted(times)


@pytest.mark.parametrize("count", [1000, 100_000])
def test_a_file_takes_400_bytes_of_memory_at_the_most(count):
    host = "api.brain-map.org"
    gc.collect()
    tracemalloc.start()
    try:
        index = LruIndex()
        index.replace(
            (f"{host}/section/{70_000_000 + at}/ds4_image.jpg", Use(PAGE, at))
            for at in range(count)
        )
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert index.used_bytes == count * PAGE
    assert taken_bytes < 400 * count
