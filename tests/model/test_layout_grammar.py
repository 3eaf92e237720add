"""The paths of the folders for tools, and that no others are names."""

from __future__ import annotations

import pytest

from allenfs.errors import IsADirError, PathNotFoundError
from allenfs.model import tree
from allenfs.model.nodes import (
    CollectionDirectory,
    CollectionFile,
    Layout,
    LayoutDirectory,
    SeriesFile,
)

words = str.split
VIEWS = ["", "expression", "equalized", "projection", "q50", "expression/equalized"]
FILES = {Layout.QUINT: "0012_34_s012.jpg", Layout.STACK: "0012_34.jpg"}
# the only directories of tiers, and the only files; in `quint` and in `stack`
NOWHERE = words("""
dsx ds11 ds04 ds ds4/ds4 q50 roi9x9+1+1 at9x9+1+1 equalized expression quint stack
ds4/q50 ds4/expression ds4/roi9x9 ds4/quint ds4/stack ds4/equalized ds4/image.jpg
ds4/contact_sheet.jpg ds4/sections.csv ds4/info.json ds4/series.json/x series.json
0012_34.jpg 0012_34_s012.jpg contact_sheet.jpg info.json sections.csv structure
ds0/stack.zarr stack.zarr image.zarr
ds4/0012_34_s012.jpg/x ds4/0012_34.jpg/x ds4/12_34.jpg ds4/0012_34_s12.jpg
ds4/0012_34_s.jpg ds4/0012_034.jpg ds4/0012_34_s012.JPG ds4/ ds4// ds4/.Trash
""")


def below(view: str, layout: Layout, *names: str) -> str:
    return "/".join(["dataset/1", *filter(None, [view]), layout.value, *names])


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("view", VIEWS)
def test_a_folder_for_tools_is_a_view_in_a_tier(layout, view):
    plain = "/".join(["dataset/1", *filter(None, [view])])
    top = tree.parse(below(view, layout))
    assert isinstance(top, LayoutDirectory)
    assert top.directory.layout is layout
    for tier in range(11):
        node = tree.parse(below(view, layout, f"ds{tier}"))
        same = tree.parse(f"{plain}/ds{tier}")
        assert isinstance(node, CollectionDirectory)
        assert isinstance(same, CollectionDirectory)
        assert (node.layout, same.layout) == (layout, None)
        assert (node.view, node.subject_id) == (same.view, 1)
        assert node.view.of(34).downsample == tier
        name = FILES[layout]
        file = tree.parse(below(view, layout, f"ds{tier}", name))
        assert file == CollectionFile(node, 34, name)
    series = below(view, Layout.QUINT, "ds4", "series.json")
    assert isinstance(tree.parse(series), SeriesFile)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("names", NOWHERE)
def test_nothing_else_is_a_name_in_it(layout, names):
    with pytest.raises(PathNotFoundError):
        tree.parse(below("", layout, names))


@pytest.mark.parametrize("layout", Layout)
def test_each_has_its_own_files_alone(layout):
    (other,) = (name for one, name in FILES.items() if one is not layout)
    with pytest.raises(PathNotFoundError):
        tree.parse(below("", layout, "ds4", other))
    with pytest.raises(PathNotFoundError):
        tree.parse("dataset/1/stack/ds4/series.json")


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize(
    "above",
    [
        *("dataset/1/ds4", "dataset/1/ds0", "dataset/1/roi9x9+1+1"),
        *("dataset/1/at9x9+1+1", "dataset/1/quint", "dataset/1/stack/ds4"),
        *("section/1", "projection/1", "atlas/1", "dataset", "browse"),
    ],
)
def test_it_is_nowhere_else(layout, above):
    for name in ("", "/ds4", f"/ds4/{FILES[layout]}"):
        with pytest.raises(PathNotFoundError):
            tree.parse(f"{above}/{layout.value}{name}")


def test_in_an_atlas_the_word_is_a_treatment():
    node = tree.parse("browse/atlas/2/quint")
    assert isinstance(node, CollectionDirectory)
    assert (node.layout, node.view.treatment) == (None, "quint")


def test_a_quint_file_has_the_url_of_its_image_and_a_page_has_none():
    node = tree.parse("dataset/1/expression/quint/ds4/0012_34_s012.jpg")
    request = tree.request_of(node)
    assert request.path == "section/34/ds4/expression.jpg"
    with pytest.raises(IsADirError, match="drawn locally"):
        tree.request_of(tree.parse("dataset/1/stack/ds4/0012_34.jpg"))
    with pytest.raises(IsADirError, match="not an image"):
        tree.request_of(tree.parse("dataset/1/quint/ds4/series.json"))
