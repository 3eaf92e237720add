"""One sample service for the tests of a module, healed before and after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running() -> Iterator[SampleService]:
    with SampleService() as service:
        yield service


@pytest.fixture
def service(running: SampleService) -> Iterator[SampleService]:
    running.heal()
    running.reset_counters()
    yield running
    running.heal()
