"""Under an on-access virus scanner: every file opens at the first try, and is right."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from command import run
from mounted import Mounted, errno_of_open

from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

SCANNER = Path(__file__).with_name("scanner.py")
DATA_SET = "dataset/71670687"
DOCUMENTS = ["info.json", "sections.csv"]


@dataclass
class Scanner:
    """What it has read, once it has ended."""

    read: dict[str, str] = field(default_factory=dict)
    lost: int = -1


@contextlib.contextmanager
def scanner(root: Path, *options: str) -> Iterator[Scanner]:
    process = subprocess.Popen(
        [sys.executable, SCANNER, root, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        found = Scanner()
        yield found
        said, _ = process.communicate(timeout=30)
        found.read, found.lost = json.loads(said).values()
    finally:
        process.kill()
        process.communicate()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("options", [[], ["--own-files"]], ids=["process", "thread"])
def test_cold_files_open_at_the_first_try_under_a_scanner(
    tmp_path: Path, service: SampleService, options: list[str]
) -> None:
    with (
        Mounted(tmp_path / "a", service.url) as mounted,
        Mounted(tmp_path / "b", service.url) as other,
    ):
        with scanner(mounted.root, *options) as found:
            run("cp", "-r", mounted / DATA_SET / "ds6", tmp_path)
            names = sorted(path.name for path in (tmp_path / "ds6").iterdir())
            paths = [
                f"{DATA_SET}/{view}/{name}" for view in ("ds6", "ds7") for name in names
            ]
            paths += [f"{DATA_SET}/{name}" for name in DOCUMENTS]
            summed = run("sha256sum", *(mounted / path for path in paths)).decode()
        assert found.lost == 0
        assert len(names) == 12
        right = {path: sha256((other / path).read_bytes()) for path in paths}
        for name in names:
            copy = (tmp_path / "ds6" / name).read_bytes()
            assert sha256(copy) == right[f"{DATA_SET}/ds6/{name}"]
        assert [line.split()[0] for line in summed.splitlines()] == [*right.values()]
        # and it has not allowed what it has not read
        assert found.read == {str(mounted / path): right[path] for path in paths}


def test_the_mounts_own_files_open_under_a_scanner(mounted: Mounted) -> None:
    with scanner(mounted.root) as found:
        status = json.loads((mounted / ".allenfs/status.json").read_bytes())
        assert b"mounted" in (mounted / ".allenfs/log").read_bytes()
    assert status["mountpoint"] == str(mounted.root)
    assert found.lost == 0


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_failed_download_is_eperm_under_a_scanner_and_then_the_image(
    mounted: Mounted, service: SampleService
) -> None:
    path = f"{DATA_SET}/ds6/0021_71663104.jpg"
    with scanner(mounted.root) as found:
        service.fail(Fault.STATUS_404, times=1)
        # the kernel tells no other errno of what a listener was not given
        assert errno_of_open(mounted / path) == errno.EPERM
        data = (mounted / path).read_bytes()
    assert found.lost == 1
    assert found.read[str(mounted / path)] == sha256(data)
