"""Names outside the grammar, and what directories list."""

from __future__ import annotations

import errno

import pytest
from grammar_strategies import canonical_path, image_requests
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.errors import PathNotFoundError, UrlError
from allenfs.model import tree
from allenfs.model.images import ImageRequest, ImageService, Roi, request_of_url
from allenfs.model.nodes import (
    ImageDirectory,
    ImageFile,
    Node,
    ParameterDirectory,
)

MIB = 2**20
words = str.split
# surrogates too: names that are not UTF-8 arrive as such
any_text = st.text(alphabet=st.characters(), max_size=40)
many = settings(max_examples=250, deadline=None)

_PIECES = [
    *words("section projection atlas 1 69750516 0 007 ds0 ds4 ds10 ds11 ds04 dsx"),
    *words("q0 q100 q101 q .. . roi roi1x1 roi1x roi+0+0 roi1x1+0+0 roi1x1+0"),
    *words("range range0,1,2,3,4,5 range0,1,2,3,4 rgb1,1,1 contrast0.5,1"),
    *words("colormap1 colormap annotated image.jpg expression.jpg atlas2.jpg"),
    *words("image.zarr atlas2.zarr .zarr .zgroup .zattrs .zarray zarr.json"),
    *words("atlas.jpg .jpg \u0663 ds\u0663 %2C \udcff"),
    *["", "\n", "\0", "image.jpg\n", " ", "9" * 40],
]
near_paths = st.lists(st.sampled_from(_PIECES) | any_text, max_size=7).map("/".join)
_QUERY_KEYS = [
    *words("downsample quality left top width height range rgb view contrast"),
    *["colormap", "annotation", "atlas", "expression", "zoom", "", "["],
]
_QUERY_VALUES = [
    *words("0 4 11 true false expression image 0,1,2,3,4,5 1,1,1 1%2B2 ; = & #"),
    *["\u0663", "%00", "%0a", "%ff", "", "9" * 5000],
]


@st.composite
def near_urls(draw: st.DrawFn) -> str:
    pairs = draw(
        st.lists(
            st.tuples(
                st.sampled_from(_QUERY_KEYS), st.sampled_from(_QUERY_VALUES) | any_text
            ),
            max_size=5,
        )
    )
    endpoint = draw(
        st.sampled_from(["image_download", "atlas_image_download", "x"]) | any_text
    )
    scheme = draw(st.sampled_from(["http", "https", "file", ""]))
    host = draw(st.sampled_from(["api.brain-map.org", "[", "[::1]:x", ""]) | any_text)
    image_id = draw(st.sampled_from(["1", "9" * 5000, "٣"]) | any_text)
    query = "&".join(f"{key}={value}" for key, value in pairs)
    return f"{scheme}://{host}/api/v2/{endpoint}/{image_id}?{query}"


@st.composite
def damaged_paths(draw: st.DrawFn) -> str:
    """A canonical path with one place changed."""
    path = canonical_path(draw(image_requests()))
    position = draw(st.integers(0, len(path)))
    end = position + draw(st.integers(0, 2))
    return path[:position] + draw(any_text.map(lambda text: text[:2])) + path[end:]


def assert_node_or_enoent(path: str) -> None:
    try:
        node = tree.parse(path)
    except PathNotFoundError:
        return
    if isinstance(node, ImageFile):
        assert tree.parse(node.request.path) == node
        assert request_of_url(node.request.url("http://h")) == node.request
    elif isinstance(node, (ImageDirectory, ParameterDirectory)):
        assert all(tree.listing(node))


@many
@given(path=any_text | near_paths | near_paths.map(lambda path: "/" + path))
def test_any_string_is_a_node_or_enoent(path):
    assert_node_or_enoent(path)


@many
@given(path=damaged_paths())
def test_a_misspelled_path_is_a_node_or_enoent(path):
    assert_node_or_enoent(path)


@many
@given(url=any_text | near_urls())
def test_any_string_is_a_download_url_or_a_url_error(url):
    try:
        request = request_of_url(url)
    except UrlError:
        return
    assert tree.parse(request.path) == ImageFile(request)


