"""Folders for tools in a real mount: which files, of which size, for which requests."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import allenfs, cat, fails, run
from mounted import Mounted, errno_of_open, image_bytes, until
from PIL import Image

from allenfs.sample.server import Fault

pytestmark = pytest.mark.one_libfuse

ISH = "dataset/69782969"  # five sections of five sizes
SIZES = {"0062_69750508": (880, 464), "0078_69750516": (879, 456)}  # at ds4
CORONAL = "dataset/72109410"  # 60 sections
CONNECTIVITY = "dataset/100141599"
ERROR, URL = "user.allenfs.error", "user.allenfs.url"
# DeepSlice 1.2.8, coord_post_processing/spacing_and_indexing.py, number_sections
DEEPSLICE = re.compile(r"\_s\d+")


def opened(path: Path) -> Image.Image:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        picture.load()
    return picture


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
        return picture.size


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".jpg")


def sections(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sizes(folder: Path, names: Iterable[str]) -> list[int]:
    return [(folder / name).stat().st_size for name in names]


def pages_kept(mounted: Mounted) -> list[Path]:
    return [path for path in mounted.stored if path.name.startswith("stack_")]


def downsamples(requested: Iterable[str]) -> set[str]:
    return {target.partition("?")[2] for target in requested}


def test_folders_for_tools_are_listed_by_name_only(mounted, service):
    for path in (ISH, f"{ISH}/expression", f"{CONNECTIVITY}/equalized"):
        assert not {"quint", "stack"} & set(os.listdir(mounted / path))
        for layout in ("quint", "stack"):
            listed = sorted(os.listdir(mounted / path / layout))
            # 38 megapixels at ds2 are too many for a page
            is_large = layout == "stack" and path.startswith(CONNECTIVITY)
            first = 3 if is_large else 1
            assert listed == [f"ds{tier}" for tier in range(first, 9)]
            run("ls", "-lR", mounted / path / layout)
    assert service.image_requests == 0
    assert service.query_requests <= 4


@pytest.mark.parametrize(
    ("folder", "plain", "query"),
    [
        (f"{ISH}/quint/ds4", f"{ISH}/ds4", "downsample=4"),
        (f"{ISH}/quint/ds10", f"{ISH}/ds10", "downsample=10"),
        (
            f"{ISH}/expression/quint/ds6",
            f"{ISH}/ds6/expression",
            "downsample=6&view=expression",
        ),
        (
            f"{CONNECTIVITY}/equalized/quint/ds6",
            f"{CONNECTIVITY}/ds6/equalized",
            "downsample=6&range=0,923,0,987,0,4095",
        ),
    ],
)
def test_quint_has_the_stored_images_under_names_with_one_section_number(
    mounted, service, folder, plain, query
):
    here, there = mounted / folder, mounted / plain
    names = {path.name: path.name[:-9] + ".jpg" for path in pictures(here)}
    assert sorted(names.values()) == [path.name for path in pictures(there)]
    assert sorted(os.listdir(here)) == sorted([*names, "series.json"])
    # The sizes before the first read, and after the last one: read-ahead makes a
    # bound exact at any time between them.
    assert sizes(here, names) == sizes(there, names.values())
    for name, plain_name in names.items():
        (found,) = DEEPSLICE.findall(name)
        assert int(found[2:]) == int(plain_name.partition("_")[0])
        assert (here / name).read_bytes() == (there / plain_name).read_bytes()
    assert sizes(here, names) == sizes(there, names.values())
    assert downsamples(service.requested) == {query}
    assert service.image_requests == len(mounted.stored) == len(names)
    name = next(iter(names))
    assert os.getxattr(here / name, URL) == os.getxattr(there / names[name], URL)


def test_series_has_every_file_with_its_size_and_place(mounted, service):
    file = mounted / CORONAL / "quint/ds6/series.json"
    size_bytes = file.stat().st_size
    data = file.read_bytes()
    assert len(data) == size_bytes
    assert service.image_requests == 0
    assert service.query_requests <= 3
    series = json.loads(data)
    assert series["target"] == "ABA_Mouse_CCFv3_2017_25um.cutlas"
    assert series["target-resolution"] == [456, 528, 320]
    slices = {one["filename"]: one for one in series["slices"]}
    files = pictures(file.parent)
    assert [*slices] == [path.name for path in files]
    for path in files[::20]:
        one = slices[path.name]
        assert size_of(path.read_bytes()) == (one["width"], one["height"])
    # coronal: the first section is at the back, and each is one step to the front
    places = [one["anchoring"] for one in slices.values()]
    assert all(len(place) == 9 for place in places)
    middles = [place[1] + (place[4] + place[7]) / 2 for place in places]
    assert middles == sorted(middles)
    assert all(0 < middle < 528 for middle in middles)
    # left to right, and top to bottom, whatever the tier
    assert all(place[3] > 0 > place[8] for place in places)
    other = json.loads((mounted / CORONAL / "quint/ds2/series.json").read_bytes())
    assert [one["anchoring"] for one in other["slices"]] == places


@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_a_section_without_a_number_is_not_in_quint_but_in_the_stack(database, mounted):
    folder = mounted / ISH / "quint/ds6"
    assert len(pictures(folder)) == 5
    database.change("SectionImage", 69750516, section_number=None)
    until(lambda: len(pictures(folder)) == 4)
    slices = json.loads((folder / "series.json").read_bytes())["slices"]
    assert [one["filename"] for one in slices] == [one.name for one in pictures(folder)]
    assert not os.path.lexists(folder / "0078_69750516_s078.jpg")
    assert not os.path.lexists(folder / "0000_69750516_s000.jpg")
    assert "0000_69750516.jpg" in sections(mounted / ISH / "stack/ds6")


@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_data_set_of_another_brain_has_a_series_without_places(database, mounted):
    file = mounted / ISH / "quint/ds6/series.json"
    assert file.read_bytes().count(b'"anchoring"') == 5
    database.change("SectionDataSet", 69782969, reference_space_id=6)
    until(lambda: b"anchoring" not in file.read_bytes())
    assert len(json.loads(file.read_bytes())["slices"]) == 5


@pytest.mark.parametrize(
    ("folder", "plain", "size_px", "count"),
    [
        (f"{ISH}/stack/ds4", f"{ISH}/ds4", (880, 464), 5),
        (f"{ISH}/expression/stack/ds5", f"{ISH}/ds5/expression", (440, 232), 5),
        (f"{CONNECTIVITY}/stack/ds6", f"{CONNECTIVITY}/ds6", (464, 320), 3),
        (
            f"{CONNECTIVITY}/equalized/stack/ds6",
            f"{CONNECTIVITY}/ds6/equalized",
            (464, 320),
            3,
        ),
        (f"{CORONAL}/stack/ds7", f"{CORONAL}/ds7", (45, 31), 60),
    ],
)
def test_a_stack_has_as_many_pages_of_one_size_as_there_are_sections(
    mounted, tmp_path, service, folder, plain, size_px, count
):
    here, there = mounted / folder, mounted / plain
    assert sections(here) == [path.name for path in pictures(there)]
    bound = size_px[0] * size_px[1] * 3 + 64 * 1024
    assert {page.stat().st_size for page in here.iterdir()} == {bound}
    assert service.image_requests == 0
    run("cp", "-r", here, tmp_path / "copy")
    pages = pictures(tmp_path / "copy")
    assert len(pages) == count
    assert {size_of(page.read_bytes()) for page in pages} == {size_px}
    # one request a section: that of the plain image
    assert service.image_requests == count
    assert len(pages_kept(mounted)) == count
    for page in here.iterdir():
        assert page.stat().st_size == (tmp_path / "copy" / page.name).stat().st_size
        assert page.stat().st_blocks
    run("cp", "-r", there, tmp_path / "plain")
    assert service.image_requests == count


def test_each_section_is_in_the_middle_of_its_page(mounted):
    for name, (width_px, height_px) in SIZES.items():
        page = opened(mounted / ISH / f"stack/ds4/{name}.jpg")
        own = opened(mounted / ISH / f"ds4/{name}.jpg")
        assert own.size == (width_px, height_px)
        left_px, top_px = (880 - width_px) // 2, (464 - height_px) // 2
        box = left_px, top_px, left_px + width_px, top_px + height_px
        here, there = page.crop(box).convert("L"), own.convert("L")
        pairs = zip(here.tobytes(), there.tobytes(), strict=True)
        far = sum(abs(seen - drawn) for seen, drawn in pairs)
        assert far / (width_px * height_px) < 2


def test_a_page_is_kept_without_the_service_and_has_no_url(mounted, service):
    file = mounted / ISH / "stack/ds5/0078_69750516.jpg"
    data = file.read_bytes()
    plain = mounted / ISH / "ds5/0078_69750516.jpg"
    found = file.stat()
    assert (found.st_size, found.st_mtime_ns) == (len(data), plain.stat().st_mtime_ns)
    kept = {"user.allenfs.fetched", "user.allenfs.sha256", "user.allenfs.size_known"}
    assert set(os.listxattr(file)) == kept
    assert "drawn locally" in fails(1, "url", f"{ISH}/stack/ds5/0078_69750516.jpg")
    mounted.stop()
    service.close()
    mounted.start()
    assert file.read_bytes() == data
    assert file.stat().st_size == len(data)


def test_readers_of_one_page_share_its_request(mounted, service):
    file = mounted / ISH / "stack/ds4/0094_69750524.jpg"
    with ThreadPoolExecutor(8) as pool:
        read = set(pool.map(Path.read_bytes, [file] * 16))
    assert len(read) == 1
    assert service.image_requests == 1


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        (Fault.STATUS_404, errno.ENOENT),
        (Fault.STATUS_403, errno.EACCES),
        (Fault.STATUS_503, errno.EIO),
        (Fault.CUT_CHUNKED, errno.EIO),
        (Fault.NOT_A_JPEG, errno.EIO),
        (Fault.RESET_MID_BODY, errno.EIO),
    ],
)
@pytest.mark.mounted(warnings=["WARNING"])
def test_a_failed_image_is_the_errno_of_its_page_and_then_it_is_there(
    mounted, service, fault, number
):
    file = mounted / ISH / "stack/ds6/0078_69750516.jpg"
    service.fail(fault, image_id=69750516)
    assert errno_of_open(file) == number
    assert "69750516" in os.getxattr(file, ERROR).decode()
    assert not mounted.stored
    other = mounted / ISH / "stack/ds6/0094_69750524.jpg"
    assert size_of(other.read_bytes()) == (220, 116)
    service.heal()
    assert size_of(file.read_bytes()) == (220, 116)
    assert ERROR not in os.listxattr(file)


@pytest.mark.mounted(catalog_ttl_s=0.001, warnings=["pixels, more than"])
def test_an_image_larger_than_any_record_says_is_eio_and_then_its_page(
    database, mounted
):
    file = mounted / ISH / "stack/ds4/0062_69750508.jpg"
    database.change("SectionImage", 69750508, width=9000, height=7000)
    assert errno_of_open(file) == errno.EIO
    assert "has 880 x 464 pixels, more than" in os.getxattr(file, ERROR).decode()
    assert not pages_kept(mounted)
    # the others are as large as the records say
    page = mounted / ISH / "stack/ds4/0070_69750512.jpg"
    assert size_of(page.read_bytes()) == (879, 459)
    database.change("SectionImage", 69750508, width=14_081, height=7425)
    until(lambda: file.stat().st_size == 880 * 464 * 3 + 64 * 1024)
    assert size_of(file.read_bytes()) == (880, 464)


@pytest.mark.mounted(catalog_ttl_s=0.001)
def test_an_image_without_a_size_in_its_record_has_a_page_if_it_fits(database, mounted):
    database.change("SectionImage", 69750516, width=None)
    page = mounted / ISH / "stack/ds4/0078_69750516.jpg"
    assert size_of(page.read_bytes()) == (880, 464)
    # larger records: other pages
    database.change("SectionImage", 69750516, width=16_000, height=8000)
    until(lambda: size_of(page.read_bytes()) == (1000, 500))
    assert len(pages_kept(mounted)) == 2


def test_a_page_that_would_be_too_large_is_not_there_and_says_what_is(mounted, service):
    stack = mounted / ISH / "stack"
    assert not os.path.lexists(stack / "ds0")
    reason = os.getxattr(stack, ERROR).decode()
    assert reason == (
        "ds0: pages of 14081 x 7425 pixels are too large: use ds1 or stack.zarr"
    )
    assert not os.path.lexists(stack / "ds0/0078_69750516.jpg")
    assert os.path.lexists(stack / "ds1/0078_69750516.jpg")
    assert os.path.lexists(mounted / ISH / "quint/ds0/0078_69750516_s078.jpg")
    large = mounted / CONNECTIVITY / "stack"
    assert not os.path.lexists(large / "ds2")
    assert "use ds3 or stack.zarr" in os.getxattr(large, ERROR).decode()
    assert service.image_requests == 0


def test_names_of_other_sections_are_not_there(mounted, service):
    for name in (
        *("quint/ds4/0078_69750516.jpg", "quint/ds4/0079_69750516_s079.jpg"),
        *("quint/ds4/0078_69750516_s78.jpg", "quint/ds4/0078_69750516_s079.jpg"),
        *("quint/ds4/0078_69750517_s078.jpg", "stack/ds4/0078_69750516_s078.jpg"),
        *("stack/ds4/0079_69750516.jpg", "stack/ds4/contact_sheet.jpg"),
        *("stack/ds4/series.json", "equalized/quint", "equalized/stack/ds4"),
    ):
        assert not os.path.lexists(mounted / ISH / name), name
    assert not os.path.lexists(mounted / "dataset/999999999/quint/ds4/series.json")
    assert service.image_requests == 0


@pytest.mark.parametrize("layout", ["quint", "stack"])
def test_images_are_read_ahead_in_a_folder_for_tools(mounted, service, layout):
    files = pictures(mounted / CORONAL / layout / "ds6")
    for file in files[:2]:
        file.read_bytes()
    until(lambda: service.image_requests == 4)
    until(lambda: len(mounted.stored) == (4 if layout == "quint" else 6))
    service.close()
    for file in files[2:4]:
        assert size_of(file.read_bytes())


def test_pages_that_are_kept_need_no_images(mounted, service):
    folder = mounted / CORONAL / "stack/ds7"
    files = pictures(folder)
    for file in files:
        file.read_bytes()
    assert service.image_requests == 60
    images = pictures(mounted / CORONAL / "ds7")
    done = allenfs("prefetch", "--evict", *images)
    assert done.returncode == 0, done.stderr
    mounted.stop()  # the next mount knows that the images are not stored
    mounted.start()
    for file in files:
        assert size_of(file.read_bytes())
    assert service.image_requests == 60
    # evicted themselves, they are drawn again
    before = files[0].read_bytes()
    assert allenfs("prefetch", "--evict", folder).returncode == 0
    until(lambda: files[0].stat().st_blocks == 0)
    assert files[0].read_bytes() == before
    assert service.image_requests == 61


def test_prefetch_fetches_each_page_once(mounted, service):
    folder = mounted / ISH / "stack/ds6"
    assert allenfs("prefetch", folder, mounted / ISH / "quint/ds6").returncode == 0
    assert service.image_requests == 5
    assert len(pages_kept(mounted)) == 5
    assert allenfs("prefetch", "--check", folder).returncode == 0
    # of the whole data set, nothing is doubled
    service.close()
    assert allenfs("prefetch", folder).returncode == 0


def test_a_damaged_page_is_found_and_drawn_again(mounted, service):
    file = mounted / ISH / "stack/ds6/0078_69750516.jpg"
    data = file.read_bytes()
    (kept,) = pages_kept(mounted)
    assert kept.read_bytes().startswith(data)
    flipped = bytearray(kept.read_bytes())
    flipped[1000] ^= 1
    kept.write_bytes(flipped)
    done = allenfs("cache", "verify", "--cache-dir", str(mounted.cache_dir))
    assert "2 images checked, 1 damaged and removed" in done.stdout
    assert file.read_bytes() == data
    assert service.image_requests == 1


def test_a_reader_that_waits_for_a_page_dies_of_a_signal(mounted, service):
    service.pause()
    reader = cat(mounted / ISH / "stack/ds6/0078_69750516.jpg")
    until(lambda: service.image_requests == 1)
    reader.terminate()
    reader.communicate(timeout=5)
    assert reader.returncode != 0
    service.resume()
    until(lambda: pages_kept(mounted))


def test_a_quint_file_is_byte_for_byte_the_service_s(mounted, service):
    data = (mounted / ISH / "quint/ds6/0078_69750516_s078.jpg").read_bytes()
    assert data == image_bytes(service.url, "section/69750516/ds6/image.jpg")
