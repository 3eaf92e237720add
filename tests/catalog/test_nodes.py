"""What paths turn out to be, with a service, with a failing one, and with none."""

from __future__ import annotations

import errno
import posixpath
from csv import DictReader
from io import StringIO
from itertools import chain

import pytest
from catalog_world import PLAIN, World

from allenfs.catalog import browse
from allenfs.catalog.documents import DOCUMENTS, Document
from allenfs.catalog.entries import Folder, Link, Picture
from allenfs.errors import PathNotFoundError, ServiceError
from allenfs.model import nodes, tree
from allenfs.sample.content import sample_database
from allenfs.sample.database import Database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService
from allenfs.text import path_name

# One path of each kind of node that queries the service.
ASKING = [
    "section/69750516/info.json",
    "section/69750516/dataset",
    "section/71592261/nissl",
    "section/102146167/equalized",
    "section/102146167/ds4/equalized/image.jpg",
    "section/101082286/at9x9+0+0",
    "section/101082286/ds4/at9x9+0+0/image.jpg",
    "projection/102146167/at9x9+0+0/image.jpg",
    "atlas/100883869/annotated/at9x9+0+0/image.jpg",
    "dataset/100055044/at9x9+0+0",
    "section/69750516/image.zarr",
    "section/102146167/equalized/image.zarr/3/0/0/0",
    "atlas/100883869/info.json",
    "atlas/100883869/ds4/drawing.svg",
    "atlas/100883869/annotated/atlas2.zarr/.zattrs",
    "dataset/70813257",
    "dataset/70813257/info.json",
    "dataset/70813257/sections.csv",
    "dataset/70813257/expression/stack.zarr/3/.zarray",
    "dataset/100141599/equalized",
    "browse/product/Mouse",
    "browse/product/Mouse/gene",
    "browse/product/Mouse/gene/Adora2a",
    "browse/product/Mouse/gene/Adora2a/sagittal",
    "browse/product/Mouse/gene/Adora2a/sagittal/70813257",
    "browse/product/Mouse/dataset/70813257",
    "browse/product/Mouse/plane",
    "browse/product/Mouse/plane/sagittal",
    "browse/product/Mouse/plane/sagittal/70813257",
    "browse/atlas/2",
    "browse/atlas/2/info.json",
    "browse/atlas/2/NISSL",
    "browse/atlas/Mouse_P56_Sagittal",
]
ABSENT = [
    "section/4/info.json",
    "section/69750516/nissl",
    "section/69750516/equalized/image.jpg",
    "section/4/image.zarr",
    "section/69750516/equalized/image.zarr",
    "section/69750516/image.zarr/7",
    "section/69750516/image.zarr/6/0/0/1",
    "atlas/69750516/image.zarr",
    "dataset/999/stack.zarr",
    "dataset/70813257/equalized/stack.zarr",
    "dataset/70813257/stack.zarr/11",
    "section/4/at9x9+0+0",
    "section/4/at9x9+0+0/image.jpg",
    "atlas/69750516/at9x9+0+0/image.jpg",
    "dataset/999/at9x9+0+0",
    "section/100883869/info.json",
    "atlas/69750516/info.json",
    "atlas/69750516/drawing.svg",
    "atlas/100883900/drawing.svg",
    "dataset/999",
    "dataset/70813257/0001_4.jpg",
    "dataset/70813257/0046_70679080.jpg",
    "dataset/70813257/00045_70679080.jpg",
    "dataset/70813257/equalized",
    "browse/product/mouse",
    "browse/product/Nobody/gene",
    "browse/product/Mouse/gene/adora2a",
    "browse/product/Mouse/gene/Adora2a/oblique",
    "browse/product/Mouse/gene/Adora2a/sagittal/999",
    "browse/product/Mouse/dataset/999",
    "browse/product/Nobody/dataset/70813257",
    "browse/product/Nobody/plane/coronal",
    "browse/atlas/77",
    "browse/atlas/2/nissl",
    "browse/atlas/Mouse_P56_sagittal",
]


def odd_database() -> Database:
    """Names that a path, a URL or a query may trip over."""
    database = sample_database()
    for abbreviation in ("a/b", "..", "50%", "µ +&#", "it's", "", "info.json"):
        product = database.add("Product", abbreviation=abbreviation)
        genes = add_genes(
            database, ["x/y", ".", "5'nt", "a+b", "two words"], product=product
        )
        add_data_set(database, 500_000_000 + product, genes=genes, products=[product])
    atlas = database.add("Atlas", id=950_000_000, name="")
    data_set = database.add("AtlasDataSet", failed=False)
    database.link("Atlas", atlas, "atlas_data_sets", data_set)
    for number, name in enumerate(
        ("ds4", "a/b", "annotated", ".x", "info.json", "y.jpg")
    ):
        treatment = database.add("Treatment", name=name)
        plate = database.add(
            "AtlasImage", data_set_id=data_set, section_number=number, annotated=True
        )
        database.link("AtlasImage", plate, "treatments", treatment)
    return database