@pytest.mark.parametrize(
    "url",
    [
        # the words of urlsplit quote the host as it is
        "http://\uff0f\x0b/api/v2/image_download/1",
        "http://\u2100\u2028/api/v2/image_download/1",
        "http://h/api/v2/atlas_image_download/1?atlas=1%0a2&expression=true",
        "http://h/api/v2/image_download/1?zoom%0a=1",
        "http://h/api/v2/image_download/1?view=x%0ay",
    ],
)
def test_the_error_of_a_url_is_one_line(url):
    with pytest.raises(UrlError) as raised:
        request_of_url(url)
    assert str(raised.value).isprintable()


FIRST_NAMES = """
.Trash .Trash-1000 .hidden autorun.inf desktop.ini Section sections .. ../ . ./section
//section section/ section//1 section/../atlas section/.hidden section/0 section/007
section/-1 section/1.0 section/x section/\u0663 section/\uff11/image.jpg
section/image.jpg image.jpg 69750516/image.jpg api/v2/image_download/1
"""
UNDER_A_SECTION = """
. .. .Trash .directory Thumbs.db dsx ds ds11 ds-1 ds04 ds\u0663 DS4 ds4.jpg ds1.0
ds99999999999 q101 q-1 q007 q q5.0 q\u00b2 q9999999999999999999999
roi roi10x roix10 roi10 roi0x10 roi10x0 roi10x10+1 roi+1 roi10x10+1+ roi10x10-1-1
roi10x10+-1+1 roi010x10 roi10x10+01+1 roi1000000000x1 roi1x1+1000000000+1 roi+1+2+3
range range0,1,2,3,4 range0,1,2,3,4,5,6 range0,1,2,3,4,65536 range0,1,2,3,4,
range0.5,1,2,3,4,5 range-1,1,2,3,4,5 rgb1,1 rgb2,0,0 rgb1.5,0,0 rgb.5,0,0 rgb0.,0,0
rgb0.1234567,0,0 rgb1e0,0,0 contrast1 contrast1,1,1 contrastnan,1
colormap colormap1,2,3,4,5,6 colormapjet colormap100000 annotated annotated/image.jpg
image.JPG image.jpeg image image.jpg.jpg imagexjpg .jpg _.jpg image.jpg/ image.jpg/x
nissl.jpg Expression.jpg expression expressionxjpg atlas2.jpg atlas.jpg
ds4/ds4 ds4/ds5/image.jpg ds0/ds4/image.jpg q1/ds4/q1/image.jpg
roi1x1/roi+0+0/image.jpg ds4/ ds4//image.jpg ds4/../image.jpg expression.jpg/ds4
ds4/.hidden ds4/1/image.jpg
"""
UNDER_A_PLATE = """
expression.jpg ds4/projection.jpg annotated/tumor_feature_boundary.jpg
range0,1,2,3,4,5 range0,1,2,3,4,5/image.jpg annotated/rgb1,1,1/image.jpg
contrast1,1/image.jpg colormap1/image.jpg atlas2.jpg ds4/atlas2.jpg
annotated/atlas.jpg annotated/atlas0.jpg annotated/atlas02.jpg annotated/atlas-2.jpg
annotated/atlas\u0663.jpg annotated/annotated annotated/annotated/image.jpg
annotated/ds4/annotated/atlas2.jpg annotatedx annotated/
"""
WITH_BLANKS = ["", "ds4 ", "ds4\n", " ds4", "roi\n", "roi 10x10", "image.jpg\n", "q 5"]
WITH_BLANKS += ["\0image.jpg", "image.jpg\0", "image\0.jpg", "range 0,1,2,3,4,5"]


def assert_outside(path: str) -> None:
    with pytest.raises(PathNotFoundError) as raised:
        pytest.fail(f"{path!r} is {tree.parse(path)}")
    assert raised.value.errno == errno.ENOENT


