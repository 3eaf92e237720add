"""Mount tests need real FUSE: without it they fail, they are not skipped.

By default they run over one libfuse, and those marked both_libfuses over both; see
``--fuse``. Tests marked one_libfuse never run twice: they choose a libfuse themselves,
or never reach it.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hostile_service import MB, HostileService, Suspect
from mounted import Mounted, is_bad

from allenfs.adapters.libfuse import chosen
from allenfs.mount.mount_table import is_mounted
from allenfs.sample.content import sample_database
from allenfs.sample.server import SampleService


def default_libfuse() -> str:
    """Return the version that allenfs chooses on this machine."""
    return str(chosen({}).major)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asked = metafunc.config.getoption("--fuse")
    is_marked = metafunc.definition.get_closest_marker
    versions = [default_libfuse()] if asked in (None, "both") else [asked]
    if not is_marked("one_libfuse") and (
        asked == "both" or (asked is None and is_marked("both_libfuses"))
    ):
        versions = ["2", "3"]
    metafunc.parametrize("libfuse", versions, ids="libfuse{}".format, indirect=True)


@pytest.fixture(autouse=True)
def libfuse(request, monkeypatch):
    """Have every daemon of the test mount with this version."""
    version: str = request.param
    monkeypatch.setenv("ALLENFS_FUSE", version)
    return version


@pytest.fixture(autouse=True)
def log_of_the_background(request, tmp_path):
    """A mount in the background logs nothing that its test has not declared.

    By a mark: ``@pytest.mark.declared("words of the line")``.
    """
    yield
    declared = [
        text for mark in request.node.iter_markers("declared") for text in mark.args
    ]
    for log in (tmp_path / "home" / "state").rglob("*.log"):
        for line in log.read_text().splitlines():
            is_declared = any(text in line for text in declared)
            assert is_declared or not is_bad(line), line


def _settings(request: pytest.FixtureRequest, mark: str) -> dict[str, Any]:
    found = request.node.get_closest_marker(mark)
    return dict(found.kwargs) if found else {}


@pytest.fixture
def database():
    """The records of the service, for a test that changes them."""
    return sample_database()


@pytest.fixture
def service(request):
    """A sample service, with the settings of ``@pytest.mark.service(...)``."""
    settings = _settings(request, "service")
    if "database" in request.fixturenames:
        settings["database"] = request.getfixturevalue("database")
    with SampleService(**settings) as running:
        yield running


@pytest.fixture
def mounted(request, tmp_path, service):
    """A mount of the service, with the settings of ``@pytest.mark.mounted(...)``."""
    settings = _settings(request, "mounted")
    with Mounted(tmp_path, service.url, **settings) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def hostile():
    with HostileService() as running:
        yield running


@pytest.fixture(scope="module")
def mounted_hostile(request, hostile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with Mounted(
        folder,
        hostile.url,
        max_image_bytes=32 * MB,
        stall_timeout_s=1,
        deadline_s=2,
        catalog_ttl_s=0.001,  # each listing requests it again
        warnings=[""],
    ) as mounted:
        (mounted / "section/1000000/image.jpg").read_bytes()
        yield Suspect(mounted, folder, request.module.MOST_BYTES)


@pytest.fixture
def suspect(hostile, mounted_hostile):
    """A mount of the hostile service, the same for all tests of a module."""
    hostile.heal()
    hostile.requests.clear()
    mounted_hostile.begin()
    return mounted_hostile


@pytest.fixture
def root(tmp_path):
    """A mountpoint, free again after the test."""
    root = tmp_path / "mnt"
    root.mkdir()
    yield root
    while is_mounted(root):
        subprocess.run(["umount", "-l", root], check=True)


@pytest.fixture
def place():
    """A directory that all users can enter; those of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="allenfs-place-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
