"""Addresses from a browser or a paper become the paths of what they show."""

from __future__ import annotations

import pytest
from grammar_strategies import image_requests
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.errors import UrlError
from allenfs.model import tree
from allenfs.model.viewer_pages import path_of_url

API = "http://api.brain-map.org/api/v2/"
many = settings(max_examples=250, deadline=None)

# Most are cited in public programs and papers.
PAGES = [
    ("http://mouse.brain-map.org/experiment/show/69782969", "dataset/69782969"),
    ("https://mouse.brain-map.org/experiment/show/69782969/", "dataset/69782969"),
    ("https://Mouse.Brain-Map.org/experiment/show/69782969?x=1", "dataset/69782969"),
    ("http://developingmouse.brain-map.org/experiment/show/5", "dataset/5"),
    ("http://human.brain-map.org/ish/experiment/show/80227466", "dataset/80227466"),
    ("http://mouse.brain-map.org/experiment/siv?id=69014470", "dataset/69014470"),
    (
        "http://mouse.brain-map.org/experiment/siv?id=69014470&imageId=68856767"
        "&initImage=ish&coordSystem=pixel&x=7616.5&y=4144.5&z=1",
        "section/68856767/image.jpg",
    ),
    (
        "https://mouse.brain-map.org/experiment/siv?id=100142143&imageId=102162242"
        "&imageType=atlas&initImage=atlas&showSubImage=y&contrast=0.5,0.5,0,255,4",
        "section/102162242/image.jpg",
    ),
    (  # copied from the source of a page
        "http://mouse.brain-map.org/experiment/siv?id=69014470&amp;imageId=68856767",
        "section/68856767/image.jpg",
    ),
    (
        "http://mouse.brain-map.org/experiment%2Fsiv?%69d=69014470&imageId=%36",
        "section/6/image.jpg",
    ),
    (
        "http://connectivity.brain-map.org/projection/experiment/182616478",
        "dataset/182616478",
    ),
    (
        "https://connectivity.brain-map.org/projection/experiment/480074702"
        "?imageId=480075280&initImage=TWO_PHOTON&x=17028&y=11704&z=3",
        "section/480075280/image.jpg",
    ),
    (
        "https://connectivity.brain-map.org/projection/experiment/siv/515418047"
        "?imageId=515418502&imageType=TWO_PHOTON,SEGMENTATION&x=20545&y=9347&z=6",
        "section/515418502/image.jpg",
    ),
    ("https://atlas.brain-map.org/atlas?atlas=602630314", "browse/atlas/602630314"),
    ("http://atlas.brain-map.org/atlas?atlas=1#structure=847", "browse/atlas/1"),
    (
        "https://atlas.brain-map.org/atlas?atlas=265297125&plate=112360888"
        "&structure=4392&x=40348.15104166667&y=46928.75&zoom=-7&resolution=206.60",
        "atlas/112360888/annotated/atlas265297125.jpg",
    ),
    (  # the plate that is on the screen is in the fragment
        "http://atlas.brain-map.org/atlas?atlas=1&plate=100960252#atlas=1"
        "&plate=100960092&resolution=6.98&x=8101.3&y=2466.6&zoom=-2&structure=847",
        "atlas/100960092/annotated/atlas1.jpg",
    ),
    (
        "http://atlas.brain-map.org/atlas#atlas=1&plate=100960348",
        "atlas/100960348/annotated/atlas1.jpg",
    ),
]
# With `&` in place of `?`, as an older page of the institute prints them.
PRINTED = [
    ("image_download/71592261&downsample=3&quality=50", "section/71592261/ds3/q50/"),
    ("section_image_download/5&downsample=3&quality=50", "section/5/ds3/q50/"),
    ("projection_image_download/5&downsample=3&quality=50", "projection/5/ds3/q50/"),
    ("atlas_image_download/5&downsample=3&quality=50", "atlas/5/ds3/q50/"),
    ("image_download/5/&downsample=3?quality=50", "section/5/ds3/q50/"),
]


@pytest.mark.parametrize(("url", "path"), PAGES)
def test_a_viewer_page_becomes_the_path_of_what_it_shows(url, path):
    assert path_of_url(url) == path
    tree.parse(path)  # raises if it is not a path