def test_every_name_that_is_listed_is_there(tmp_path):
    with SampleService(database=odd_database()) as sample:
        world = World(sample.url, tmp_path)
        found = world.walk("browse")
        for path, entry in list(found.items()):
            if isinstance(entry, Link):
                target = posixpath.normpath(f"{posixpath.dirname(path)}/{entry.target}")
                assert not target.startswith(("..", "/"))
                assert isinstance(world.entry(target), Folder), path
    links = [path for path, entry in found.items() if isinstance(entry, Link)]
    assert "browse/product/Mouse/gene/Adora2a/sagittal/70813257" in links
    assert "browse/atlas/Mouse_P56_Sagittal" in links
    assert any(path.startswith("browse/product/a%2Fb/gene/x%2Fy/") for path in links)
    assert any(path.startswith("browse/product/%2E./gene/%2E/") for path in links)
    assert not any("'" in path for path in found)
    pictures = [path for path in found if path.endswith(".jpg")]
    assert "browse/atlas/2/0020_100883869.jpg" in pictures
    treatments = {path for path in found if path.startswith("browse/atlas/950000000/")}
    assert {"browse/atlas/950000000/a%2Fb", "browse/atlas/950000000/%2Ex"} <= treatments


def test_a_data_set_lists_its_files_in_section_order_in_every_view(tmp_path):
    with SampleService(database=PLAIN) as sample:
        world = World(sample.url, tmp_path)
        names = world.names("dataset/100141599")
        images = [name for name in names if name[0].isdecimal()]
        assert images == sorted(images)
        assert images
        assert set(names) - set(images) == {
            *("info.json", "sections.csv", "equalized", "projection"),
            "contact_sheet.jpg",
            *(f"ds{n}" for n in range(1, 9)),
        }
        for view in ("ds4", "expression", "equalized", "ds3/equalized/q5"):
            assert world.names(f"dataset/100141599/{view}") == images
        assert "equalized" not in world.names("dataset/70813257")
        entry = world.entry(f"dataset/100141599/ds4/equalized/{images[0]}")
        image_id = int(images[0].partition("_")[2].removesuffix(".jpg"))
        assert isinstance(entry, Picture)
        assert entry.request.path == (
            f"section/{image_id}/ds4/range0,923,0,987,0,4095/image.jpg"
        )
        assert world.names("dataset") == ["70813257", "100141599"]
        csv = world.entry("dataset/100141599/sections.csv").read(0, 2**20).decode()
        rows = list(DictReader(StringIO(csv)))
        assert [row["file_name"] for row in rows] == images


@pytest.mark.parametrize(
    "path",
    [
        "dataset/100141599",
        "dataset/100141599/ds4/equalized",
        "dataset/71670687/ds3/expression",
        "dataset/72109410/ds2",
        "browse/atlas/2",
        "browse/atlas/2/NISSL/ds4",
        "browse/atlas/2/annotated/ds4",
        "browse/atlas/181276165/annotated",
    ],
)
def test_a_series_is_the_images_of_a_listing_in_its_order(tmp_path, path):
    with SampleService(database=PLAIN) as sample:
        world = World(sample.url, tmp_path)
        directory = tree.parse(path)
        assert isinstance(directory, nodes.CollectionDirectory)
        assert world.catalog.series(directory) == ()  # makes no request
        assert sample.query_requests == 0
        names = [name for name in world.names(path) if name[0].isdecimal()]
        names = [name for name in names if name.endswith(".jpg")]
        asked = sample.query_requests
        series = world.catalog.series(directory)
        assert len(series) == len(names) > 0
        for place, name in enumerate(names):
            entry = world.entry(f"{path}/{name}")
            assert isinstance(entry, Picture)
            assert entry.request == series[place]
        assert sample.query_requests == asked


@pytest.mark.parametrize("product", ["Nowhere", "'"])
def test_no_product_no_directory_of_its_data_sets(tmp_path, product):
    with SampleService(database=PLAIN) as sample:
        world = World(sample.url, tmp_path)
        for name in ("", "/dataset", "/gene"):
            with pytest.raises(PathNotFoundError):
                world.entry(f"browse/product/{product}{name}")


@pytest.mark.parametrize("path", ABSENT)
def test_names_that_the_service_does_not_have_do_not_exist(tmp_path, path):
    with SampleService(database=PLAIN) as sample:
        with pytest.raises(PathNotFoundError) as raised:
            World(sample.url, tmp_path).entry(path)
        assert raised.value.errno == errno.ENOENT
        assert sample.query_requests > 0


