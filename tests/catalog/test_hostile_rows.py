"""Whatever rows a service gives: records, or an error of the service."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_records import json_values, scalars

from allenfs.catalog import documents, lists, queries
from allenfs.catalog.queries import Question
from allenfs.errors import ServiceError
from allenfs.model.records import (
    Collection,
    DataSetIds,
    ImageRecord,
    Neighbour,
)
from allenfs.service.single_flight import NOT_INTERRUPTED

_FIELDS = (
    *("id", "section_number", "data_set_id", "section_images", "atlas_data_sets"),
    *("atlas_images", "atlas_data_set", "atlases", "abbreviation", "acronym", "genes"),
    *("plane_of_section", "plane_of_section_id", "failed", "equalization", "name"),
    *("treatments", "associates", "data_set", "annotated", "width", "resolution"),
)
_values = st.recursive(
    scalars | json_values,
    lambda some: (
        st.lists(some, max_size=3)
        | st.dictionaries(st.sampled_from(_FIELDS), some, max_size=5)
    ),
    max_leaves=15,
)
_good_ids = st.integers(1, 9)
_rows = st.none() | st.dictionaries(
    st.sampled_from(_FIELDS), _values | _good_ids, max_size=8
)
_pages = st.lists(st.lists(_rows, max_size=4), max_size=4)

QUESTIONS: list[tuple[Question[Any], type]] = [
    (queries.section(5), ImageRecord),
    (queries.nissl(5), Neighbour),
    (queries.data_set(5), Collection),
    (queries.plate(5), ImageRecord),
    (queries.atlas(5), Collection),
    (lists.atlases(), dict),
    (lists.products(), dict),
    (lists.genes("Mouse"), dict),
    (lists.has_genes("Mouse"), dict),
    (lists.product_data_sets("Mouse"), DataSetIds),
    (lists.gene_data_sets("Mouse", "Adora2a"), dict),
]


def is_id(value: object) -> bool:
    return type(value) is int and 1 <= value < 10**18


def check(record: Any) -> None:
    """Whatever a record holds is of its type."""
    match record:
        case None:
            pass
        case ImageRecord(row, image, data_set_id, atlas_ids):
            assert type(row) is dict
            assert is_id(image.image_id)
            assert data_set_id is None or is_id(data_set_id)
            assert all(map(is_id, atlas_ids))
            assert list(atlas_ids) == sorted(set(atlas_ids))
        case Neighbour(image_id):
            assert image_id is None or is_id(image_id)
        case Collection():
            assert all(is_id(key) for key in record.images)
            assert all(type(text) is str for text in record.treatments)
            numbers = [image.section_number for image in record.images.values()]
            assert numbers == sorted(numbers)
            cached = SimpleNamespace(record=record, fetched_ns=0)
            repository = SimpleNamespace(existing=lambda *_: cached)
            table = documents.sections(repository, 5, NOT_INTERRUPTED)
            lines = table.read(0, 2**30).decode().splitlines()
            assert len(lines) == 1 + len(record.images)
        case DataSetIds(ids, by_plane):
            assert list(ids) == sorted(set(ids))
            assert list(ids) == sorted(itertools.chain(*by_plane.values()))
            check(by_plane)
        case dict():
            for plane, ids in record.items():
                if not isinstance(ids, tuple):  # a name with its id, or the reverse
                    assert {type(plane), type(ids)} == {str, int}
                    assert is_id(plane) or is_id(ids)
                    continue
                assert type(plane) is str
                assert all(map(is_id, ids))
                assert list(ids) == sorted(set(ids))
                assert ids


@pytest.mark.parametrize(("question", "kind"), QUESTIONS, ids=lambda one: str(one)[:40])
def test_hostile_rows_are_records_or_an_error_of_the_service(question, kind):
    seen: set[type] = set()

    @settings(max_examples=80, deadline=None)
    @given(pages=_pages)
    def ask(pages: list[list[dict[str, Any] | None]]) -> None:
        left = iter(pages)

        def page(query: object, start_row: int, num_rows: int) -> Any:
            assert start_row >= 0
            assert num_rows > 0
            # a page is its caller's: two requests never give the same objects
            return [None if row is None else dict(row) for row in next(left, [])]

        try:
            answer = question.ask(page)
        except ServiceError:
            return
        record = question.read(answer)
        check(record)
        seen.add(type(record))

    ask()
    assert seen
    assert all(issubclass(one, (kind, type(None))) for one in seen)
