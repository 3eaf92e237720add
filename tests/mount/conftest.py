"""Mount tests stand on real FUSE: where it is missing they fail, not skip.

Each of them runs over libfuse 2 and over libfuse 3, but for those of one_libfuse: they
choose themselves, end before libfuse is asked, or are about what a command or a program
does with a mount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mounted import is_bad

from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--fuse")
    versions = ("2", "3") if chosen == "both" else (chosen,)
    if metafunc.definition.get_closest_marker("one_libfuse"):
        versions = versions[:1]
    metafunc.parametrize("libfuse", versions, ids="libfuse{}".format, indirect=True)


@pytest.fixture(autouse=True)
def libfuse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have every daemon of the test mount with this version."""
    version: str = request.param
    monkeypatch.setenv("ALLENFS_FUSE", version)
    return version


@pytest.fixture(autouse=True)
def log_of_the_background(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[None]:
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


@pytest.fixture
def service() -> Iterator[SampleService]:
    with SampleService() as running:
        yield running