def is_catalog_directory(node: nodes.Node) -> bool:
    if isinstance(node, nodes.PatternNode):
        return node.pattern not in {*tree.LINKS, *DOCUMENTS}
    return isinstance(node, nodes.CollectionDirectory)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.STATUS_404,
        Fault.STATUS_403,
        Fault.STATUS_503,
        Fault.SUCCESS_FALSE,
        Fault.NOT_JSON,
        Fault.CUT_CHUNKED,
        Fault.REDIRECT_NO_LOCATION,
    ],
)
def test_failed_query_is_an_error_never_an_absence_or_an_empty_directory(
    tmp_path, fault
):
    with SampleService(database=PLAIN) as sample:
        for number, path in enumerate([*ASKING, *ABSENT]):
            world = World(sample.url, tmp_path / str(number))
            sample.fail_queries(fault)
            with pytest.raises(ServiceError) as raised:
                world.entry(path)
            assert raised.value.errno == errno.EIO, path
            if is_catalog_directory(tree.parse(path)):
                with pytest.raises(ServiceError):
                    world.names(path)
            sample.heal()
            if path in ASKING:
                assert world.entry(path) is not None
            else:
                with pytest.raises(PathNotFoundError):
                    world.entry(path)


def test_what_was_seen_is_still_there_without_a_service(tmp_path):
    with SampleService(database=PLAIN) as sample:
        online = World(sample.url, tmp_path)
        seen = {path: online.entry(path) for path in ASKING}
        folders = [path for path in ASKING if isinstance(seen[path], Folder)]
        folders.remove("section/102146167/equalized")  # the grammar lists that one
        listed = {path: online.names(path) for path in folders}
    offline = World("http://127.0.0.1:9", tmp_path)
    for path, entry in seen.items():
        again = offline.entry(path)
        if isinstance(entry, Document):
            assert again.facts == entry.facts
        else:
            # the full size of an image is known if its record is cached
            assert getattr(again, "request", again) == getattr(entry, "request", entry)
    assert {path: offline.names(path) for path in listed} == listed
    assert len(listed) >= 8
    with pytest.raises(ServiceError) as raised:
        offline.names("dataset/72109410")  # named by a link that was not followed
    assert raised.value.errno == errno.EHOSTUNREACH


def test_atlases_of_one_name_are_each_there_by_id(tmp_path):
    database = Database()
    ids = [database.add("Atlas", name="Mouse, P56, Coronal") for _ in range(2)]
    ids.append(database.add("Atlas", name="Mouse P56 Coronal"))
    ids.append(database.add("Atlas", name=None))
    with SampleService(database=database) as sample:
        world = World(sample.url, tmp_path)
        assert world.names("browse/atlas") == [*map(str, ids), "Mouse_P56_Coronal"]
        for atlas_id in ids:
            assert world.entry(f"browse/atlas/{atlas_id}") == Folder()
        assert world.entry("browse/atlas/Mouse_P56_Coronal") == Link(str(ids[0]))


def test_a_gene_is_there_or_not_whatever_was_listed_before(tmp_path):
    """One whose data sets all failed is in the service's list."""
    database = Database()
    product = database.add("Product", abbreviation="P")
    (gene,) = add_genes(database, ["Failed"], product=product)
    add_data_set(database, 5, genes=[gene], products=[product], failed=True)
    with SampleService(database=database) as sample:
        world = World(sample.url, tmp_path)
        assert world.names("browse/product/P/gene") == ["Failed"]
        assert world.entry("browse/product/P/gene/Failed") == Folder()
        assert world.names("browse/product/P/gene/Failed") == []
        other = World(sample.url, tmp_path)
        assert other.entry("browse/product/P/gene/Failed") == Folder()
        assert (
            World(sample.url, tmp_path / "new").entry("browse/product/P/gene/Failed")
            == Folder()
        )


@pytest.mark.parametrize("text", ["a/b", "..", "50%", "µ +&#"])
def test_a_product_is_queried_by_its_own_name(tmp_path, text):
    with SampleService(database=odd_database()) as sample:
        world = World(sample.url, tmp_path)
        path = f"browse/product/{path_name(text)}"
        assert world.names(path) == ["dataset", "gene", "plane"]
        assert world.names(f"{path}/gene") == ["%2E", "a+b", "two words", "x%2Fy"]
        (data_set,) = world.names(f"{path}/dataset")
        for gene in world.names(f"{path}/gene"):
            assert world.names(f"{path}/gene/{gene}/sagittal") == [data_set]


