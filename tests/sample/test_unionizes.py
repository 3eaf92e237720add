"""Expression by structure: sums that add up, and what the gene is known for."""

from __future__ import annotations

import io
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from allenfs.sample.anatomy import LABELS, labels_of
from allenfs.sample.content import sample_database
from allenfs.sample.drawing import draw
from allenfs.sample.picture import Picture
from allenfs.sample.records import RECORDS
from allenfs.sample.structures import STRUCTURES

PROX1, PDYN, SENSE, CALB1, ADORA2A = 69289763, 69782969, 71064081, 71587929, 72109410
SENSE_IMAGE, PDYN_IMAGE = 71058309, 69750516
SUMS = (
    "sum_expressing_pixel_intensity",
    "sum_expressing_pixels",
    "sum_pixel_intensity",
    "sum_pixels",
)


@pytest.fixture(scope="module")
def rows():
    """Return the rows of each data set by acronym."""
    acronyms = {each.structure_id: each.acronym for each in STRUCTURES.values()}
    found = defaultdict(dict)
    for entry in sample_database().rows("StructureUnionize"):
        acronym = acronyms[entry.row["structure_id"]]
        assert acronym not in found[entry.row["section_data_set_id"]]
        found[entry.row["section_data_set_id"]][acronym] = entry.row
    return found


def grey_of(jpeg, size=None):
    image = Image.open(io.BytesIO(jpeg)).convert("L")
    return np.asarray(image.resize(size) if size else image)


def test_adult_experiments_with_an_alignment_have_rows(rows):
    assert set(rows) == {
        123, 479, PROX1, PDYN, SENSE, 71587929, 71670687, ADORA2A, 100055044
    }  # fmt: skip
    assert all("DG" in each and "root" in each for each in rows.values())


def test_parents_are_the_sums_of_their_children(rows):
    children = defaultdict(list)
    for each in STRUCTURES.values():
        children[each.parent_id].append(each.acronym)
    for set_id, of_set in rows.items():
        for acronym, row in of_set.items():
            below = [
                of_set[child]
                for child in children[STRUCTURES[acronym].structure_id]
                if child in of_set
            ]
            for name in SUMS if below else ():
                assert row[name] == sum(child[name] for child in below), (
                    set_id, acronym, name
                )  # fmt: skip


def test_energy_is_density_times_the_intensity_of_what_expresses(rows):
    for of_set in rows.values():
        for row in of_set.values():
            assert 0 < row["sum_expressing_pixels"] < row["sum_pixels"]
            assert row["sum_expressing_pixel_intensity"] < row["sum_pixel_intensity"]
            density = row["sum_expressing_pixels"] / row["sum_pixels"]
            mean = row["sum_expressing_pixel_intensity"] / row["sum_expressing_pixels"]
            assert 0 < mean <= 255
            assert row["expression_density"] == pytest.approx(density, rel=1e-4)
            assert row["expression_energy"] == pytest.approx(density * mean, rel=1e-4)
            assert row["voxel_energy_mean"] == row["expression_energy"]
            assert row["voxel_energy_cv"] > 0


@pytest.mark.parametrize(
    ("set_id", "acronym"), [(PROX1, "DG-sg"), (PDYN, "DG-sg"), (ADORA2A, "CP")]
)
def test_a_gene_is_strongest_where_it_is_known_to_be(rows, set_id, acronym):
    energy = {name: row["expression_energy"] for name, row in rows[set_id].items()}
    assert energy[acronym] == max(energy.values())
    assert energy[acronym] > 20 * energy["SCm"]


def test_a_picture_is_strongest_where_the_figures_are(rows):
    record = RECORDS[69280154]
    assert record.data_set_id == PROX1
    mask = draw(record, Picture(downsample=4, view="expression"))
    labels = labels_of(record)
    grey = grey_of(mask, labels.shape[::-1])
    dentate, pyramidal = (
        float(grey[labels == LABELS[region]].mean())
        for region in ("dentate gyrus", "pyramidal layer")
    )
    assert dentate > 3 * pyramidal
    energy = {name: row["expression_energy"] for name, row in rows[PROX1].items()}
    assert energy["DG-sg"] > 3 * energy["CA1sp"]


def test_a_sense_control_has_nearly_no_expression(rows):
    sense, pdyn = (
        draw(RECORDS[image_id], Picture(downsample=4, view="expression"))
        for image_id in (SENSE_IMAGE, PDYN_IMAGE)
    )
    assert grey_of(sense).mean() < grey_of(pdyn).mean() / 3
    assert max(row["expression_energy"] for row in rows[SENSE].values()) < 0.1
    assert max(row["expression_energy"] for row in rows[PDYN].values()) > 100


def test_structures_outside_the_sections_have_no_row(rows):
    assert {"MOB", "MY", "CB"}.isdisjoint(rows[CALB1])
    assert {"MOB", "MY", "CB"} <= set(rows[ADORA2A])
    assert "BLA" in rows[CALB1]  # its centre is in the coronal space only
    assert "BLA" not in rows[PROX1]
    assert all("fiber tracts" not in each or "cc" in each for each in rows.values())
