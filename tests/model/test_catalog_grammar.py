"""Paths below `dataset` and `browse`: what they name, and that no other is a name."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allenfs.errors import PathNotFoundError
from allenfs.model import nodes, tree
from allenfs.model.images import VIEWS, ImageRequest, ImageService, Roi
from allenfs.model.nodes import (
    CollectionDirectory,
    CollectionFile,
    ImageFile,
    ParameterDirectory,
    PatternNode,
    Subject,
)
from allenfs.text import path_name

many = settings(max_examples=400, deadline=None)
words = str.split
ids = st.integers(1, 10**18 - 1)
# what may be a parameter of a plate is no treatment
_IS_PARAMETER = re.compile(r"ds[0-9]$|ds10$|q[0-9]+$|roi|at[0-9]|annotated$|.*\.jpg$")

# One spelling per parameter of a section view, with the field that it sets.
SECTION_PARAMETERS = {
    "ds4": ("downsample", 4),
    "q50": ("quality", 50),
    "roi10x20+3+4": ("roi", Roi(10, 20, 3, 4)),
    "range0,1,2,3,4,5": ("range", (0, 1, 2, 3, 4, 5)),
    "rgb1,0.5,0": ("rgb", ("1", "0.5", "0")),
    "contrast0.5,1": ("contrast", ("0.5", "1")),
    "colormap0.5,0,0,256,4": ("colormap", ("0.5", "0", "0", "256", "4")),
    "expression": ("view", "expression"),
    "equalized": ("equalized", True),
}
# Two that set one field: never together.
TWINS = [
    ("ds4", "ds4"),
    ("ds4", "ds5"),
    ("expression", "expression"),
    ("expression", "projection"),
    ("equalized", "equalized"),
    ("equalized", "range0,1,2,3,4,5"),
    ("range0,1,2,3,4,5", "equalized"),
    ("q1", "q2"),
    ("at9x9+1+2", "at9x9+1+2"),
    ("at9x9+1+2", "roi9x9+1+2"),
    ("roi9x9+1+2", "at9x9+1+2"),
]


def is_outside(path: str) -> bool:
    try:
        tree.parse(path)
    except PathNotFoundError:
        return True
    return False


def directory(path: str) -> CollectionDirectory:
    node = tree.parse(path)
    assert isinstance(node, CollectionDirectory), path
    return node


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("dataset", ""),
        ("dataset/ID/info.json", "70813257"),
        ("dataset/ID/sections.csv", "70813257"),
        ("section/ID/info.json", "69750516"),
        ("atlas/ID/info.json", "100883869"),
        ("browse/atlas/ID/info.json", "2"),
        ("section/ID/dataset", "69750516"),
        ("section/ID/nissl", "69750516"),
        ("browse", ""),
        ("browse/product", ""),
        ("browse/product/ABBR", "Mouse"),
        ("browse/product/ABBR", "%2E."),
        ("browse/product/ABBR/dataset", "%2E."),
        ("browse/product/ABBR/dataset/ID", "Mouse 5"),
        ("browse/product/ABBR/plane", "plane"),
        ("browse/product/ABBR/plane/PLANE", "Mouse n%2Fa"),
        ("browse/product/ABBR/plane/PLANE/ID", "Mouse coronal 5"),
        ("browse/product/ABBR/gene", "Mouse"),
        ("browse/product/ABBR/gene/ACRONYM", "gene gene"),
        ("browse/product/ABBR/gene/ACRONYM/PLANE", "Mouse Adora2a sagittal"),
        ("browse/product/ABBR/gene/ACRONYM/PLANE/ID", "Mouse Adora2a n%2Fa 70813257"),
        ("browse/atlas", ""),
        ("browse/atlas/TITLE", "Mouse_P56_Sagittal"),
    ],
)
def test_each_path_names_one_thing(pattern, names):
    path = re.sub("[A-Z]{2,}", "{}", pattern).format(*names.split())
    arguments = tuple(
        int(one) if one.isdecimal() else unquote(one) for one in words(names)
    )
    node = PatternNode(pattern, arguments)
    assert tree.parse(path) == tree.parse(f"/{path}") == node


@pytest.mark.parametrize(
    "path",
    [
        "browse/product/Mouse/plane/coronal/x",
        "browse/product/Mouse/plane/coronal/5/6",
        "browse/product/%2E%2E",
    ],
)
def test_a_path_that_no_pattern_matches_names_nothing(path):
    assert is_outside(path)


NOWHERE = words("""
dataset/ dataset/0 dataset/007 dataset/x dataset/1/ dataset/1/info.json/
dataset/1/info.json/x dataset/1/ds4/info.json dataset/1/ds4/sections.csv
dataset/1/expression/sections.csv dataset/1/info.JSON dataset/1/ds11 dataset/1/ds04
dataset/1/annotated dataset/1/image.jpg dataset/1/expression.jpg dataset/1/dataset
dataset/1/nissl dataset/1/NISSL dataset/1/0001_2.jpg/ dataset/1/0001_2.jpg/ds4
dataset/1/1_2.jpg dataset/1/001_2.jpg dataset/1/00000000001_2.jpg dataset/1/0001_02.jpg
dataset/1/0001_0.jpg dataset/1/0001_.jpg dataset/1/0001_2.JPG dataset/1/-001_2.jpg
section/1/sections.csv section/1/ds4/info.json section/1/ds4/nissl section/1/ds4/dataset
section/1/expression/image.jpg projection/1/info.json projection/1/dataset
projection/1/nissl atlas/1/dataset atlas/1/nissl atlas/1/equalized atlas/1/NISSL
atlas/1/annotated/info.json browse/ browse/x browse/dataset browse/product/
browse/product/Mouse/ browse/product/Mouse/x browse/product/Mouse/gene/
browse/product/Mouse/gene/../sagittal browse/product/Mouse/gene/Adora2a/sagittal/
browse/product/Mouse/gene/Adora2a/sagittal/x
browse/product/Mouse/gene/Adora2a/sagittal/5/info.json
browse/product/Mouse/dataset/5/info.json browse/product/%4Douse browse/product/.hidden
browse/atlas/ browse/atlas/.Trash browse/atlas/.. browse/atlas/007
browse/atlas/Mouse,_P56 browse/atlas/2/ browse/atlas/2/ds11/ds12
browse/atlas/2/NISSL/ISH browse/atlas/2/%4EISSL browse/atlas/2/.Trash
browse/atlas/Mouse_P56_Sagittal/info.json browse/atlas/2/info.json/info.json/x
""")
NOWHERE += ["dataset/" + "9" * 19, "dataset/1/0001_2.jpg\n", "browse/atlas/two words"]
NOWHERE += ["dataset/1/\u0660\u0660\u0660\u0661_2.jpg"]


def test_a_path_outside_the_grammar_of_the_catalog_is_not_found():
    assert [path for path in NOWHERE if not is_outside(path)] == []


@many
@given(
    names=st.lists(st.sampled_from(sorted(SECTION_PARAMETERS)), unique=True).flatmap(
        st.permutations
    ),
    data_set_id=ids,
)
def test_parameters_of_a_data_set_may_come_in_any_order(names, data_set_id):
    is_twice = {"equalized", "range0,1,2,3,4,5"} <= set(names)
    path = "/".join(["dataset", str(data_set_id), *names])
    assert is_outside(path) is is_twice
    if is_twice:
        return
    node = directory(path)
    fields = dict(SECTION_PARAMETERS[name] for name in names)
    assert node.view.equalized is fields.pop("equalized", False)
    assert node.view.treatment is None
    assert node.view.of(7) == ImageRequest(ImageService.SECTION, 7, **fields)
    assert (node.subject, node.subject_id) == (Subject.DATA_SET, data_set_id)
    assert node.is_view is bool(names)
    assert directory("/".join(["dataset", str(data_set_id), *sorted(names)])) == node
    file = tree.parse(f"{path}/0012_{data_set_id}.jpg")
    name = f"0012_{data_set_id}.jpg"
    assert file == CollectionFile(node, data_set_id, name)


@pytest.mark.parametrize("twins", TWINS)
@pytest.mark.parametrize("between", [[], ["rgb1,1,1"], ["colormap1", "contrast0,1"]])
def test_no_parameter_appears_twice(twins, between):
    one, other = twins
    names = "/".join([one, *between, other])
    assert is_outside(f"dataset/1/{names}")
    assert is_outside(f"dataset/1/{names}/0001_2.jpg")
    if one not in VIEWS:
        assert is_outside(f"section/1/{names}")
        assert is_outside(f"section/1/{names}/image.jpg")
    for name in {one, other}:  # each alone is a name
        assert not is_outside(f"dataset/1/{'/'.join([*between, name])}")


def test_equalized_may_come_in_any_order():
    for names in itertools.permutations(["equalized", "ds4", "q50"]):
        node = tree.parse(f"section/5/{'/'.join(names)}")
        request = ImageRequest(ImageService.SECTION, 5, downsample=4, quality=50)
        assert node == ParameterDirectory(request, equalized=True)
        file = tree.parse(f"section/5/{'/'.join(names)}/expression.jpg")
        assert file == ImageFile(request.with_file("expression.jpg"), equalized=True)
    assert is_outside("section/5/equalized.jpg")
    assert is_outside("section/equalized/5/image.jpg")


def test_a_region_from_the_corner_may_come_in_any_order():
    for first, *names in itertools.permutations(["at10x20+3+4", "ds4", "q50"]):
        for service in ImageService:
            path = "/".join([service.value, "5", first, *names])
            request = ImageRequest(service, 5, 4, 50, Roi(10, 20, 3, 4))
            assert tree.parse(path) == ParameterDirectory(request, from_corner=True)
            file = tree.parse(f"{path}/image.jpg")
            assert file == ImageFile(request, from_corner=True)
        for collection in ("dataset/5", "browse/atlas/5"):
            view = directory("/".join([collection, first, *names])).view
            assert view.from_corner
            assert view.of(9).roi == Roi(10, 20, 3, 4)
    for name in ("at10x20", "at+3+4", "at", "at0x1+3+4", "at01x1+3+4", "at1x1-3+4"):
        assert is_outside(f"section/5/{name}")
        assert is_outside(f"dataset/5/{name}")
    assert is_outside("section/5/at10x20+3+4.jpg")


@many
@given(
    treatment=st.text(min_size=1, max_size=20).filter(
        lambda text: path_name(text) is not None and not _IS_PARAMETER.match(text)
    ),
    atlas_id=ids,
    place=st.integers(0, 2),
)
@example(treatment="NISSL", atlas_id=2, place=0)
@example(treatment="In Situ/Hybridization", atlas_id=2, place=1)
@example(treatment="ds11", atlas_id=2, place=2)
def test_a_treatment_is_a_directory_of_its_plates(treatment, atlas_id, place):
    names = ["annotated", "ds3"]
    names.insert(place, path_name(treatment))
    node = directory(f"browse/atlas/{atlas_id}/{'/'.join(names)}")
    assert node.view.treatment == treatment
    assert node.view.of(9) == ImageRequest(
        ImageService.ATLAS, 9, downsample=3, annotated=True, atlas_id=atlas_id
    )


def test_annotated_plates_have_the_drawings_of_their_atlas():
    plain = directory("browse/atlas/181276165/ds4").view.of(9)
    assert (plain.annotated, plain.atlas_id) == (False, None)
    drawn = directory("browse/atlas/181276165/annotated").view.of(9)
    assert drawn.path == "atlas/9/annotated/atlas181276165.jpg"
    # equalized is a treatment like any other word: plates have no equalization
    view = directory("browse/atlas/2/equalized").view
    assert (view.equalized, view.treatment) == (False, "equalized")


def test_a_section_number_may_have_ten_digits():
    node = tree.parse("dataset/1/1000000000_2.jpg")
    assert isinstance(node, CollectionFile)
    assert (node.image_id, node.name) == (2, "1000000000_2.jpg")


_NAMES = st.text(max_size=12) | st.sampled_from(
    [
        *words("product atlas gene dataset info.json sections.csv equalized nissl"),
        *words("drawing.svg quint stack series.json 0001_2_s001.jpg"),
        *words("annotated NISSL Mouse . .. 1 0001_2.jpg image.jpg ds4 ds11 ds5"),
        *words("expression q5 007 %2F % range0,1,2,3,4,5 roi1x1 atlas2.jpg"),
        *("", "9" * 400, "\u0661"),
    ]
)


@settings(max_examples=1500, deadline=None)
@given(
    first=st.sampled_from(
        ["dataset", "browse", "section/1", "atlas/1", "browse/atlas/2"]
    ),
    names=st.lists(_NAMES, max_size=7),
)
def test_parsing_raises_nothing_but_not_found(first, names):
    path = "/".join([first, *names])
    try:
        node = tree.parse(path)
    except PathNotFoundError as error:
        assert str(error).isprintable() or not path.isprintable()
        return
    assert isinstance(node, nodes.Node)
    assert tree.parse(f"/{path}") == node
    hash(node)