def test_a_first_or_second_name_outside_the_grammar_is_enoent():
    for path in (
        *FIRST_NAMES.split(),
        *("section ", " section", "section/1\n", "section/1\0", "section/1 "),
        *(f"section/{'9' * digits}" for digits in (19, 40, 5000)),
    ):
        assert_outside(path)


def test_a_name_below_a_section_outside_the_grammar_is_enoent():
    for names in (*UNDER_A_SECTION.split(), *WITH_BLANKS):
        assert_outside(f"section/69750516/{names}")
        assert_outside(f"projection/69750516/{names}")


def test_a_name_below_a_plate_outside_the_grammar_is_enoent():
    great = f"annotated/atlas{'9' * 19}.jpg"
    for names in (*UNDER_A_PLATE.split(), great, *WITH_BLANKS):
        assert_outside(f"atlas/100883869/{names}")


SECTION_FILES = [
    "image.jpg",
    "expression.jpg",
    "projection.jpg",
    "tumor_feature_annotation.jpg",
    "tumor_feature_boundary.jpg",
]
TIERS = [f"ds{n}" for n in range(1, 9)]


def names_in(path: str) -> list[str]:
    node = tree.parse(path)
    assert isinstance(node, (ImageDirectory, ParameterDirectory))
    return tree.listing(node)


def test_the_root_lists_the_services_and_the_catalog():
    expected = ["atlas", "browse", "dataset", "projection", "section", "structure"]
    assert sorted(tree.ROOT_NAMES) == expected


def test_an_image_directory_lists_files_tiers_and_for_a_plate_annotated():
    assert sorted(names_in("section/1")) == sorted(SECTION_FILES + TIERS)
    assert sorted(names_in("projection/1")) == sorted(SECTION_FILES + TIERS)
    assert sorted(names_in("atlas/1")) == sorted(["image.jpg", *TIERS, "annotated"])


@pytest.mark.parametrize("names", ["ds4", "ds10", "q50", "ds4/q50", "roi1x1", "ds0"])
def test_a_parameter_directory_lists_its_files_only(names):
    assert sorted(names_in(f"section/1/{names}")) == sorted(SECTION_FILES)
    assert names_in(f"atlas/1/{names}") == ["image.jpg"]
    assert names_in(f"atlas/1/annotated/{names}") == ["image.jpg"]


@pytest.mark.parametrize(
    ("service", "files", "directories"),
    [("section", 45, 9), ("projection", 45, 9), ("atlas", 10, 10)],
)
def test_the_tree_below_one_image_is_finite(service, files, directories):
    seen: list[Node] = []
    waiting = [f"{service}/69750516"]
    while waiting:
        path = waiting.pop()
        node = tree.parse(path)  # every listed name parses
        seen.append(node)
        if not isinstance(node, ImageFile):
            waiting += [f"{path}/{name}" for name in names_in(path)]
    images = [node for node in seen if isinstance(node, ImageFile)]
    assert (len(images), len(seen) - len(images)) == (files, directories)
    assert len(set(images)) == files


@pytest.mark.parametrize(
    ("downsample", "bound_bytes"),
    [(0, 256 * MIB), (1, 64 * MIB), (2, 16 * MIB), (3, 4 * MIB), (4, MIB), (10, MIB)],
)
def test_an_unknown_size_is_bounded_by_a_quarter_per_downsample(
    downsample, bound_bytes
):
    for roi in (None, Roi(left_px_full=5, top_px_full=6)):
        request = ImageRequest(ImageService.ATLAS, 1, downsample=downsample, roi=roi)
        assert request.size_bound_bytes() == bound_bytes


@many
@given(request=image_requests())
def test_a_region_is_bounded_by_three_bytes_a_pixel(request):
    roi, bound_bytes = request.roi, request.size_bound_bytes()
    if roi is not None and roi.width_px is not None:
        assert bound_bytes == roi.width_px * roi.height_px * 3 + 65_536
    else:
        assert MIB <= bound_bytes <= 256 * MIB
    assert bound_bytes < 2**63
