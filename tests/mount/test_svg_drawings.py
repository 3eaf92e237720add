"""Drawings of plates in a real mount: like images, but SVG."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from command import allenfs, fails, run
from hostile_service import JPEG, HostileService, head, one_page, whole
from mounted import Mounted, errno_of, errno_of_open

from allenfs.sample.faults import Fault

PLATE, PLAIN = 100960224, 100883900
PATH = f"atlas/{PLATE}/drawing.svg"
TARGET = f"/api/v2/svg_download/{PLATE}?groups=28,32"
SVG = (
    b'<svg width="660" height="472" xmlns="http://www.w3.org/2000/svg">'
    b'<g transform="scale(0.0625)"><path d="%s"/></g></svg>\n' % (b"1,2 " * 5000)
)
NAMESPACE = "http://www.w3.org/2000/svg"
BOUND_BYTES = 16 * 2**20


def record(target: str) -> str:
    """Return the record of a plate, or of a section on a slide."""
    groups = [28, 32, None] if str(PLATE) in target else []
    row = {
        "id": next(one for one in (PLATE, PLAIN, 7, 8) if f"id$eq{one}]" in target),
        "annotated": str(PLATE) in target,
        "x": 30,
        "y": 20,
        "data_set_id": 8,
        "equalization": {
            f"{colour}_{bound}": number
            for colour in ("red", "green", "blue")
            for bound, number in (("lower", 0), ("upper", 9))
        },
        "atlas_data_set": {
            "atlases": [
                {"id": number, "graphic_group_label_id": group}
                for number, group in enumerate(groups, 1)
            ]
        },
    }
    return json.dumps([row])


def heal(drawn: HostileService) -> None:
    svg = [whole(SVG, kind="image/svg+xml")]
    drawn.image = lambda target: svg if "svg" in target else [whole(JPEG)]
    drawn.query = lambda target: one_page(record(target))(target)


@pytest.fixture
def drawn():
    """A service that has a drawing of `PLATE`, and none of `PLAIN`."""
    with HostileService() as running:
        heal(running)
        yield running


@pytest.fixture
def mounted(request, tmp_path, drawn):
    mark = request.node.get_closest_marker("mounted")
    with Mounted(tmp_path, drawn.url, **(mark.kwargs if mark else {})) as mounted:
        yield mounted


def downloads(drawn: HostileService) -> list[str]:
    return [target for target in drawn.requests if "query.json" not in target]


def read_raw(path: Path) -> bytes:
    """Read to the end without `stat`, as dd does."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(fd, 4096), b""))
    finally:
        os.close(fd)


@pytest.mark.both_libfuses
def test_a_drawing_has_a_bound_and_then_its_size_and_is_kept(mounted, drawn):
    path = mounted / PATH
    assert "drawing.svg" in os.listdir(path.parent)
    assert "drawing.svg" not in os.listdir(path.parent / "ds4")
    assert (path.stat().st_size, path.stat().st_blocks) == (BOUND_BYTES, 0)
    assert os.getxattr(path, "user.allenfs.url").decode() == drawn.url + TARGET
    assert os.getxattr(path, "user.allenfs.size_known") == b"false"
    assert downloads(drawn) == []
    assert read_raw(path) == SVG
    assert downloads(drawn) == [TARGET]
    assert path.stat().st_size == len(SVG)
    checksum = os.getxattr(path, "user.allenfs.sha256").decode()
    assert checksum == hashlib.sha256(SVG).hexdigest()
    assert [stored.suffix for stored in mounted.stored] == [".svg"]
    assert os.listdir(mounted / "atlas") == [str(PLATE)]
    mounted.stop()
    mounted.start()
    drawn.image = lambda _: [head("503 Busy")]
    assert path.stat().st_size == len(SVG)
    assert (path.parent / "ds0/drawing.svg").read_bytes() == SVG
    assert read_raw(path) == SVG
    assert len(downloads(drawn)) == 1


