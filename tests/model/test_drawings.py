"""The drawing of a plate: its path, its URL, and the groups that its record names."""

from __future__ import annotations

import pytest
from grammar_strategies import drawing_requests, drawing_urls
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.errors import PathNotFoundError, UrlInRecordError
from allenfs.model import tree
from allenfs.model.drawings import DrawingRequest, drawing_of, drawing_of_url
from allenfs.model.images import ImageService
from allenfs.model.nodes import DrawingFile
from allenfs.model.records import ImageRecord, SectionImage
from allenfs.model.viewer_pages import path_of_url

BASE = "https://api.brain-map.org"
many = settings(max_examples=200, deadline=None)
words = str.split
OUTSIDE = words("""
atlas/1/q50/drawing.svg atlas/1/annotated/drawing.svg atlas/1/roi9x9/drawing.svg
atlas/1/at9x9+0+0/drawing.svg atlas/1/ds4/q50/drawing.svg atlas/1/ds11/drawing.svg
atlas/1/ds4/ds4/drawing.svg atlas/1/range0,1,0,1,0,1/drawing.svg
atlas/1/drawing.svg/ atlas/1/drawing.svg/ds4 atlas/1/drawing.SVG atlas/1/image.svg
atlas/007/drawing.svg atlas/drawing.svg drawing.svg
section/1/drawing.svg section/1/ds4/drawing.svg section/1/equalized/drawing.svg
projection/1/drawing.svg dataset/1/drawing.svg dataset/1/ds4/drawing.svg
""")


def plate(
    *groups: object, annotated: bool = True, data_sets: object = None
) -> ImageRecord:
    atlases = [{"id": 1, "graphic_group_label_id": group} for group in groups]
    row = {"id": 7, "atlas_data_set": data_sets or {"id": 5, "atlases": atlases}}
    return ImageRecord(row, SectionImage(7, 1, annotated=annotated))


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_drawing_has_no_parameter_but_downsample_and_is_a_plates(path):
    with pytest.raises(PathNotFoundError):
        tree.parse(path)


def test_the_canonical_url_is_the_recorded_one():
    request = DrawingRequest(100960224, (28,), 4)
    assert request.url(BASE) == (
        f"{BASE}/api/v2/svg_download/100960224?groups=28&downsample=4"
    )
    assert request.path == "atlas/100960224/ds4/drawing.svg"
    request = DrawingRequest(21889, (1, 2))
    assert request.url(BASE) == f"{BASE}/api/v2/svg_download/21889?groups=1,2"
    assert request.path == "atlas/21889/drawing.svg"
    assert tree.parse("atlas/21889/ds0/drawing.svg") == DrawingFile(21889, 0)


@many
@given(request=drawing_requests, data=st.data())
def test_path_to_url_to_path_is_the_identity(request, data):
    node = tree.parse(request.path)
    assert node == DrawingFile(request.image_id, request.downsample)
    for url in (request.url(BASE), data.draw(drawing_urls(request))):
        assert drawing_of_url(url) == request
        assert path_of_url(url) == request.path


@many
@given(one=drawing_requests, other=drawing_requests)
def test_drawings_share_a_file_in_the_store_only_if_they_share_a_url(one, other):
    is_same = one == other
    assert (one.key == other.key) is (one.url(BASE) == other.url(BASE)) is is_same
    service, image_id, *rest = one.key.split("/")
    assert (service, image_id) == ("atlas", str(one.image_id))
    assert len("_".join(rest).encode()) <= 255


def test_a_path_alone_has_no_url():
    with pytest.raises(UrlInRecordError, match="in a mount"):
        tree.request_of(tree.parse("atlas/5/drawing.svg"))


def test_a_drawing_has_the_groups_of_all_atlases_of_its_plate():
    assert drawing_of(plate(32, 28, 28), 4) == DrawingRequest(7, (28, 32), 4)
    assert drawing_of(plate("28", None)) == DrawingRequest(7, (28,))
    several = [{"atlases": [{"graphic_group_label_id": n}]} for n in (31, 28)]
    assert drawing_of(plate(data_sets=several)) == DrawingRequest(7, (28, 31))


@pytest.mark.parametrize(
    "record",
    [
        plate(28, annotated=False),
        plate(),
        plate(None, 0, -1, "x", True, [28]),
        plate(data_sets="none"),
        plate(data_sets=[None, {"atlases": None}]),
        plate(*range(1, 12)),  # the store has no name for so many
    ],
)
def test_a_plate_may_have_no_drawing(record):
    assert drawing_of(record) is None


def test_the_bound_of_a_size_is_the_limit_of_a_download():
    request = DrawingRequest(7, (28,))
    assert request.size_bound_bytes() == request.content.max_bytes == 16 * 2**20
    assert request.service is ImageService.ATLAS
