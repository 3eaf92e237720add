"""Under an on-access virus scanner: every file opens at the first try, and is right."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import run
from mounted import Mounted, errno_of_open

from allenfs.sample.faults import Fault

SCANNER = Path(__file__).with_name("scanner.py")
DATA_SET = "dataset/71670687"
DOCUMENTS = [f"{DATA_SET}/info.json", f"{DATA_SET}/sections.csv"]


@contextlib.contextmanager
def scanner(root, *options):
    """Yield what has the files that it read, and `lost` others, once it has ended."""
    process = subprocess.Popen(
        [sys.executable, SCANNER, root, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    found = SimpleNamespace()
    try:
        assert process.stdout.readline() == b"ready\n"
        yield found
        vars(found).update(json.loads(process.communicate(timeout=30)[0]))
    finally:
        process.kill()
        process.communicate()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("options", [[], ["--own-files"]], ids=["process", "thread"])
def test_cold_files_open_at_the_first_try_under_a_scanner(
    mounted, tmp_path, service, options
):
    with Mounted(tmp_path / "other", service.url) as other:
        with scanner(mounted.root, *options) as found:
            run("cp", "-r", mounted / DATA_SET / "ds6", tmp_path)
            names = sorted(path.name for path in (tmp_path / "ds6").iterdir())
            views = [f"{DATA_SET}/ds6", f"{DATA_SET}/ds7"]
            paths = [f"{view}/{name}" for view in views for name in names] + DOCUMENTS
            summed = run("sha256sum", *(mounted / path for path in paths)).decode()
        right = {path: sha256((other / path).read_bytes()) for path in paths}
    assert found.lost == 0
    assert len(names) == 12
    for name in names:
        copy = (tmp_path / "ds6" / name).read_bytes()
        assert sha256(copy) == right[f"{DATA_SET}/ds6/{name}"]
    assert [line.split()[0] for line in summed.splitlines()] == [*right.values()]
    # and it has not allowed what it has not read
    assert found.read == {str(mounted / path): right[path] for path in paths}


@pytest.mark.mounted(warnings=["HTTP 404"])
def test_failed_download_is_eperm_under_a_scanner_and_then_the_image(mounted, service):
    path = f"{DATA_SET}/ds6/0021_71663104.jpg"
    with scanner(mounted.root) as found:
        # the mount's own files open there, too
        status = json.loads((mounted / ".allenfs/status.json").read_bytes())
        assert b"mounted" in (mounted / ".allenfs/log").read_bytes()
        service.fail(Fault.STATUS_404, times=1)
        # the kernel reports no other errno if a listener cannot open a file
        assert errno_of_open(mounted / path) == errno.EPERM
        data = (mounted / path).read_bytes()
    assert status["mountpoint"] == str(mounted.root)
    assert found.lost == 1
    assert found.read[str(mounted / path)] == sha256(data)
