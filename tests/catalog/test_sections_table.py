"""`sections.csv`: what pandas and ABBA place sections by."""

from __future__ import annotations

import pytest
from catalog_world import PLAIN, World
from test_slides import table

from allenfs.model.geometry import transformed
from allenfs.sample.inventing import add_data_set
from allenfs.sample.server import SampleService

ISH, CONNECTIVITY = "dataset/69782969", "dataset/100141599"
COEFFICIENTS = [f"{name}_{n:02d}" for name in ("tsv", "tvs") for n in range(6)]


def rows_of(tmp_path, path, **changes):
    """Return the table, after a change of records: fields by model and id."""
    database = PLAIN.copy()
    for where, fields in changes.items():
        model, _, row_id = where.partition("_")
        database.change(model, int(row_id), **fields)
    with SampleService(database=database) as service:
        return table(World(service.url, tmp_path), f"{path}/sections.csv")


def test_columns_are_the_old_ones_and_then_the_places(tmp_path):
    assert list(rows_of(tmp_path, ISH)[0]) == [
        *("section_number", "image_id", "width_px", "height_px"),
        *("resolution_um_per_px", "failed", "file_name", "x_px", "y_px"),
        *("position_um", "tier_count", *COEFFICIENTS),
    ]


@pytest.mark.parametrize(("path", "thickness_um"), [(ISH, 25), (CONNECTIVITY, 100)])
def test_position_is_section_number_times_thickness(tmp_path, path, thickness_um):
    for row in rows_of(tmp_path, path):
        position_um = float(row["position_um"])
        assert position_um == int(row["section_number"]) * thickness_um
        assert 5 <= int(row["tier_count"]) <= 9


def test_coefficients_are_inverse_maps(tmp_path):
    for row in rows_of(tmp_path, ISH):
        tsv = [float(row[f"tsv_{n:02d}"]) for n in range(6)]
        tvs = [float(row[f"tvs_{n:02d}"]) for n in range(6)]
        pixel = 1000.0, 2000.0
        assert transformed(tvs, transformed(tsv, pixel)) == pytest.approx(pixel, abs=1)


@pytest.mark.parametrize(
    ("changes", "empty"),
    [
        ({"SectionDataSet_69782969": {"section_thickness": None}}, ["position_um"]),
        ({"SectionDataSet_69782969": {"section_thickness": -1.0}}, ["position_um"]),
        ({"SectionImage_69750516": {"tier_count": None}}, ["tier_count"]),
        ({"SectionImage_69750516": {"tier_count": 21}}, ["tier_count"]),
        (
            {"SectionImage_69750516": {"section_number": None}},
            ["section_number", "position_um"],
        ),
    ],
    ids=str,
)
def test_a_cell_without_a_value_is_empty(tmp_path, changes, empty):
    rows = rows_of(tmp_path, ISH, **changes)
    (row,) = (row for row in rows if row["image_id"] == "69750516")
    assert [name for name, value in row.items() if not value] == empty


def test_section_zero_has_a_position(tmp_path):
    change = {"SectionImage_69750516": {"section_number": 0}}
    first, *_ = rows_of(tmp_path, ISH, **change)
    assert (first["image_id"], first["position_um"]) == ("69750516", "0")


def test_a_section_without_an_alignment_has_empty_cells(tmp_path):
    database = PLAIN.copy()
    add_data_set(database, 4711, range(5_000_000_000, 5_000_000_003))
    with SampleService(database=database) as service:
        world = World(service.url, tmp_path)
        for row in table(world, "dataset/4711/sections.csv"):
            assert {name for name, value in row.items() if not value} == {*COEFFICIENTS}
            assert float(row["position_um"]) == int(row["section_number"]) * 25
        series = world.json("dataset/4711/quint/ds4/series.json")
        keys = ["filename", "nr", "width", "height"]
        assert [list(one) for one in series["slices"]] == [keys] * 3
