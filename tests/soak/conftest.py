"""Long runs: each takes its share of `--soak-minutes`, and says a line of figures."""

from __future__ import annotations

import pytest

# By file; together 1. The storm is the one that finds what time alone brings: it has 10
# of 20 minutes.
SHARES = {
    "test_storm": 0.5,
    "test_crashes": 0.24,
    "test_models": 0.07,
    "test_names": 0.09,
    "test_outages": 0.1,
}
# Each mounts over one libfuse, or over the one that --fuse says.
OVER_LIBFUSE_3 = {"test_crashes", "test_models", "test_outages"}
_FIGURES = pytest.StashKey[list[str]]()
# Starting, stopping and looking through what was done: on top of a share.
_AROUND_S = 240


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    timeout_s = 60 * config.getoption("--soak-minutes") + _AROUND_S
    for item in items:
        if item.path.parent.name == "soak":
            item.add_marker(pytest.mark.timeout(timeout_s))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash[_FIGURES]
    if figures:
        terminalreporter.section("soak")
    for line in figures:
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def libfuse(request, monkeypatch):
    """Have every daemon of the test mount with one version."""
    version = request.config.getoption("--fuse")
    if version in (None, "both"):
        version = "3" if request.path.stem in OVER_LIBFUSE_3 else "2"
    monkeypatch.setenv("ALLENFS_FUSE", version)


@pytest.fixture
def duration_s(request):
    """How long this file's test goes on; a file of several shares its share."""
    minutes: float = request.config.getoption("--soak-minutes")
    return 60 * minutes * SHARES[request.path.stem]


@pytest.fixture
def figures(request):
    """Say one line, at the end of the run."""
    return request.config.stash[_FIGURES].append
