"""Many mounts behind a proxy configured as docs/cluster.md says: scripts/cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mounted import STRICT_PYTHON

pytestmark = pytest.mark.one_libfuse  # it is about requests

SCRIPTS = Path(__file__).parents[2] / "scripts"
IMAGES = 5
PAGES = 2  # the data set, and its images


@pytest.fixture
def demo(monkeypatch):
    """Copy a data set through three mounts; return the counts."""
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS / "benchmarks"))

    def run(*arguments):
        command = [*STRICT_PYTHON, SCRIPTS / "cluster", "--json", "--mounts", "3"]
        done = subprocess.run(
            [*command, "--data-set", "69782969", "--latency", "0.1", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


def test_nginx_as_documented_requests_each_image_once_for_all_mounts(demo):
    counts = demo("--proxy", "nginx")
    assert counts["images"] == IMAGES
    assert counts["image_requests"] == counts["renderings"] == IMAGES
    assert counts["queries"] == counts["different_queries"] == PAGES
    assert counts["proxy_requests"] == 3 * (2 * IMAGES + PAGES)


def test_squid_as_documented_has_each_image_drawn_once_for_all_mounts(demo):
    counts = demo("--proxy", "squid")
    assert counts["images"] == counts["renderings"] == IMAGES
    assert counts["queries"] == counts["different_queries"] == PAGES


def test_proxy_that_restarts_during_copies_costs_no_bytes(demo):
    counts = demo("--proxy", "nginx", "--restart-after", "2")
    assert counts["was_restarted"]
    assert counts["images"] == IMAGES
