"""Drawings of atlas plates: well-formed SVG that agrees with the picture."""

from __future__ import annotations

import gzip
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rma_client import ask

from allenfs.sample.alignments import SPACE_FROM_DRAWING
from allenfs.sample.anatomy import LABELS, labels_of
from allenfs.sample.centers import CENTERS, CORONAL_SPACE, SAGITTAL_SPACE
from allenfs.sample.frame import base_halvings, base_size, image_from_drawing
from allenfs.sample.plates import drawing_of
from allenfs.sample.records import RECORDS
from allenfs.sample.server import Fault
from allenfs.sample.structures import STRUCTURES

SVG = "{http://www.w3.org/2000/svg}"
CORONAL, SAGITTAL, PARVALBUMIN = 100960224, 100883869, 100884210
NOT_ANNOTATED, SECTION = 100883900, 69750516
ADULT, DEVELOPING = 28, 32


def target(image_id: int, query: str = "", service: str = "svg_download") -> str:
    return f"/api/v2/{service}/{image_id}{query}"


def drawing(image_id: int, group: int = ADULT, downsample: int = 0) -> ET.Element:
    return ET.fromstring(drawing_of(RECORDS[image_id], frozenset({group}), downsample))


def paths(root: ET.Element) -> list[ET.Element]:
    return list(root.iter(f"{SVG}path"))


def points(path: ET.Element) -> list[tuple[float, float]]:
    outline = path.attrib["d"]
    assert outline[0] == "M"
    assert outline[-1] == "Z"
    pairs = (pair.split(",") for pair in outline[1:-1].split("L"))
    return [(float(x), float(y)) for x, y in pairs]


def painted(image_id: int) -> np.ndarray:
    """Return the structure id at every pixel of the small drawing."""
    record = RECORDS[image_id]
    halved = 1 << base_halvings(record)
    canvas = Image.new("I", base_size(record), 0)
    draw = ImageDraw.Draw(canvas)
    for path in paths(drawing(image_id)):
        shrunk = [(x / halved - 0.5, y / halved - 0.5) for x, y in points(path)]
        draw.polygon(shrunk, fill=int(path.attrib["structure_id"]))
    return np.asarray(canvas)


def test_the_recorded_head_is_kept():
    body = drawing_of(RECORDS[CORONAL], frozenset({ADULT}), 4)
    assert body.startswith(
        b'<svg width="660" height="472" xmlns="http://www.w3.org/2000/svg">'
        b'<g transform="scale(0.0625)">'
        b'<g id="182623213" order="1" parent_id="" graphic_group_label_id="28"'
        b' graphic_group_label="Atlas - Adult Mouse" sub_image_id="100960224"'
        b' transform=" scale(1.0, 1.0)">'
        b'<path id="'
    )
    assert b'structure_id="8" style="stroke:black;fill:#bfdae3" d="M' in body
    assert 20_000 < len(body) < 60_000


@pytest.mark.parametrize("downsample", [0, 1, 4, 10])
def test_downsample_changes_the_size_and_one_scale_only(downsample):
    record = RECORDS[SAGITTAL]
    root = drawing(SAGITTAL, downsample=downsample)
    assert root.attrib["width"] == str(max(1, record.width_px >> downsample))
    assert root.attrib["height"] == str(max(1, record.height_px >> downsample))
    (scaled,) = root
    assert scaled.attrib["transform"] == f"scale({2.0**-downsample})"
    assert [ET.tostring(path) for path in paths(root)] == [
        ET.tostring(path) for path in paths(drawing(SAGITTAL))
    ]


@pytest.mark.parametrize(
    ("image_id", "group"),
    [(CORONAL, ADULT), (SAGITTAL, ADULT), (SAGITTAL, DEVELOPING)],
)
def test_paths_name_structures_of_the_sample_in_their_colors(image_id, group):
    by_id = {each.structure_id: each for each in STRUCTURES.values()}
    found = paths(drawing(image_id, group))
    for order, path in enumerate(found, start=1):
        structure = by_id[int(path.attrib["structure_id"])]
        color = structure.color.lower()
        assert path.attrib["style"] == f"stroke:black;fill:#{color}"
        assert path.attrib["order"] == str(order)
    assert len(found) > 20


@pytest.mark.parametrize(
    ("image_id", "acronym", "region"),
    [
        (CORONAL, "DG-sg", "dentate gyrus"),
        (CORONAL, "TH", "thalamus"),
        (CORONAL, "CP", "striatum"),
        (SAGITTAL, "DG-sg", "dentate gyrus"),
        (SAGITTAL, "HY", "hypothalamus"),
        (SAGITTAL, "CBXgr", "granular layer"),
        (SAGITTAL, "MY", "medulla"),
    ],
)
def test_a_path_lies_where_the_picture_shows_its_structure(image_id, acronym, region):
    inside = painted(image_id) == STRUCTURES[acronym].structure_id
    shown = labels_of(RECORDS[image_id]) == LABELS[region]
    common = np.count_nonzero(inside & shown)
    assert common > 0.9 * np.count_nonzero(shown)
    assert common > 0.9 * np.count_nonzero(inside)


def test_layers_of_all_areas_together_are_the_layer_in_the_picture():
    drawn = painted(SAGITTAL)
    shown = labels_of(RECORDS[SAGITTAL]) == LABELS["cortex 2/3"]
    layers = [
        STRUCTURES[name].structure_id
        for name in ("MOs", "MOp2/3", "SSp2/3", "VISp2/3", "RSPd")
    ]
    assert np.mean(np.isin(drawn[shown], layers)) > 0.9