def recorded_genes() -> Database:
    """Return recorded genes with a star in their acronym, or sharing one.

    Ids that are not marked as recorded are invented.
    """
    database = sample_database()
    for data_set, gene, acronym in [
        (74357755, 149630, "0610005G16Rik*"),  # recorded
        (500_000_001, 149631, "0610005G16Rik"),
        (74357756, 500_000_002, "A230044A09Rik*"),
        (70474875, 500_000_003, "9130019P16Rik"),  # recorded, and so is the pair
        (500_000_004, 500_000_005, "9130019P16Rik"),
    ]:
        database.add("Gene", id=gene, acronym=acronym)
        database.link("Gene", gene, "products", 1)
        add_data_set(database, data_set, genes=[gene])
    return database


@pytest.mark.parametrize(
    ("acronym", "data_sets"),
    [
        ("0610005G16Rik*", ["74357755"]),
        ("0610005G16Rik", ["500000001"]),
        ("A230044A09Rik*", ["74357756"]),
        ("9130019P16Rik", ["70474875", "500000004"]),
    ],
)
def test_recorded_acronyms_with_a_star_or_of_two_genes_lead_to_their_data_sets(
    tmp_path, acronym, data_sets
):
    path = f"browse/product/Mouse/gene/{acronym}"
    with SampleService(database=recorded_genes()) as sample:
        unlisted = World(sample.url, tmp_path)
        assert unlisted.entry(path) == Folder()
        world = World(sample.url, tmp_path / "listing")
        assert world.names("browse/product/Mouse/gene").count(acronym) == 1
        for one in (unlisted, world):
            assert one.names(path) == ["sagittal"]
            assert one.names(f"{path}/sagittal") == data_sets
            for data_set in data_sets:
                found = one.entry(f"{path}/sagittal/{data_set}")
                assert found == Link(f"../../../../../../dataset/{data_set}")
        with pytest.raises(PathNotFoundError):
            world.entry("browse/product/Mouse/gene/A230044A09Rik")  # only with a star


def test_the_planes_of_a_product_cost_one_query_however_many_genes_it_has(tmp_path):
    database = sample_database()
    genes = add_genes(database, (f"Gene{number}" for number in range(30)))
    for place, gene in enumerate(genes):
        add_data_set(database, 9000 + place, genes=[gene], plane="coronal")
    for data_set, plane in [(9001, 5), (9002, None), (9003, 424242)]:
        database.change("SectionDataSet", data_set, plane_of_section_id=plane)
    with SampleService(database=database, page_rows=10) as sample:
        world = World(sample.url, tmp_path)
        path = "browse/product/Mouse"
        assert "Mouse" in world.names("browse/product")
        every = world.names(f"{path}/dataset")
        asked = sample.query_requests
        planes = {
            name: world.names(f"{path}/plane/{name}")
            for name in world.names(f"{path}/plane")
        }
        assert sample.query_requests == asked
        assert sorted(planes) == ["coronal", "n%2Fa", "sagittal", "unknown"]
        assert planes["n%2Fa"] == ["9001"]
        assert planes["unknown"] == ["9002", "9003"]
        assert sorted(chain(*planes.values()), key=int) == every
        found = world.walk(f"{path}/plane")
        assert sample.query_requests == asked
    links = {name: entry for name, entry in found.items() if isinstance(entry, Link)}
    assert len(links) == len(every)
    link = f"{path}/plane/coronal/9000"
    assert links[link] == Link("../../../../../dataset/9000")
    with pytest.raises(PathNotFoundError):
        world.entry(f"{path}/plane/coronal/9001")  # it is in another plane
    with pytest.raises(PathNotFoundError):
        world.entry(f"{path}/plane/transverse")


def test_data_sets_that_were_listed_are_there_without_a_question_for_each(
    tmp_path, monkeypatch
):
    with SampleService(database=PLAIN) as sample:
        world = World(sample.url, tmp_path)
        names = world.names("browse/product/Mouse/dataset")
        assert world.names("browse/product/Mouse/gene/Adora2a/sagittal")
        asked = sample.query_requests
        for name in names:
            world.entry(f"dataset/{name}")
        assert sample.query_requests == asked
        # a list that is too long is forgotten with the next one, and a name is asked
        monkeypatch.setattr(browse, "MAX_DATA_SET_IDS", len(names) - 1)
        others = world.names("browse/product/MouseConn/dataset")
        asked = sample.query_requests
        world.entry(f"dataset/{others[0]}")
        assert sample.query_requests == asked
        world.entry(f"dataset/{names[0]}")
        assert sample.query_requests > asked


@pytest.mark.parametrize("name", ["dataset/70813257", "plane/coronal"])
def test_a_misspelled_product_costs_one_list_and_no_warning(tmp_path, caplog, name):
    with SampleService(database=PLAIN) as sample:
        with pytest.raises(PathNotFoundError):
            World(sample.url, tmp_path).entry(f"browse/product/Nobody/{name}")
        assert sample.query_requests == 2  # of the products: their page, and its end
    assert caplog.records == []