def test_a_smaller_drawing_is_another_file(mounted, drawn):
    smaller = SVG.replace(b"660", b"330")
    drawn.image = lambda target: [whole(smaller if "downsample=1" in target else SVG)]
    assert (mounted / PATH).read_bytes() == SVG
    assert (mounted / f"atlas/{PLATE}/ds1/drawing.svg").read_bytes() == smaller
    assert downloads(drawn) == [TARGET, f"{TARGET}&downsample=1"]


def test_opens_at_once_are_one_request(mounted, drawn):
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(read_raw, [mounted / PATH] * 16))
    assert read == [SVG] * 16
    assert downloads(drawn) == [TARGET]


def test_a_copy_of_a_plate_has_its_drawing_once(mounted, drawn, tmp_path):
    run("cp", "-r", mounted / f"atlas/{PLATE}", tmp_path / "copy")
    assert (tmp_path / "copy/drawing.svg").read_bytes() == SVG
    assert [target for target in downloads(drawn) if "svg" in target] == [TARGET]


def test_a_plate_without_drawings_has_none(mounted, drawn):
    path = mounted / f"atlas/{PLAIN}/drawing.svg"
    assert errno_of_open(path) == errno.ENOENT
    assert "it is not annotated" in os.getxattr(
        path.parent, "user.allenfs.error"
    ).decode("ascii")
    assert "drawing.svg" not in os.listdir(path.parent)
    for outside in ("q50/drawing.svg", "annotated/drawing.svg", "drawing.SVG"):
        assert errno_of(os.stat, mounted / f"atlas/{PLATE}/{outside}") == errno.ENOENT
    assert errno_of(os.stat, mounted / "section/7/drawing.svg") == errno.ENOENT
    # only the one record that the first path and its listing need
    assert {str(PLAIN) in target for target in drawn.requests} == {True}


@pytest.mark.mounted(warnings=[f"plate/{PLATE}: "])
def test_a_record_that_cannot_be_had_is_no_absence(mounted, drawn):
    drawn.query = lambda _: [head("503 Busy")]
    path = mounted / PATH
    assert errno_of(os.stat, path) == errno.EIO
    assert "drawing.svg" not in os.listdir(path.parent)
    heal(drawn)
    assert path.read_bytes() == SVG


FAILURES = {
    "cut": ([whole(SVG[:5000])], "cut SVG"),
    "fewer bytes": ([whole(SVG)[:-99]], "IncompleteRead"),
    "JPEG": ([whole(JPEG)], "something that is not an SVG drawing, tried 4 times"),
    "web page": ([whole(b"<html>", kind="text/html")], "a web page instead of an SVG"),
    "entities": (
        [whole(b'<!DOCTYPE svg [<!ENTITY a "&b;&b;">]><svg>&a;</svg>')],
        "document type",
    ),
    "error": ([head("500 Error")], "HTTP 500"),
}


@pytest.mark.parametrize(("answer", "why"), FAILURES.values(), ids=FAILURES)
@pytest.mark.mounted(warnings=[f"{PATH}: "])
def test_a_bad_answer_is_eio_and_then_the_drawing_is_read(mounted, drawn, answer, why):
    path = mounted / PATH
    drawn.image = lambda _: answer
    assert errno_of_open(path) == errno.EIO
    assert why in os.getxattr(path, "user.allenfs.error").decode()
    assert TARGET in os.getxattr(path, "user.allenfs.error").decode()
    assert mounted.stored == []
    heal(drawn)
    assert path.read_bytes() == SVG
    assert len(mounted.stored) == 1


