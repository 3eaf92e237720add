"""The sample service and a hostile one, for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hostile_service import HostileService

from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sample() -> Iterator[SampleService]:
    with SampleService() as running:
        yield running


@pytest.fixture
def hostile() -> Iterator[HostileService]:
    with HostileService() as running:
        yield running
