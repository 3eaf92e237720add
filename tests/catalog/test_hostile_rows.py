"""Whatever rows a service gives: records, or an error of the service."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_records import json_values, scalars

from allenfs.catalog import documents, lists, queries, structure_documents
from allenfs.catalog.queries import Question, WithRecords
from allenfs.catalog.record_cache import CachedRecord
from allenfs.errors import PathNotFoundError, ServiceError
from allenfs.model import tree
from allenfs.model.records import (
    Collection,
    DataSetIds,
    ImageRecord,
    Neighbour,
    in_section_order,
)
from allenfs.model.regions import AlignedSections, where
from allenfs.model.structures import Structures, read_structures
from allenfs.service.rma import Rows
from allenfs.service.single_flight import NOT_INTERRUPTED

_FIELDS = (
    *("id", "section_number", "data_set_id", "section_images", "atlas_data_sets"),
    *("atlas_images", "atlas_data_set", "atlases", "abbreviation", "acronym", "genes"),
    *("plane_of_section", "plane_of_section_id", "failed", "equalization", "name"),
    *("treatments", "associates", "data_set", "annotated", "width", "resolution"),
)
_STRUCTURE_FIELDS = (
    *("id", "acronym", "name", "parent_structure_id", "color_hex_triplet", "depth"),
    *("graph_order", "structure_centers", "reference_space_id", "x", "y", "z"),
    *("structure_id", "structure", "expression_energy", "sum_pixels", "graph_id"),
)
_ALIGNED_FIELDS = (
    *("alignment3d", "reference_space_id", "section_thickness", "plane_of_section"),
    *("probes", "orientation", "orientation_id", "name", "id", "equalization"),
)
_names = st.sampled_from(_FIELDS + _STRUCTURE_FIELDS)
_values = st.recursive(
    scalars | json_values,
    lambda some: (
        st.lists(some, max_size=3)
        | st.dictionaries(
            st.sampled_from(_FIELDS + _STRUCTURE_FIELDS), some, max_size=5
        )
    ),
    max_leaves=15,
)
_good_ids = st.integers(1, 9)
_rows = st.none() | st.dictionaries(_names, _values | _good_ids, max_size=8)
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
    (lists.gene_sections("Mouse", "Adora2a"), dict),
    (lists.structures(), Structures),
    (lists.unionizes(5), dict),
]


def is_id(value: object) -> bool:
    return type(value) is int and 1 <= value < 10**18


def check_structures(structures: Structures) -> None:
    cached = CachedRecord(structures, 0)
    table = structure_documents.index(cached).read(0, 2**30).decode()
    assert len([*csv.reader(io.StringIO(table))]) == 1 + len(structures)
    for structure in structures.by_id.values():
        assert structures.find(structures.name_of(structure)) is structure
        info = structure_documents.info(structure, cached)
        assert json.loads(info.read(0, 2**30))["id"] == structure.structure_id


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
        case Structures():
            check_structures(record)
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
            assert num_rows == "all" or num_rows > 0
            # a page is its caller's: two requests never give the same objects
            return Rows(None if row is None else dict(row) for row in next(left, []))

        try:
            answer = question.ask(page)
        except ServiceError:
            return
        if isinstance(answer, WithRecords):
            for part, known in answer.records:
                check(part.read(known))
            answer = answer.answer
        record = question.read(answer)
        if question.key[0] == "unionizes":
            structure_documents.unionizes(CachedRecord(record, 0))
        else:
            check(record)
        seen.add(type(record))

    ask()
    assert seen
    assert all(issubclass(one, (kind, type(None))) for one in seen)


_numbers = st.sampled_from([0, 1, -1, 0.5, 25.0, 1e-300, 1e17, -1e17, 8000, "1", None])
_coefficients = st.fixed_dictionaries(
    {f"{name}_{n:02d}": _numbers for name in ("trv", "tvs") for n in range(12)}
)
_aligned_rows = st.fixed_dictionaries(
    {},
    optional={
        name: _values | _numbers | _coefficients | st.lists(_coefficients, max_size=2)
        for name in _ALIGNED_FIELDS
    },
).map(lambda row: {"alignment3d": dict.fromkeys(TRV, 1), **row})
TRV = tuple(f"trv_{n:02d}" for n in range(12))
_images = st.lists(
    st.fixed_dictionaries(
        {"id": _good_ids, "section_number": st.integers(0, 400)},
        optional={
            "alignment2d": _coefficients,
            **dict.fromkeys(("width", "height", "resolution", "x", "y"), _numbers),
        },
    ),
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(_aligned_rows, _images, st.lists(_numbers, min_size=3, max_size=3))
def test_hostile_alignments_are_a_place_or_a_reason(row, images, centre):
    row = {"reference_space_id": 9, "section_thickness": 25, **row}
    centres = [
        {"reference_space_id": space, **dict(zip("xyz", centre, strict=True))}
        for space in (9, 10)
    ]
    structures = read_structures(
        [{"id": 1, "acronym": "DG", "structure_centers": centres}]
    )
    structure = structures.find("DG")
    try:
        sections = AlignedSections(5, Collection(row, in_section_order(images)))
        places = sections.places(structure)
    except PathNotFoundError as error:
        assert str(error)
        return
    assert sections.has(structure)
    for place in places.values():
        assert place.image.image_id in {image["id"] for image in images}
        json.dumps(where(place), allow_nan=False)
        with contextlib.suppress(PathNotFoundError):
            for side_mm in (1, 20):
                tree.parse(place.region_path(side_mm))
