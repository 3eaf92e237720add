"""The folder for the QUINT tools: names, series.json, and recorded places."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_alignments import TO_REFERENCE, TVR, ToReference

from allenfs.model import quint
from allenfs.model.records import Collection, SectionImage

# DeepSlice 1.2.8, coord_post_processing/spacing_and_indexing.py, number_sections:
# `match[-1][2:]` is the section number, and any other number of matches an error
DEEPSLICE = re.compile(r"\_s\d+")
FULL_PX = 14_065, 7297
VOXEL_UM = 25


def coefficients(name: str, values: tuple[float, ...]) -> dict[str, float]:
    return {f"{name}_{place:02d}": value for place, value in enumerate(values)}


def aligned(one: ToReference, **changed: object) -> Collection:
    record = {
        "section_thickness": one.thickness_um,
        "reference_space_id": 9,
        "alignment3d": coefficients("tvr", TVR[one.data_set_id]),
    }
    return Collection(record | changed, {})


def image_of(one: ToReference) -> SectionImage:
    return SectionImage(one.image_id, one.section_number, *FULL_PX, tsv=one.tsv)


@pytest.mark.parametrize(
    "one", TO_REFERENCE, ids=lambda one: f"{one.image_id}-{one.pixel}"
)
def test_recorded_points_come_back_from_the_anchoring(one: ToReference):
    place = quint.anchoring(aligned(one), image_of(one))
    assert place is not None
    o, u, v = place[:3], place[3:6], place[6:]
    x, y, z = (
        start + right * one.pixel[0] / FULL_PX[0] + down * one.pixel[1] / FULL_PX[1]
        for start, right, down in zip(o, u, v, strict=True)
    )
    # QuickNII's axes: to the right, to the front, up
    point_um = 13_200 - y * VOXEL_UM, 8000 - z * VOXEL_UM, x * VOXEL_UM
    assert point_um == pytest.approx(one.point_um, abs=0.01)
    # QuickNII turns and scales a rectangle: the edges are perpendicular
    product = sum(right * down for right, down in zip(u, v, strict=True))
    assert abs(product) <= 0.005 * math.hypot(*u) * math.hypot(*v)


def test_anchoring_is_the_same_in_every_tier_and_the_size_is_that_of_the_file():
    one = TO_REFERENCE[4]
    image, collection = image_of(one), aligned(one)
    for downsample in (0, 2, 4, 10):
        series = quint.series("a name", collection, [image], downsample)
        assert list(series) == ["name", "target", "target-resolution", "slices"]
        assert series["name"] == "a name"
        assert series["target"] == "ABA_Mouse_CCFv3_2017_25um.cutlas"
        assert series["target-resolution"] == [456, 528, 320]
        assert series["slices"] == [
            {
                "filename": "0023_101349486_s023.jpg",
                "nr": 23,
                "width": 14_065 >> downsample,
                "height": 7297 >> downsample,
                "anchoring": quint.anchoring(collection, image),
            }
        ]


@pytest.mark.parametrize(
    "changed",
    [
        {"reference_space_id": 6},
        {"reference_space_id": None},
        {"section_thickness": None},
        {"section_thickness": 0},
        {"section_thickness": -25.0},
        {"alignment3d": None},
        {"alignment3d": coefficients("tvr", (1.0,) * 11)},
        {"alignment3d": coefficients("trv", (1.0,) * 12)},
    ],
    ids=str,
)
def test_without_an_alignment_to_the_adult_brain_there_is_no_anchoring(changed):
    one = TO_REFERENCE[0]
    (found,) = quint.series("", aligned(one, **changed), [image_of(one)], 3)["slices"]
    assert list(found) == ["filename", "nr", "width", "height"]
    # and with it, there is
    (found,) = quint.series("", aligned(one), [image_of(one)], 3)["slices"]
    assert len(found["anchoring"]) == 9


def test_mirrored_space_is_taken_as_it_is():
    one = TO_REFERENCE[0]
    mirrored = quint.anchoring(aligned(one, reference_space_id=10), image_of(one))
    assert mirrored == quint.anchoring(aligned(one), image_of(one))


def test_an_image_without_size_or_alignment_keeps_its_place_in_the_series():
    one = TO_REFERENCE[0]
    no_size = image_of(one)._replace(width_px=0)
    no_map = image_of(one)._replace(tsv=None)
    first, second = quint.series("", aligned(one), [no_size, no_map], 2)["slices"]
    assert list(first) == ["filename", "nr"]
    assert list(second) == ["filename", "nr", "width", "height"]


@given(st.integers(1, 10**18 - 1), st.integers(0, 10**9))
def test_every_name_has_one_section_number_for_deepslice(image_id, section_number):
    name = quint.file_name(SectionImage(image_id, section_number))
    (found,) = DEEPSLICE.findall(name)
    assert int(found[2:]) == section_number
    assert len(found) >= len("_s000")
    assert name.startswith(f"{section_number:04d}_{image_id}_s")


@given(
    st.lists(st.floats(-(10.0**17), 10.0**17), min_size=18, max_size=18),
    st.integers(0, 10**9),
)
def test_any_alignment_of_a_record_is_valid_json(values, section_number):
    collection = Collection(
        {
            "section_thickness": 1e17,
            "reference_space_id": 10,
            "alignment3d": coefficients("tvr", tuple(values[:12])),
        },
        {},
    )
    image = SectionImage(1, section_number, 10**7, 10**7, tsv=tuple(values[12:]))
    json.dumps(quint.series("", collection, [image], 0), allow_nan=False)
