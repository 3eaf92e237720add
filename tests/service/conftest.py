"""The sample service and a hostile one, for one test."""

from __future__ import annotations

import pytest
from hostile_service import HostileService

from allenfs.sample.server import SampleService


@pytest.fixture
def sample():
    with SampleService() as running:
        yield running


@pytest.fixture
def hostile():
    with HostileService() as running:
        yield running