def test_a_coronal_plate_has_both_hemispheres():
    wanted = str(STRUCTURES["CP"].structure_id)
    found = [p for p in paths(drawing(CORONAL)) if p.attrib["structure_id"] == wanted]
    left, right = (np.mean([x for x, _ in points(path)]) for path in found)
    assert left < RECORDS[CORONAL].width_px / 2 < right


@pytest.mark.parametrize(
    ("image_id", "space"), [(CORONAL, CORONAL_SPACE), (SAGITTAL, SAGITTAL_SPACE)]
)
@pytest.mark.parametrize(
    "acronym", ["VISp2/3", "VISp", "SSp", "MOp6a", "MOs", "CP", "ACB", "TH", "HY"]
)
def test_the_center_of_a_structure_lies_in_its_path(image_id, space, acronym):
    plate = RECORDS[image_id]
    _, p_um, i_um, r_um = CENTERS[acronym]
    across_um = r_um if space == CORONAL_SPACE else p_um
    matrix = image_from_drawing(plate) @ np.linalg.inv(SPACE_FROM_DRAWING[plate.plane])
    x_px, y_px, _ = matrix @ (across_um, i_um, 1)
    names = {each.structure_id: each for each in STRUCTURES.values()}
    here = (int(n / (1 << base_halvings(plate))) for n in (y_px, x_px))
    found = names.get(painted(image_id)[tuple(here)])
    assert found is not None
    # a layer is a part of its area, and the bend moves some points to the next layer
    assert found.acronym.rstrip("ab0123456789/") == acronym.rstrip("ab0123456789/")


def test_both_atlases_of_a_plate_are_drawn_together():
    body = drawing_of(RECORDS[SAGITTAL], frozenset({ADULT, DEVELOPING}), 4)
    groups = list(ET.fromstring(body)[0])
    labels = [group.attrib["graphic_group_label"] for group in groups]
    assert labels == ["Atlas - Adult Mouse", "Atlas - Developing Mouse"]
    ids = [node.attrib["id"] for group in groups for node in group.iter()]
    assert len(set(ids)) == len(ids)
    isocortex = str(STRUCTURES["Isocortex"].structure_id)
    for group, has_layers in zip(groups, (True, False), strict=True):
        ids = {path.attrib["structure_id"] for path in group}
        assert (isocortex in ids) != has_layers


# Over HTTP


@pytest.mark.parametrize(
    ("image_id", "query"),
    [
        (CORONAL, "?downsample=4"),
        (CORONAL, "?groups=&downsample=4"),
        (CORONAL, "?groups=32&downsample=4"),
        (SAGITTAL, "?groups=159226751"),
        (NOT_ANNOTATED, "?groups=28,32&downsample=4"),
        (PARVALBUMIN, "?groups=28&downsample=4"),  # not annotated either
        (SECTION, "?groups=28&downsample=4"),
    ],
)
def test_without_a_group_of_the_image_the_drawing_is_empty(service, image_id, query):
    response, body = ask(service, target(image_id, query))
    assert (response.status, paths(ET.fromstring(body))) == (200, [])
    assert 95 < len(body) < 115


@pytest.mark.parametrize(
    ("name", "kind"), [("svg_download", "attachment"), ("svg", "inline")]
)
def test_a_drawing_is_answered_at_once_in_chunks_without_a_length(service, name, kind):
    response, body = ask(service, target(CORONAL, "?groups=28&downsample=4", name))
    assert response.status == 200
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.headers["Content-Length"] is None
    assert response.headers["Content-Disposition"] == f"{kind}; filename={CORONAL}.svg"
    assert body == drawing_of(RECORDS[CORONAL], frozenset({ADULT}), 4)


def test_a_drawing_is_gzipped_if_the_client_offers_it(service):
    asked = target(CORONAL, "?groups=28")
    response, body = ask(service, asked, {"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == ask(service, asked)[1]


@pytest.mark.parametrize("image_id", [5, "x", ""])
def test_an_unknown_image_has_the_page_of_images(service, image_id):
    response, page = ask(service, target(image_id, "?groups=28"))
    image, image_page = ask(service, f"/api/v2/image_download/{image_id or 5}")
    assert (response.status, image.status) == (404, 404)
    assert page == image_page


@pytest.mark.parametrize("query", ["?groups=a", "?groups=28,", "?downsample=11"])
def test_malformed_parameters_are_refused(service, query):
    assert ask(service, target(CORONAL, query))[0].status == 400


def test_drawings_are_counted_and_fail_like_images(service):
    asked = target(CORONAL, "?groups=28&downsample=4")
    service.fail(Fault.STATUS_503, image_id=CORONAL, times=1)
    service.fail(Fault.HALF_JPEG_HONEST_LENGTH, image_id=CORONAL, times=1)
    assert ask(service, target(SAGITTAL))[0].status == 200
    assert ask(service, asked)[0].status == 503
    response, half = ask(service, asked)
    assert response.headers["Content-Type"] == "image/svg+xml"
    with pytest.raises(ET.ParseError):
        ET.fromstring(half)
    whole = ask(service, asked)[1]
    assert whole.startswith(half)
    assert len(half) == len(whole) // 2
    assert service.requested == [target(SAGITTAL), asked, asked, asked]
    assert service.queried == []
