"""Reference points, sections, pixels and regions: recorded answers, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_alignments import TO_IMAGE, TO_REFERENCE, TRV, TVR, ToImage, ToReference

from allenfs.model.geometry import (
    Point,
    nearest,
    reference_point,
    section_position,
    square,
    transformed,
    usual_gap,
)

# of its records: the others are 25 um
THICKNESS_UM = 25.0


@pytest.mark.parametrize("one", TO_IMAGE, ids=lambda one: str(one.image_id))
def test_recorded_pixel_of_a_point_is_reproduced(one: ToImage):
    trv = TRV[one.data_set_id]
    x_um, y_um, _ = section_position(trv, Point(*one.point_um), THICKNESS_UM)
    assert transformed(one.tvs, (x_um, y_um)) == pytest.approx(one.pixel, abs=0.01)


@pytest.mark.parametrize(
    "one", TO_REFERENCE, ids=lambda one: f"{one.image_id}-{one.pixel}"
)
def test_recorded_point_of_a_pixel_is_reproduced(one: ToReference):
    point = reference_point(
        *(TVR[one.data_set_id], one.tsv, one.pixel),
        *(one.section_number, one.thickness_um),
    )
    assert point == pytest.approx(one.point_um, abs=0.01)


@pytest.mark.parametrize(
    ("number", "sections"), [(63, range(23, 432, 8)), (225, range(17, 470, 8))]
)
def test_recorded_section_is_the_nearest(number, sections):
    """Of 1357 and 717, whose sections are eight numbers apart, as recorded."""
    (one,) = (one for one in TO_IMAGE if one.section_number == number)
    trv = TRV[one.data_set_id]
    *_, position = section_position(trv, Point(*one.point_um), THICKNESS_UM)
    assert nearest(sections, position) == number


def test_recorded_answer_beyond_the_last_section_is_seen_as_such():
    """The service answers with the last section, and says nothing."""
    (one,) = (one for one in TO_IMAGE if one.image_id == 101082700)
    trv = TRV[one.data_set_id]
    *_, position = section_position(trv, Point(*one.point_um), THICKNESS_UM)
    assert one.section_number == 154
    assert position == pytest.approx(342.75, abs=0.01)


@given(st.lists(st.integers(0, 500), min_size=1, unique=True), st.floats(-99, 600))
def test_nearest_is_the_least_distance(numbers, position):
    numbers.sort()
    found = nearest(numbers, position)
    assert abs(found - position) == min(abs(one - position) for one in numbers)


def test_of_two_equally_near_the_lower_one():
    assert nearest([13, 21], 17) == 13


def test_usual_gap_is_the_median():
    assert usual_gap([5, 13, 29, 37, 45]) == 8  # one is missing
    assert usual_gap([7]) == 0


@given(st.floats(0, 11_400))
def test_mirrors_are_their_own_inverse(r_um):
    point = Point(1.0, 2.0, r_um)
    for mirrored in (Point.in_other_hemisphere, Point.in_other_space):
        assert mirrored(mirrored(point)) == pytest.approx(point)


def test_recorded_centres_of_a_structure_mirror_at_the_width():
    """SSp in the spaces 10 and 9, as tests of abagen have it."""
    assert Point(5740, 2060, 2730).in_other_hemisphere() == (5740, 2060, 8670)
    assert Point(5740, 2060, 8670).is_right
    assert not Point(5740, 2060, 2730).is_right


@pytest.mark.parametrize(
    ("resolution_um", "side_px", "downsample"),
    [
        *((1.049, 1907, 0), (1.63, 1227, 0), (0.35, 1429, 2)),
        *((1.0, 2000, 0), (0.9998, 2000, 0), (0.9995, 1001, 1)),
    ],
)
def test_two_millimetres_in_the_finest_tier_of_at_most_2000_px(
    resolution_um, side_px, downsample
):
    found = square(2000, resolution_um, (15_000, 10_000), (30_720, 21_504), (0, 0))
    assert found.width_px == found.height_px == side_px
    assert found.downsample == downsample


def test_region_around_a_recorded_point():
    """Structure 632 in data set 69289763, as `structure_to_image` answered in 2017."""
    found = square(2000, 1.049, (6592, 2760), (14_065, 7297), (0, 0))
    assert found == (0, 5638, 1806, 1907, 1907)


@st.composite
def images(draw):
    image_px = draw(st.tuples(st.integers(64, 40_000), st.integers(64, 40_000)))
    corner_px = draw(st.tuples(st.integers(0, 40_000), st.integers(0, 40_000)))
    centre_px = tuple(draw(st.floats(0, side, exclude_max=True)) for side in image_px)
    return centre_px, image_px, corner_px


@given(images(), st.integers(1, 20), st.sampled_from([0.35, 0.645, 1.049, 1.63]))
def test_region_is_inside_the_image_and_around_the_point(image, side_mm, resolution_um):
    centre_px, image_px, corner_px = image
    found = square(side_mm * 1000, resolution_um, *image)
    step_px = 2**found.downsample
    side_px = side_mm * 1000 / resolution_um / step_px
    axes = zip(
        (found.left_px, found.top_px),
        (found.width_px, found.height_px),
        *(centre_px, image_px, corner_px),
        strict=True,
    )
    for start_px, length, centre, size_px, corner in axes:
        end_px = start_px + length * step_px
        assert start_px % step_px == 0
        assert 0 < length <= 2000
        if size_px >= 2 * step_px:  # a region of one pixel fits
            assert corner <= start_px
            assert end_px <= corner + size_px
            # all of the side, or all of the image
            assert length >= min(round(side_px), size_px // step_px - 1)
            assert start_px - step_px <= corner + centre <= end_px + step_px
        is_shifted = start_px < corner + step_px or end_px > corner + size_px - step_px
        if not is_shifted:
            middle_px = start_px + length * step_px / 2
            assert middle_px == pytest.approx(corner + centre, abs=step_px / 2)
    if found.downsample:  # the finest tier
        assert round(2 * side_px) > 2000


def test_region_of_an_impossible_resolution_is_beyond_the_tiers():
    for resolution_um in (5e-324, 1e-300, 1e-9):
        found = square(20_000, resolution_um, (50, 50), (100, 100), (0, 0))
        assert found.downsample > 10