def test_prefetch_downloads_and_evicts_drawings(mounted, drawn):
    path = mounted / PATH
    missing = allenfs("prefetch", "--check", path)
    assert missing.returncode == 1
    assert downloads(drawn) == []
    assert allenfs("prefetch", path).returncode == 0
    assert allenfs("prefetch", "--check", path).returncode == 0
    assert path.stat().st_blocks > 0
    store = ("--cache-dir", mounted.cache_dir)
    assert "1 images checked, 0 damaged" in allenfs("cache", "verify", *store).stdout
    assert "  1 images, " in allenfs("cache", "info", *store).stdout
    assert allenfs("prefetch", "--evict", path).returncode == 0
    assert mounted.stored == []
    assert downloads(drawn) == [TARGET]


def url_of(*arguments: str | Path) -> str:
    done = allenfs("url", *arguments)
    assert done.stderr == ""
    return done.stdout.rstrip("\n")


def test_url_has_the_part_of_a_record_from_the_mount(mounted, drawn):
    api = f"{drawn.url}/api/v2"
    assert url_of(mounted / PATH) == drawn.url + TARGET
    assert url_of(mounted / f"atlas/{PLATE}/ds4/drawing.svg") == (
        f"{api}/svg_download/{PLATE}?groups=28,32&downsample=4"
    )
    assert url_of(mounted / "section/7/equalized/image.jpg") == (
        f"{api}/image_download/7?range=0,9,0,9,0,9"
    )
    assert url_of(mounted / "section/7/at4x5+1+2/image.jpg") == (
        f"{api}/image_download/7?left=31&top=22&width=4&height=5"
    )
    assert downloads(drawn) == []
    assert "give its path in a mount" in fails(1, "url", PATH)
    line = fails(1, "url", mounted / f"atlas/{PLAIN}/drawing.svg")
    assert line.endswith("drawing.svg': No such file or directory")


def test_url_follows_the_links_of_a_mount(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        linked = mounted / "section/71592261/nissl/ds3/image.jpg"
        assert url_of(linked) == (
            f"{service.url}/api/v2/image_download/71592412?downsample=3"
        )
        assert service.image_requests == 0


SHARED = 100883869  # in atlas 2 and in one of developing mice


def parsed(data: bytes) -> ET.Element:
    root = ET.fromstring(data)
    assert root.tag == f"{{{NAMESPACE}}}svg"
    return root


def test_the_samples_drawings_are_those_of_the_plates_atlases(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        whole, small = (
            parsed((mounted / f"atlas/{SHARED}/{name}").read_bytes())
            for name in ("drawing.svg", "ds4/drawing.svg")
        )
    groups = [one.get("graphic_group_label_id") for one in whole.iter()]
    assert {*groups} - {None} == {"28", "32"}
    assert any(one.get("structure_id") for one in whole.iter())
    # smaller in its frame, and the same within
    assert int(small.attrib["width"]) == int(whole.attrib["width"]) >> 4
    assert small[0].get("transform") == "scale(0.0625)"
    assert [*map(ET.tostring, small[0])] == [*map(ET.tostring, whole[0])]


FAULTS = {
    Fault.CUT_CHUNKED: errno.EIO,
    Fault.HALF_JPEG_HONEST_LENGTH: errno.EIO,
    Fault.CUT_CLOSE: errno.EIO,
    Fault.HTML_200: errno.EIO,
    Fault.NOT_A_JPEG: errno.EIO,
    Fault.EMPTY_BODY: errno.EIO,
    Fault.STATUS_403: errno.EACCES,
    Fault.STATUS_404: errno.ENOENT,
    Fault.ENDLESS_BODY: errno.EFBIG,
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_failed_drawing_is_an_errno_and_then_the_drawing(tmp_path, service, fault):
    path = f"atlas/{SHARED}/ds2/drawing.svg"
    with Mounted(
        tmp_path, service.url, warnings=[path], max_image_bytes=4_000_000
    ) as mounted:
        service.fail(fault, image_id=SHARED)
        assert errno_of_open(mounted / path) == FAULTS[fault]
        assert mounted.stored == []
        assert os.getxattr(mounted / path, "user.allenfs.error")
        service.heal()
        assert parsed((mounted / path).read_bytes())
        assert len(mounted.stored) == 1
