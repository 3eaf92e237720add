"""The catalog through a mount: few requests, honest failures, still there offline."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from mounted import Mounted

from allenfs.sample.content import sample_database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA_SET = "dataset/72109410"
OF_A_QUERY = "allenfs.archive"
WAYS_TO_A_DATA_SET = [
    "dataset/100141599",
    "dataset/100141599/ds4",
    "dataset/100141599/ds4/equalized",
    "dataset/100141599/expression",
    "section/102146167/dataset/",
    "section/102146167/dataset/ds2/equalized",
]
DIRECTORIES = [
    DATA_SET,
    f"{DATA_SET}/ds4/expression",
    "browse/product",
    "browse/product/Mouse",
    "browse/product/Mouse/gene",
    "browse/product/Mouse/gene/Adora2a",
    "browse/product/Mouse/gene/Adora2a/sagittal",
    "browse/product/MouseConn/dataset",
    "browse/atlas",
    "browse/atlas/2",
    "browse/atlas/2/NISSL/ds4",
]
FILES = [
    "section/69750516/info.json",
    "section/71592261/nissl/info.json",
    "section/102146167/ds4/equalized/image.jpg",
    "atlas/100883869/info.json",
    f"{DATA_SET}/sections.csv",
]


@pytest.mark.parametrize("way", WAYS_TO_A_DATA_SET)
def test_data_set_costs_three_requests_at_most(
    tmp_path: Path, service: SampleService, way: str
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        for path in (way, way, *WAYS_TO_A_DATA_SET[:4], way):
            subprocess.run(
                ["ls", "-l", mounted / path], check=True, stdout=subprocess.DEVNULL
            )
        assert service.query_requests <= 3
        assert service.image_requests == 0
        mounted.stop()
        mounted.start()
        assert os.listdir(mounted / way)
        assert service.query_requests <= 3


def test_bound_of_an_unknown_size_is_the_records(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        file = mounted / "dataset/69782969/ds4/0078_69750516.jpg"
        # 14065 x 7297 after 4 halvings
        assert file.stat().st_size == 879 * 456 * 3 + 64 * 1024
        assert file.stat().st_blocks == 0
        data = file.read_bytes()
        assert file.stat().st_size == len(data)
        assert (mounted / "section/69750516/ds4/image.jpg").stat().st_size == len(data)
        assert service.image_requests == 1


def test_one_image_is_one_entry_whichever_path_opened_it(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        sagittal = "browse/product/Mouse/gene/Adora2a/sagittal"
        datas = {
            (mounted / path).read_bytes()
            for path in (
                "section/70679088/ds4/image.jpg",
                "dataset/70813257/ds4/0061_70679088.jpg",
                f"{sagittal}/70813257/ds4/0061_70679088.jpg",
                "section/70679080/dataset/ds4/0061_70679088.jpg",
            )
        }
        assert len(datas) == 1
        assert service.image_requests == 1
        assert len(mounted.stored) == 1


@pytest.mark.parametrize(("page_rows", "genes"), [(50, 500), (2000, 20_000)])
def test_long_lists_are_complete_whatever_the_page(
    tmp_path: Path, page_rows: int, genes: int
) -> None:
    database = sample_database()
    add_genes(database, (f"Gene{number}" for number in range(genes)))
    add_data_set(database, 4711, range(5_000_000_000, 5_000_002_600))
    with (
        SampleService(
            database=database, page_rows=page_rows, joined_pages=True
        ) as service,
        Mounted(tmp_path, service.url) as mounted,
    ):
        images = sorted(os.listdir(mounted / "dataset/4711/ds4"))
        assert len(images) == len(set(images)) == 2600
        assert images[0] == "0010_5000000000.jpg"
        names = os.listdir(mounted / "browse/product/Mouse/gene")
        assert len(names) == len(set(names)) == genes + 6
        asked = service.query_requests
        subprocess.run(
            ["ls", "-l", mounted / "browse/product/Mouse/gene"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        assert service.query_requests == asked


def test_odd_names_break_neither_a_path_nor_a_query(tmp_path: Path) -> None:
    database = sample_database()
    odd = ["a/b", "Ünï", "50%", "..", ".hidden", "a b&c+d#e", "new\nline", "x" * 300]
    ids = add_genes(database, [*odd, "it's"])
    for place, gene in enumerate(ids):
        add_data_set(database, 9000 + place, genes=[gene])
    with (
        SampleService(database=database) as service,
        Mounted(tmp_path, service.url) as mounted,
    ):
        genes = mounted / "browse/product/Mouse/gene"
        names = {
            "a%2Fb": "9000",
            "Ünï": "9001",
            "50%25": "9002",
            "%2E.": "9003",
            "%2Ehidden": "9004",
            "a b&c+d#e": "9005",
        }
        listed = set(os.listdir(genes))
        assert listed >= names.keys()
        assert len(listed) == 6 + len(names)
        for name, data_set in names.items():
            assert os.listdir(genes / name / "sagittal") == [data_set]
        for absent in ("it's", "a", "..hidden", ".hidden", "50%", os.fsdecode(b"\xff")):
            with pytest.raises(FileNotFoundError):
                os.stat(genes / absent)


FAULTS: list[tuple[Fault, int]] = [
    (Fault.STATUS_400, errno.EIO),
    (Fault.STATUS_403, errno.EIO),
    (Fault.STATUS_404, errno.EIO),
    (Fault.STATUS_500, errno.EIO),
    (Fault.SUCCESS_FALSE, errno.EIO),
    (Fault.NOT_JSON, errno.EIO),
    (Fault.HTML_200, errno.EIO),
    (Fault.EMPTY_BODY, errno.EIO),
    (Fault.CUT_CHUNKED, errno.EIO),
    (Fault.RESET_BEFORE, errno.EIO),
    (Fault.SILENT, errno.ETIMEDOUT),
]


@pytest.mark.parametrize(("fault", "number"), FAULTS, ids=str)
def test_failed_query_is_an_errno_and_then_the_directory(
    tmp_path: Path, service: SampleService, fault: Fault, number: int
) -> None:
    looks: dict[str, Callable[[Path], object]] = {
        **dict.fromkeys(DIRECTORIES, os.listdir),
        **dict.fromkeys(FILES, lambda path: path.read_bytes()),
        "section/71592261/nissl": os.readlink,
        "section/71592261/dataset": os.readlink,
    }
    with Mounted(
        tmp_path,
        service.url,
        stall_timeout_s=0.2 if fault is Fault.SILENT else 20,
        warnings=[OF_A_QUERY],
    ) as mounted:
        service.fail_queries(fault)
        for path, look in looks.items():
            with pytest.raises(OSError) as caught:
                look(mounted / path)
            assert caught.value.errno == number, path
        service.heal()
        for path, look in looks.items():
            if not (fault is Fault.SILENT and path.endswith(".jpg")):  # slow to draw
                assert look(mounted / path), path


def test_refused_query_is_ehostunreach_and_no_name_is_lost(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url, warnings=[OF_A_QUERY]) as mounted:
        service.close()
        for path in (*DIRECTORIES, *FILES):
            with pytest.raises(OSError) as caught:
                os.stat(mounted / path)
                os.listdir(mounted / path)
            assert caught.value.errno == errno.EHOSTUNREACH, path
        # without the catalog a section is still what the grammar says
        assert "image.jpg" in os.listdir(mounted / "section/69750516")


def test_refusal_of_a_query_is_in_the_log_and_readable(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url, warnings=["told so"]) as mounted:
        service.fail_queries(Fault.SUCCESS_FALSE)
        with pytest.raises(OSError):
            os.listdir(mounted / DATA_SET)
        (line,) = [line for line in mounted.log.splitlines() if "WARNING" in line]
        assert "dataset/72109410" in line
        assert "line 1, column" in line
        assert "/api/v2/data/query.json" in line
        said = os.getxattr(mounted / "dataset", "user.allenfs.error").decode()
        assert said in line
        service.heal()
        assert os.listdir(mounted / DATA_SET)
        with pytest.raises(OSError):
            os.getxattr(mounted / "dataset", "user.allenfs.error")


def test_what_was_listed_lists_after_a_restart_without_the_service(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(
        tmp_path, service.url, catalog_ttl_s=0.001, warnings=[OF_A_QUERY]
    ) as mounted:
        before = {path: sorted(os.listdir(mounted / path)) for path in DIRECTORIES}
        read = {path: (mounted / path).read_bytes() for path in FILES}
        image = f"{DATA_SET}/ds5/{before[DATA_SET][0]}"
        read[image] = (mounted / image).read_bytes()
        mounted.stop()
        service.close()
        mounted.start()
        assert {path: sorted(os.listdir(mounted / path)) for path in before} == before
        assert {path: (mounted / path).read_bytes() for path in read} == read
        assert "72109410" in os.listdir(mounted / "dataset")
        assert os.readlink(mounted / "section/71592261/nissl") == "../71592412"


def test_old_records_are_asked_again_when_the_service_is_back(
    tmp_path: Path,
) -> None:
    database = sample_database()
    add_data_set(database, 4711, [5_000_000_000])
    with (
        SampleService(database=database) as service,
        Mounted(
            tmp_path, service.url, catalog_ttl_s=0.001, warnings=[OF_A_QUERY]
        ) as mounted,
    ):
        directory = mounted / "dataset/4711/ds4"
        assert os.listdir(directory) == ["0010_5000000000.jpg"]
        database.remove("SectionDataSet", 4711)
        add_data_set(database, 4711, [5_000_000_001, 5_000_000_002])
        service.fail_queries(Fault.STATUS_503)
        assert os.listdir(directory) == ["0010_5000000000.jpg"]
        service.heal()
        assert "0010_5000000001.jpg" in os.listdir(directory)


def test_data_set_that_was_withdrawn_is_no_empty_directory(tmp_path: Path) -> None:
    database = sample_database()
    add_data_set(database, 4711, [5_000_000_000])
    with (
        SampleService(database=database) as service,
        Mounted(tmp_path, service.url, not_found_memory_s=0) as mounted,
    ):
        assert "4711" in os.listdir(mounted / "browse/product/Mouse/dataset")
        database.remove("SectionDataSet", 4711)
        done = subprocess.run(
            ["ls", mounted / "dataset/4711"], capture_output=True, check=False
        )
        assert done.returncode != 0
        assert b"Stale" in done.stderr
        add_data_set(database, 4711, [5_000_000_001])
        assert "info.json" in os.listdir(mounted / "dataset/4711")


def test_open_document_is_one_record_to_its_end(tmp_path: Path) -> None:
    database = sample_database()
    add_data_set(database, 4711, range(5_000_000_000, 5_000_005_000))
    with (
        SampleService(database=database, page_rows=10_000) as service,
        Mounted(tmp_path, service.url, catalog_ttl_s=0.001) as mounted,
    ):
        file = mounted / "dataset/4711/sections.csv"
        before = file.read_bytes()
        fd = os.open(file, os.O_RDONLY)
        try:
            assert os.pread(fd, 4096, 0) == before[:4096]
            for image_id in range(5_000_000_000, 5_000_005_000):
                database.change("SectionImage", image_id, width=12_345)
            # another one is shown the same as long as this one reads
            assert file.read_bytes() == before
            assert os.pread(fd, len(before), 0) == before
        finally:
            os.close(fd)
        subprocess.run(["cat", file], check=True, stdout=subprocess.DEVNULL)
        after = file.read_bytes()
        assert len(after) == len(before)
        assert after != before
        assert b",11409," not in after


def test_drawings_of_a_plate_are_listed_in_full_or_not_at_all(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url, warnings=["plate"]) as mounted:
        service.fail_queries(Fault.SUCCESS_FALSE)
        with pytest.raises(OSError) as caught:
            os.listdir(mounted / "atlas/100883869/annotated")
        assert caught.value.errno == errno.EIO
        service.heal()
        assert "atlas2.jpg" in os.listdir(mounted / "atlas/100883869/annotated")


def test_listing_that_waits_for_the_service_dies_of_a_signal(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        service.fail_queries(Fault.SILENT)
        listing = subprocess.Popen(["ls", mounted / DATA_SET], stderr=subprocess.PIPE)
        while not service.query_requests:
            assert listing.poll() is None
        listing.send_signal(signal.SIGINT)
        assert listing.communicate(timeout=10)[1] == b""
        assert listing.returncode == -signal.SIGINT
        service.heal()
        assert os.listdir(mounted / DATA_SET)


def test_stalled_downloads_do_not_hold_up_a_section_s_listing(
    tmp_path: Path, service: SampleService
) -> None:
    with Mounted(tmp_path, service.url, connections=2) as mounted:
        service.pause()
        cats = [
            subprocess.Popen(
                ["cat", mounted / f"section/69750516/ds6/q{n}/image.jpg"],
                stdout=subprocess.DEVNULL,
            )
            for n in range(4)
        ]
        while service.image_requests < 2:
            assert all(cat.poll() is None for cat in cats)
        assert "image.jpg" in os.listdir(mounted / "section/71592261")
        assert service.query_requests == 0
        service.resume()
        assert [cat.wait(60) for cat in cats] == [0] * 4
        assert "nissl" in os.listdir(mounted / "section/71592261")


@pytest.mark.parametrize("connections", [1, 3])
def test_queries_count_among_the_connections(tmp_path: Path, connections: int) -> None:
    with (
        SampleService(latency_s=0.01, query_latency_s=0.01) as service,
        Mounted(tmp_path, service.url, connections=connections) as mounted,
    ):
        for product in os.listdir(mounted / "browse/product"):
            os.listdir(mounted / "browse/product" / product / "dataset")
        copies = [
            subprocess.Popen(
                ["cp", "-r", mounted / f"dataset/{data_set}/ds7", tmp_path / data_set]
            )
            for data_set in ("70813257", "71670687", "69782969", "100141599", "479")
        ]
        assert [copy.wait(120) for copy in copies] == [0] * len(copies)
        assert 1 <= service.peak_all_requests <= connections


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damaged_record_is_asked_again(
    tmp_path: Path, service: SampleService, damage: str
) -> None:
    with Mounted(tmp_path, service.url, warnings=["damaged"]) as mounted:
        before = sorted(os.listdir(mounted / DATA_SET))
        mounted.stop()
        (record,) = mounted.cache_dir.glob("records/*/dataset/*")
        data = bytearray(record.read_bytes())
        if damage == "flip":
            data[len(data) // 2] ^= 1
        record.write_bytes(data[: {"cut": 100, "flip": None, "empty": 0}[damage]])
        asked = service.query_requests
        mounted.start()
        assert sorted(os.listdir(mounted / DATA_SET)) == before
        assert service.query_requests == asked + 2


def test_crawlers_of_the_catalog_end(tmp_path: Path, service: SampleService) -> None:
    with Mounted(tmp_path, service.url) as mounted:
        for command in (["ls", "-lR"], ["find", "."], ["du", "-s"]):
            subprocess.run(
                command, cwd=mounted.root, check=True, stdout=subprocess.DEVNULL
            )
        asked = service.query_requests
        subprocess.run(
            ["find", "."], cwd=mounted.root, check=True, stdout=subprocess.DEVNULL
        )
        assert service.query_requests == asked
        assert service.image_requests == 0
