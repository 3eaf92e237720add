"""One path per documented URL: every spelling of a request is that request."""

from __future__ import annotations

import dataclasses

import pytest
from grammar_strategies import (
    canonical_path,
    image_requests,
    query_pairs,
    spellings,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.errors import PathNotFoundError, UrlError
from allenfs.model import tree
from allenfs.model.images import ImageRequest, ImageService, request_of_url
from allenfs.model.nodes import ImageFile

BASE = "https://api.brain-map.org"
PAGE = "http://api.brain-map.org/api/v2/"
many = settings(max_examples=200, deadline=None)


# The page "Downloading an Image", row by row, and AllenSDK's spellings.
EXAMPLES = [
    ("image_download/69750516?downsample=4", "section/69750516/ds4/image.jpg"),
    (
        "image_download/69750516?downsample=4&view=expression",
        "section/69750516/ds4/expression.jpg",
    ),
    (
        "image_download/69750516?left=6174&top=2282&width=1000&height=1000",
        "section/69750516/roi1000x1000+6174+2282/image.jpg",
    ),
    (
        "image_download/71592261?downsample=3&quality=50",
        "section/71592261/ds3/q50/image.jpg",
    ),
    (
        "projection_image_download/126862583?downsample=4&view=projection",
        "projection/126862583/ds4/projection.jpg",
    ),
    (
        "image_download/102146167?range=0,923,0,987,0,4095&downsample=4",
        "section/102146167/ds4/range0,923,0,987,0,4095/image.jpg",
    ),
    (
        "image_download/311175878?downsample=4&view=tumor_feature_annotation",
        "section/311175878/ds4/tumor_feature_annotation.jpg",
    ),
    (
        "image_download/311174547?downsample=4&view=tumor_feature_boundary",
        "section/311174547/ds4/tumor_feature_boundary.jpg",
    ),
    ("image_download/71592412", "section/71592412/image.jpg"),
    ("image_download/70679088", "section/70679088/image.jpg"),
    (
        "atlas_image_download/100883869?downsample=4&annotation=true",
        "atlas/100883869/ds4/annotated/image.jpg",
    ),
    (
        "atlas_image_download/100883869?downsample=4&annotation=true&atlas=2",
        "atlas/100883869/ds4/annotated/atlas2.jpg",
    ),
    (
        "atlas_image_download/100883869?downsample=4&annotation=true&atlas=181276165",
        "atlas/100883869/ds4/annotated/atlas181276165.jpg",
    ),
    ("atlas_image_download/100883771", "atlas/100883771/image.jpg"),
]


def request_of_path(path: str) -> ImageRequest:
    node = tree.parse(path)
    assert isinstance(node, ImageFile), path
    return node.request


def pairs_of(url: str) -> set[str]:
    return set(filter(None, url.partition("?")[2].split("&")))


@pytest.mark.parametrize(("rest", "path"), EXAMPLES)
def test_every_example_url_of_the_page_is_a_path(rest, path):
    assert request_of_url(PAGE + rest).path == path


@pytest.mark.parametrize(("rest", "path"), EXAMPLES)
def test_every_example_path_asks_for_the_pages_url(rest, path):
    url = request_of_path(path).url(BASE)
    endpoint, _, query = rest.partition("?")
    assert url.partition("?")[0] == f"{BASE}/api/v2/{endpoint}"
    assert pairs_of(url) == set(filter(None, query.split("&")))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        # AllenSDK: ImageDownloadApi.download_section_image, download_atlas_image
        (
            "section_image_download/69750516?downsample=4&expression=true",
            "section/69750516/ds4/expression.jpg",
        ),
        (
            "projection_image_download/126862583?downsample=4&projection=true",
            "projection/126862583/ds4/projection.jpg",
        ),
        (
            "section_image_download/1?tumor_feature_annotation=true",
            "section/1/tumor_feature_annotation.jpg",
        ),
        (
            "atlas_image_download/100883869?annotation=false",
            "atlas/100883869/image.jpg",
        ),
        (
            "section_image_download/1?colormap=0.5,0,0,256,4&contrast=0.5,1",
            "section/1/contrast0.5,1/colormap0.5,0,0,256,4/image.jpg",
        ),
        ("section_image_download/1?rgb=1.0,0.50,0", "section/1/rgb1,0.5,0/image.jpg"),
    ],
)
def test_allensdk_urls_are_paths(url, path):
    assert request_of_url(PAGE + url).path == path


@many
@given(request=image_requests())
def test_path_to_request_to_path_is_the_identity(request):
    path = canonical_path(request)
    assert request.path == path
    assert request_of_path(path) == request
    assert request_of_path(path).path == path


@many
@given(request=image_requests())
def test_url_to_request_to_url_is_the_identity(request):
    url = request.url(BASE)
    assert request_of_url(url) == request
    assert request_of_url(url).url(BASE) == url
    assert pairs_of(url) == {f"{key}={value}" for key, value in query_pairs(request)}


