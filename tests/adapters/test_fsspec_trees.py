"""``allen://``: links, walks, searches, globs and copies."""

from __future__ import annotations

import errno
import os

import pytest
from mounted import errno_of

from allenfs.adapters.traversal import Traversal
from allenfs.sample.faults import Fault

SECTION = "section/69750516"
GENE = "browse/product/Mouse/gene/Adora2a"
DATA_SET = "dataset/69782969"
RECORD_FAULT = Fault.STATUS_400  # not retried


def test_links_are_followed_anywhere_in_a_path(allen):
    data = allen.cat(f"{SECTION}/dataset/info.json")
    assert data == allen.cat(f"{DATA_SET}/info.json")
    link = allen.info(f"{SECTION}/dataset")
    assert (link["type"], link["islink"]) == ("directory", True)
    assert link["destination"] == DATA_SET
    names = allen.ls(f"{SECTION}/dataset", detail=False)
    assert f"{SECTION}/dataset/info.json" in names
    assert allen.isdir(f"{SECTION}/dataset")
    listed = {one["name"]: one for one in allen.ls(SECTION)}
    assert listed[f"{SECTION}/dataset"] == link
    best = allen.info("structure/DG/gene/Prox1/best")
    assert allen.isfile(f"{best['destination']}/where.json")


def test_a_link_to_nothing_does_not_exist(allen):
    assert errno_of(allen.info, "section/1/dataset") == errno.ENOENT
    assert not allen.exists(f"{GENE}/sagittal/1")


def test_a_walk_lists_links_but_does_not_follow_them(allen, service):
    steps = {path: names for path, *names in allen.walk(SECTION)}
    assert "dataset" in steps[SECTION][0]
    assert not any(path.startswith(f"{SECTION}/dataset") for path in steps)
    found = allen.find(SECTION, withdirs=True)
    assert f"{SECTION}/ds4" in found
    assert f"{SECTION}/dataset" not in found
    assert service.image_requests == 0


def test_a_walk_can_be_pruned_limited_and_reversed(allen):
    for path, directories, _ in allen.walk(SECTION):
        assert path in (SECTION, f"{SECTION}/ds4")
        directories[:] = [name for name in directories if name == "ds4"]
    assert [path for path, *_ in allen.walk(SECTION, maxdepth=1)] == [SECTION]
    assert [path for path, *_ in allen.walk(SECTION, topdown=False)][-1] == SECTION
    (_, directories, files), *_ = allen.walk(SECTION, detail=True)
    assert directories["ds4"] == allen.info(f"{SECTION}/ds4")
    assert files["image.jpg"] == allen.info(f"{SECTION}/image.jpg")
    with pytest.raises(ValueError, match="maxdepth"):
        allen.find(SECTION, maxdepth=0)


def test_what_does_not_exist_contains_nothing(allen):
    for path in ("section/007", f"{SECTION}/ds4/x"):
        assert allen.find(path) == allen.glob(f"{path}/*") == []
        absent = (errno.ENOENT, errno.ENOTDIR)
        assert errno_of(list, allen.walk(path, on_error="raise")) in absent
    assert allen.find(f"{SECTION}/image.jpg") == [f"{SECTION}/image.jpg"]


def test_a_directory_that_cannot_be_listed_is_never_left_out(allen, service, tmp_path):
    service.fail_queries(RECORD_FAULT)
    for search in (
        lambda path: list(allen.walk(path)),
        allen.find,
        allen.du,
        lambda path: allen.glob(f"{path}/*"),
        lambda path: allen.glob(f"{path}/**"),
        lambda path: allen.get(path, str(tmp_path / "copy"), recursive=True),
    ):
        assert errno_of(search, DATA_SET) == errno.EIO
    assert errno_of(list, allen.walk(GENE)) == errno.EIO
    errors = []
    assert list(allen.walk(DATA_SET, on_error=errors.append)) == []
    assert [error.filename for error in errors] == [DATA_SET]
    assert list(allen.walk(DATA_SET, on_error="omit")) == []


# Of what is listed; links aside, which fsspec's own does not find.
COMMON_GLOBS = [
    *(f"{SECTION}/*", f"{SECTION}/*/", f"{SECTION}/*.jpg", f"{SECTION}/ds[1-3]"),
    *(f"{SECTION}/ds?/*.jpg", f"{SECTION}/*/image.jpg", f"{SECTION}/ds4/*"),
    *(f"{SECTION}/ds[!1-7]/image.jpg", f"{SECTION}/image.jpg", f"{SECTION}/none*"),
    *(
        f"{SECTION}/**",
        f"{SECTION}/**/",
        f"{SECTION}/**/image.jpg",
        f"{SECTION}/**/ds4",
    ),
    *(f"{SECTION}/ds[67]/**", f"{SECTION}/none", f"{DATA_SET}/ds[45]/0*.jpg", "*"),
    *("", f"{SECTION}/image.jpg/**", f"{SECTION}/**/*.json"),
]