@pytest.mark.parametrize(("url", "directory"), PRINTED)
def test_a_download_url_may_have_an_ampersand_instead_of_a_question_mark(
    url, directory
):
    assert path_of_url(API + url) == f"{directory}image.jpg"


@many
@given(request=image_requests())
def test_a_download_url_becomes_the_path_it_was_made_from(request):
    assert path_of_url(request.url("https://mouse.brain-map.org")) == request.path


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://mouse.brain-map.org/gene/show/18376", "does not know this page"),
        (
            "https://celltypes.brain-map.org/experiment/show/5",
            "does not know this page",
        ),
        (
            "https://mouse.brain-map.org.evil.test/experiment/show/5",
            "does not know this page",
        ),
        ("https://mouse.brain-map.org/experiment/show/5/6", "does not know this page"),
        ("https://mouse.brain-map.org/experiment/siv", "names no experiment"),
        (
            "mouse.brain-map.org/experiment/show/69782969",
            "does not begin with https://",
        ),
        ("https://mouse.brain-map.org/experiment/show/007", "not an id: '007'"),
        ("https://mouse.brain-map.org/experiment/show/" + "9" * 19, "not an id"),
        (
            "https://mouse.brain-map.org/experiment/siv?imageId=0",
            "imageId is not an id",
        ),
        ("https://mouse.brain-map.org/experiment/siv?id=5%0a6", r"not an id: '5\n6'"),
        ("https://atlas.brain-map.org/atlas", "names no atlas"),
        ("https://atlas.brain-map.org/atlas?atlas=x", "atlas is not an id: 'x'"),
        ("https://atlas.brain-map.org/atlas?atlas=1&plate=-2", "plate is not an id"),
    ],
)
def test_other_pages_are_refused_and_the_message_lists_what_is_accepted(url, why):
    with pytest.raises(UrlError) as raised:
        path_of_url(url)
    said = str(raised.value)
    assert why in said
    assert "allenfs accepts" in said
    assert said.isprintable()


@pytest.mark.parametrize("service", ["svg", "svg_download"])
@pytest.mark.parametrize(
    ("query", "directory"),
    [
        ("", ""),
        ("/", ""),
        ("&groups=28", ""),
        ("?groups=1,2", ""),
        ("?groups=", ""),
        ("?groups=28&downsample=4", "ds4/"),
        ("?downsample=4&amp;groups=28%2C32", "ds4/"),
        ("/&downsample=10?groups=28", "ds10/"),
        ("?downsample=0", ""),
    ],
)
def test_the_url_of_a_drawing_becomes_its_path(service, query, directory):
    path = path_of_url(f"{API}{service}/100960224{query}")
    assert path == f"atlas/100960224/{directory}drawing.svg"


@pytest.mark.parametrize(
    "url",
    [
        "svg/0",
        "svg/5.svg",
        "svg_download/5?quality=50",
        "svg/5?groups=a",
        "svg/5?groups=1,,2",
        "svg/5?groups=1&groups=2",
        "svg/5?groups=0",
        "svg/5?downsample=11",
        "svg/5?downsample=",
        "svg/5?groups=1&left=1&top=2",
    ],
)
def test_other_urls_of_drawings_have_no_path(url):
    with pytest.raises(UrlError):
        path_of_url(API + url)


_words = str.split
_PIECES = st.sampled_from(
    [
        *_words("http:// https:// ftp:// mouse atlas .brain-map.org [ @ ? # & \udcff"),
        *_words("/experiment /show /siv /atlas /7 id= plate= imageId= atlas= 7 x"),
        *_words("%0a %ff /api/v2/ image_download/7 svg/7 groups=1,2"),
        *("\n", "\0"),
    ]
)


@many
@given(url=st.text(max_size=20) | st.lists(_PIECES, max_size=12).map("".join))
def test_any_string_is_a_path_or_a_url_error_in_one_line(url):
    try:
        path = path_of_url(url)
    except UrlError as error:
        assert str(error).isprintable()
    else:
        tree.parse(path)
