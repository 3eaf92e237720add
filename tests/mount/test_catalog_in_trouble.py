"""The catalog while the service fails, stalls, or is gone: honest, and still there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mounted import Mounted, errno_of

from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set

DATA_SET = "dataset/72109410"
OF_A_QUERY = "allenfs.catalog.repository"


DIRECTORIES = [
    DATA_SET,
    f"{DATA_SET}/ds4/expression",
    "browse/product/Mouse/gene",
    "browse/product/Mouse/gene/Adora2a/sagittal",
    "browse/product/MouseConn/dataset",
    "browse/atlas/2/NISSL/ds4",
    "atlas/100883869/annotated",
]
FILES = [
    "section/69750516/info.json",
    "section/71592261/nissl/info.json",
    "section/102146167/ds4/equalized/image.jpg",
    f"{DATA_SET}/sections.csv",
]


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        (Fault.STATUS_404, errno.EIO),
        (Fault.SUCCESS_FALSE, errno.EIO),
        (Fault.SILENT, errno.ETIMEDOUT),
    ],
)
def test_failed_query_is_an_errno_and_then_the_directory(
    tmp_path, service, fault, number
):
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
            assert errno_of(look, mounted / path) == number, path
        service.heal()
        for path, look in looks.items():
            if not (fault is Fault.SILENT and path.endswith(".jpg")):  # slow to draw
                assert look(mounted / path), path


@pytest.mark.mounted(warnings=["a planned fault"])
def test_refusal_of_a_query_is_in_the_log_and_readable(mounted, service):
    service.fail_queries(Fault.SUCCESS_FALSE)
    assert errno_of(os.listdir, mounted / DATA_SET) == errno.EIO
    (line,) = [line for line in mounted.log.splitlines() if "WARNING" in line]
    assert "dataset/72109410" in line
    assert "line 1, column" in line
    assert "/api/v2/data/query.json" in line
    directory = mounted / "dataset"
    assert os.getxattr(directory, "user.allenfs.error").decode() in line
    service.heal()
    assert os.listdir(mounted / DATA_SET)
    assert errno_of(os.getxattr, directory, "user.allenfs.error") == errno.ENODATA


@pytest.mark.mounted(catalog_ttl_s=0.001, warnings=[OF_A_QUERY])
def test_what_was_listed_lists_after_a_restart_without_the_service(mounted, service):
    before = {path: sorted(os.listdir(mounted / path)) for path in DIRECTORIES}
    read = {path: (mounted / path).read_bytes() for path in FILES}
    mounted.stop()
    service.close()
    mounted.start()
    assert {path: sorted(os.listdir(mounted / path)) for path in before} == before
    assert {path: (mounted / path).read_bytes() for path in read} == read
    assert "72109410" in os.listdir(mounted / "dataset")
    assert os.readlink(mounted / "section/71592261/nissl") == "../71592412"


def test_data_set_that_was_withdrawn_is_no_empty_directory(database, mounted):
    add_data_set(database, 4711, [5_000_000_000])
    assert "4711" in os.listdir(mounted / "browse/product/Mouse/dataset")
    database.remove("SectionDataSet", 4711)
    assert errno_of(os.listdir, mounted / "dataset/4711") == errno.ESTALE
    add_data_set(database, 4711, [5_000_000_001])
    assert "info.json" in os.listdir(mounted / "dataset/4711")
