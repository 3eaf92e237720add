"""Rows of the service become records; undocumented values are ignored."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allenfs.model import records
from allenfs.model.records import SectionImage
from allenfs.model.rows import first_row, record_id, rows_of, texts

# recorded: BlueBrain's tests, SectionImage.json (shortened)
RECORDED = {
    "annotated": False,
    "data_set_id": 123,
    "failed": False,
    "height": 4936,
    "id": 101945191,
    "resolution": 1.63,
    "section_number": 171,
    "tier_count": 7,
    "width": 8992,
}
KEYS = (
    *("id", "section_number", "width", "height", "resolution", "failed", "annotated"),
    *("treatments", "name", "associates", "data_set", "plane_of_section", "acronym"),
    *("plane_of_section_id", "red_lower", "red_upper", "green_lower", "green_upper"),
    *("blue_lower", "blue_upper", "x", "y"),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 70_000),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["7", "007", "-7", "٣", "NISSL", "1e3", 10**400, 1e308, "9" * 400]),
)
json_values = st.recursive(
    scalars,
    lambda some: (
        st.lists(some, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), some, max_size=6)
    ),
    max_leaves=20,
)
rows = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=10)
hard = settings(max_examples=200, deadline=None)


def is_id(value: object) -> bool:
    return type(value) is int and 1 <= value < 10**18


def test_a_recorded_section_image_is_read():
    image = records.image_of(RECORDED)
    assert image == SectionImage(101945191, 171, 8992, 4936, 1.63, tier_count=7)
    assert image.file_name == "0171_101945191.jpg"


@hard
@given(row=rows)
@example(row={"id": 1, "section_number": 1, "resolution": math.nan})
@example(row={"id": 1.0, "section_number": 2.0, "width": 1e308})
def test_any_row_is_a_checked_image_or_none(row):
    image = records.image_of(row)
    if image is None:
        return
    assert is_id(image.image_id)
    for number, maximum in (
        *((image.x_px, 10**7), (image.y_px, 10**7)),
        (image.section_number, 10**9),
    ):
        assert number is None or (type(number) is int and 0 <= number <= maximum)
    assert type(image.width_px) is type(image.height_px) is int
    assert min(image.width_px, image.height_px) >= 0
    assert max(image.width_px, image.height_px) <= 10**7
    if image.resolution_um is not None:
        assert type(image.resolution_um) in (int, float)
        assert 0 < image.resolution_um < math.inf
    assert type(image.failed) is type(image.annotated) is bool
    assert all(type(text) is str for text in image.treatments)
    assert len(image.file_name) < 40


@hard
@given(value=json_values, row=rows)
def test_any_value_is_read_or_ignored(value, row):
    bounds = records.channels(value)
    assert bounds is None or (
        len(bounds) == 6
        and all(type(one) is int and 0 <= one <= 65_535 for one in bounds)
    )
    nissl = records.nissl_of(row)
    assert nissl is None or is_id(nissl)
    plane = records.plane_of(row)
    assert plane is None or type(plane) is str
    assert all(type(text) is str for text in texts(value, "name"))
    assert all(type(one) is dict for one in rows_of(value))
    assert type(first_row(value)) is dict
    one = record_id(row)
    assert one is None or is_id(one)


NO_IDS = [None, True, False, 0, -1, 1.5, math.nan, math.inf, 10**18, 1e18, 10**400]
NO_IDS += [
    "",
    "x",
    "-1",
    "1.0",
    " 1",
    "1\n",
    "٣",
    "²",
    "0",
    "1" + "0" * 18,
    [1],
    {"id": 1},
]
NO_IDS += ["0000000001234567890123"]


@pytest.mark.parametrize("value", NO_IDS)
def test_a_number_that_cannot_be_in_a_path_is_no_id(value):
    assert record_id({"id": value}) is None
    assert records.image_of({**RECORDED, "id": value}) is None


@pytest.mark.parametrize("value", [1, 1.0, "1", 10**18 - 1, "9" * 18])
def test_an_id_may_be_text(value):
    assert record_id({"id": value}) == int(value)


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "3rd", 10**9 + 1, math.nan, []])
def test_a_section_without_a_number_is_listed(value):
    image = records.image_of({**RECORDED, "section_number": value})
    assert (image.section_number, image.file_name) == (None, "0000_101945191.jpg")
    nameless = {key: RECORDED[key] for key in RECORDED if key != "section_number"}
    assert records.image_of(nameless) == image
    last = records.image_of({**RECORDED, "section_number": 10**9})
    assert last.file_name == "1000000000_101945191.jpg"


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.0, "1.0", math.nan, math.inf, {}, 10**400]
)
def test_an_invalid_resolution_is_ignored(value):
    assert records.image_of({**RECORDED, "resolution": value}).resolution_um is None


@pytest.mark.parametrize("value", [None, "true", 1, "f", [], {}])
def test_only_true_is_failed(value):
    assert records.image_of({**RECORDED, "failed": value}).failed is False
    assert records.image_of({**RECORDED, "failed": True}).failed is True


@hard
@given(
    pairs=st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 5) | st.sampled_from([None, "1"]))
    )
)
def test_images_are_in_section_order_without_duplicates(pairs):
    images = records.in_section_order(
        {"id": image_id, "section_number": number} for image_id, number in pairs
    )
    said = {
        image_id: 0 if number is None else int(number) for image_id, number in pairs
    }
    assert set(images) == set(said)
    keys = [(image.section_number or 0, image.image_id) for image in images.values()]
    assert [image_id for _, image_id in keys] == list(images)
    if len(pairs) == len({image_id for image_id, _ in pairs}):
        assert keys == sorted((number, image_id) for image_id, number in said.items())


EQUALIZATION = {
    "red_lower": 0,
    "red_upper": 923,
    "green_lower": 0,
    "green_upper": 987,
    "blue_lower": 0,
    "blue_upper": 4095,
}


def test_an_equalization_is_the_range_of_the_page():
    assert records.channels(EQUALIZATION) == (0, 923, 0, 987, 0, 4095)
    as_floats = {key: float(value) for key, value in EQUALIZATION.items()}
    bounds = records.channels(as_floats)
    assert bounds == (0, 923, 0, 987, 0, 4095)
    assert all(type(one) is int for one in bounds)


@pytest.mark.parametrize("value", [None, -1, 65_536, "9x", True, 0.5, math.nan])
def test_an_equalization_without_a_bound_is_ignored(value):
    for bound in EQUALIZATION:
        assert records.channels({**EQUALIZATION, bound: value}) is None
        others = {key: EQUALIZATION[key] for key in {*EQUALIZATION} - {bound}}
        assert records.channels(others) is None


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, [EQUALIZATION]])
def test_an_invalid_equalization_is_ignored(value):
    assert records.channels(value) is None


def associate(image_id: int, number: int, *treatments: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"id": image_id, "section_number": number}
    if treatments:
        names = [{"name": name} for name in treatments]
        row["data_set"] = {"id": 9, "treatments": names}
    return row


def nissl_among(*associates: Any) -> int | None:
    return records.nissl_of(
        {"id": 1, "section_number": 50, "associates": [*associates]}
    )


def test_the_closest_nissl_section_is_chosen():
    assert nissl_among(associate(2, 40, "NISSL"), associate(3, 52, "NISSL")) == 3
    assert nissl_among(associate(3, 52, "NISSL"), associate(2, 40, "NISSL")) == 3
    # as close: the lower id, whatever the service's order
    assert nissl_among(associate(5, 52, "NISSL"), associate(4, 48, "NISSL")) == 4


def test_a_section_with_another_stain_is_not_chosen():
    assert nissl_among(associate(2, 50, "ISH")) is None
    assert nissl_among(associate(2, 50, "nissl")) is None
    assert nissl_among(associate(2, 50, None)) is None
    assert nissl_among(associate(2, 51, "ISH"), associate(3, 90, "ISH", "NISSL")) == 3
    assert nissl_among(associate(1, 50, "NISSL")) is None  # itself
    assert nissl_among() is None
    assert nissl_among(None, 5, "x", {}, [associate(2, 50, "NISSL")]) is None


def test_an_associate_without_treatments_counts_as_nissl():
    assert nissl_among(associate(7, 51)) == 7
    assert nissl_among({**associate(7, 51), "data_set": None}) == 7
    assert nissl_among({**associate(7, 51), "data_set": {"id": 1}}) == 7
    assert nissl_among({**associate(7, 51), "data_set": {"treatments": []}}) is None


def test_planes_are_known_by_name_or_by_their_recorded_ids():
    assert records.plane_of({"plane_of_section": {"name": "oblique"}}) == "oblique"
    both = {"plane_of_section": {"id": 2, "name": "Sagittal"}, "plane_of_section_id": 1}
    assert records.plane_of(both) == "Sagittal"
    assert records.plane_of({"plane_of_section_id": 1}) == "coronal"
    assert records.plane_of({"plane_of_section_id": 2}) == "sagittal"
    assert records.plane_of({"plane_of_section_id": 2.0}) == "sagittal"
    assert (
        records.plane_of({"plane_of_section": None, "plane_of_section_id": 5}) == "n/a"
    )
    assert records.plane_of({"plane_of_section_id": 3}) is None
    assert records.plane_of({"plane_of_section_id": True}) is None
    assert records.plane_of({}) is None


def test_texts_are_in_order_without_duplicates():
    nested = [{"name": "b"}, None, {"name": 5}, {}, {"name": "a"}, {"name": "b"}, "c"]
    assert texts(nested, "name") == ("b", "a")
    assert texts({"name": "alone"}, "name") == ("alone",)
    assert texts("name", "name") == ()