@many
@given(request=image_requests())
def test_path_to_url_to_path_is_the_identity(request):
    path = canonical_path(request)
    assert request_of_url(request_of_path(path).url(BASE)).path == path


@many
@given(spelling=spellings())
def test_every_spelling_of_one_request_shares_one_key(spelling):
    by_path, by_url = request_of_path(spelling.path), request_of_url(spelling.url)
    assert by_path == by_url == spelling.request
    assert hash(by_path) == hash(by_url) == hash(spelling.request)
    assert by_path.path == by_url.path == canonical_path(spelling.request)
    assert by_path.url(BASE) == by_url.url(BASE) == spelling.request.url(BASE)


@settings(max_examples=100, deadline=None)
@given(one=image_requests(), field=st.integers(0, 11), other=image_requests())
def test_requests_that_differ_in_one_field_differ_in_path_and_url(one, field, other):
    name = dataclasses.fields(ImageRequest)[field].name
    changed = dataclasses.replace(one, **{name: getattr(other, name)})
    try:
        named = request_of_path(canonical_path(changed))
    except PathNotFoundError:
        return  # a field that this service does not have
    if named != changed:
        return  # a view of an annotated plate: the path has no place for both
    is_same = changed == one
    assert (changed.path == one.path) is is_same
    assert (changed.url(BASE) == one.url(BASE)) is is_same


# Below `PAGE`.
WITHOUT_A_PATH = """
image_download/1?downsample=11 image_download/1?downsample=-1
image_download/1?downsample= image_download/1?downsample=4&downsample=4
image_download/1?downsample image_download/1?quality=101 image_download/1?left=1
image_download/1?left=1&top=2&width=3 image_download/1?width=0&height=0
image_download/1?range=0,1,2 image_download/1?view=nissl image_download/1?view=
image_download/1?view=expression&projection=true image_download/1?expression=yes
image_download/1?annotation=true image_download/1?atlas=2 image_download/1?zoom=3
image_download/1?roi=1x1 image_download/1?annotated= atlas_image_download/1?atlas=2
atlas_image_download/1?annotation=true&atlas=02
atlas_image_download/1?annotation=true&view=expression
atlas_image_download/1?range=0,1,2,3,4,5 image_download/0 image_download/007
image_download/1/2 image_download/ Image_Download/1
data/query.xml?criteria=model::SectionImage
"""
# The path would request something different: a value is not read as a parameter.
LIKE_ANOTHER = """
image_download/1?width=1&height=2%2B3%2B4 image_download/1?view=image
image_download/1?view=tumor_feature_annotation.jpg image_download/1?left=1%2B2&top=
atlas_image_download/1?annotation=true&view=atlas2 image_download/1?width=5x6&height=
atlas_image_download/1?annotation=true&view=image
"""
ELSEWHERE = """
image_download/1 /api/v2/image_download/1 ftp://api.brain-map.org/api/v2/image_download/1
file:///api/v2/image_download/1 http://[api/v2/image_download/1
https://api.brain-map.org/image_download/1
https://api.brain-map.org/api/v1/image_download/1
"""


@pytest.mark.parametrize(
    "url",
    [
        "",
        *ELSEWHERE.split(),
        *(PAGE + url for url in (WITHOUT_A_PATH + LIKE_ANOTHER).split()),
    ],
)
def test_a_url_without_a_path_is_a_url_error(url):
    with pytest.raises(UrlError):
        request_of_url(url)


def test_the_first_name_of_a_path_is_the_service():
    for service in ImageService:
        request = ImageRequest(service, 1)
        assert request.path == f"{service.value}/1/image.jpg"
        assert request_of_url(request.url(BASE)).service is service


def test_requests_of_one_image_have_different_hashes():
    """A viewer requests a plate in thousands of tiles; lookups must stay fast."""
    paths = [
        *(f"atlas/7/ds3/roi256x256+{4 * n}+{n}/image.jpg" for n in range(1000)),
        *(f"section/7/q{n}/image.jpg" for n in range(100)),
        *(f"section/7/range0,{n},0,1,0,1/image.jpg" for n in range(100)),
        *(f"section/7/rgb{n / 100:g},1,1/image.jpg" for n in range(100)),
        *(f"section/7/contrast{n / 100:g},1/image.jpg" for n in range(100)),
        *(f"section/7/colormap{n / 100:g},0,0,256,4/image.jpg" for n in range(100)),
        *(f"atlas/7/annotated/atlas{n}.jpg" for n in range(1, 100)),
        *(f"section/7/ds4/{view}.jpg" for view in ("image", "expression")),
    ]
    nodes = [tree.parse(path) for path in paths]
    hashes = {hash(node.request) for node in nodes if isinstance(node, ImageFile)}
    assert len(hashes) == len(paths)
