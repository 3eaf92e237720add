"""One sample service for the tests of a module, healed before and after each."""

from __future__ import annotations

import pytest

from allenfs.sample.server import SampleService


@pytest.fixture(scope="module")
def running():
    with SampleService() as service:
        yield service


@pytest.fixture
def service(running):
    running.heal()
    running.reset_counters()
    yield running
    running.heal()