@pytest.mark.parametrize("pattern", COMMON_GLOBS)
def test_a_glob_finds_what_fsspec_would_find(allen, pattern):
    theirs, ours = (
        [one for one in glob(pattern) if not allen.info(one)["islink"]]
        for glob in (super(Traversal, allen).glob, allen.glob)
    )
    assert ours == theirs


@pytest.mark.parametrize("maxdepth", [1, 2])
@pytest.mark.parametrize("end", ["**", "**/image.jpg", "*/**", "**/ds4/image.jpg"])
def test_maxdepth_limits_a_glob_as_in_fsspec(allen, end, maxdepth):
    pattern = f"{DATA_SET}/{end}"
    theirs = super(Traversal, allen).glob(pattern, maxdepth=maxdepth)
    assert allen.glob(pattern, maxdepth=maxdepth) == theirs


def test_a_glob_finds_names_that_are_not_listed_and_follows_links(allen, service):
    allen.info(DATA_SET)
    pages = allen.glob("dataset/*/quint/ds4/*.jpg")
    assert pages[0].startswith(f"{DATA_SET}/quint/ds4/")
    sections = allen.glob(f"{GENE}/*/*/ds4/*.jpg")
    assert f"{GENE}/sagittal/70813257/ds4" in {os.path.dirname(one) for one in sections}
    assert allen.glob(f"{SECTION}/ds[45]/expression.jpg") == [
        f"{SECTION}/{tier}/expression.jpg" for tier in ("ds4", "ds5")
    ]
    assert service.image_requests == 0


def test_a_glob_has_details_and_kinds(allen):
    pattern = f"{SECTION}/*"
    details = allen.glob(pattern, detail=True)
    assert details == {one: allen.info(one) for one in allen.glob(pattern)}
    directories = allen.glob(f"{pattern}/")
    files = allen.glob(pattern, withdirs=False)
    assert sorted(directories + files) == allen.glob(pattern)
    assert {details[one]["type"] for one in files} == {"file"}
    with pytest.raises(ValueError, match=r"\*\*"):
        allen.glob(f"{SECTION}/a**")


def test_du_counts_what_is_local(allen):
    document_bytes = allen.du(DATA_SET, maxdepth=1)
    image = allen.glob(f"{DATA_SET}/ds7/*.jpg")[0]
    size_bytes = len(allen.cat(image))
    assert allen.du(f"{DATA_SET}/ds7") == size_bytes
    assert allen.du(f"{DATA_SET}/ds7", total=False)[image] == size_bytes
    assert allen.du(DATA_SET, maxdepth=1) == document_bytes
    level = f"{SECTION}/image.zarr/4"
    assert allen.du(level, withdirs=True) == len(allen.cat(f"{level}/.zarray"))


def test_a_directory_is_copied_without_what_its_links_lead_to(allen, tmp_path):
    allen.get(f"{SECTION}/ds6", str(tmp_path / "ds6"), recursive=True)
    copied = sorted(os.listdir(tmp_path / "ds6"))
    assert copied == sorted(
        os.path.basename(one) for one in allen.ls(f"{SECTION}/ds6", detail=False)
    )
    for name in copied:
        assert (tmp_path / "ds6" / name).read_bytes() == allen.cat(
            f"{SECTION}/ds6/{name}"
        )
    allen.get(f"{SECTION}/dataset/*.csv", str(tmp_path / "csv/"))
    assert os.listdir(tmp_path / "csv") == ["sections.csv"]


def test_a_failed_copy_leaves_no_file(allen, service, tmp_path):
    service.fail(Fault.STATUS_400)
    target = tmp_path / "image.jpg"
    assert errno_of(allen.get, f"{SECTION}/ds6/image.jpg", str(target)) == errno.EINVAL
    assert not target.exists()


def test_a_mapper_has_the_keys_of_a_directory(allen):
    mapper = allen.get_mapper(f"{SECTION}/image.zarr")
    assert ".zgroup" in mapper
    assert "none" not in mapper
    assert mapper["4/0/0/0"] == allen.cat(f"{SECTION}/image.zarr/4/0/0/0")
    with pytest.raises(KeyError):
        mapper["9/0/0/0"]
